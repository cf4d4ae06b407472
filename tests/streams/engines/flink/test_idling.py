"""A quiet partition's clock is asked to be moved, before the next record of it and not again and again."""

import time

import msgspec
import pytest

from connectors.memory import MemoryLog
from streams.engines.flink import idling
from streams.engines.flink.idling import Idling
from tidemill.checks.reference import read_all
from tidemill.errors import MalformedError
from tidemill.events import ProgressMade
from tidemill.log import Partition, TopicSpec

LATENESS = 10
QUIET, BUSY = Partition("t", 0), Partition("t", 1)


def progress(at, clocks, buffered=3, shard=0):
    return ProgressMade(
        id="",
        time=0,
        source="",
        job="j",
        sequence=0,
        shard=shard,
        offsets=[(*p, offset) for p, offset in at.items()],
        clocks=[(*p, largest) for p, largest in clocks.items()],
        buffered=buffered,
        starts=[],
        watermark=0,
        last=None,
        segments=[],
        emitted={},
        dead=0,
        steps=0,
    )


@pytest.fixture
def log():
    made = MemoryLog()
    made.create("t", TopicSpec(partitions=2))
    made.create(idling.topic_of("j"), idling.topic(2))
    writer = made.writer()
    for partition in (0, 0, 1):
        writer.send("t", b"x", partition=partition)
    return made


def asked(log, partition):
    return [idling.decode(record.value) for record in read_all(log, Partition(idling.topic_of("j"), partition))]


def looked(log, idle, made, until):
    """Looks until it has asked."""
    deadline = time.monotonic() + 20
    while not until():
        idle.look([made])
        assert time.monotonic() < deadline


def test_the_quiet_one_is_moved_to_where_the_other_is_and_once(log):
    idle = Idling("j", log, [QUIET, BUSY], 0.05, LATENESS)
    deadline, beats = time.monotonic() + 20, 0
    while not asked(log, 0):
        beats += 1  # the other one goes on
        idle.look([progress({QUIET: 2, BUSY: beats}, {QUIET: 100, BUSY: 500})])
        assert time.monotonic() < deadline
    idle.look([progress({QUIET: 2, BUSY: beats + 1}, {QUIET: 100, BUSY: 500})])
    assert (asked(log, 0), asked(log, 1)) == ([(2, 500)], [])
    idle.close()


def test_where_all_are_quiet_what_waits_is_released(log):
    idle = Idling("j", log, [QUIET, BUSY], 0.0, LATENESS)
    made = progress({QUIET: 2, BUSY: 1}, {QUIET: 100, BUSY: 500})
    looked(log, idle, made, lambda: asked(log, 0) and asked(log, 1))
    assert (asked(log, 0), asked(log, 1)) == ([(2, 511)], [(1, 511)])
    idle.close()


def test_one_that_is_behind_or_where_nothing_waits_is_left_alone(log):
    idle = Idling("j", log, [QUIET, BUSY], 0.0, LATENESS)
    idle.look([progress({QUIET: 1, BUSY: 0}, {QUIET: 100, BUSY: 500})])  # both have more to read
    idle.look([progress({QUIET: 2, BUSY: 1}, {QUIET: 100, BUSY: 500}, buffered=0)])
    idle.look([progress({QUIET: 2, BUSY: 1}, {}, shard=1)])  # only the first shard tells of clocks
    assert not asked(log, 0) and not asked(log, 1)
    idle.close()


def test_a_move_is_read_as_it_was_asked_for():
    assert idling.decode(msgspec.json.encode((7, 500))) == (7, 500)
    for value in (None, b"", b"[1]", b'["a", 1]'):
        with pytest.raises(MalformedError, match="not a move of a clock"):
            idling.decode(value)

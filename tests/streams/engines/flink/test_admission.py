"""Admission: each event that comes in reaches the one shard of its group, and every shard learns of the clock."""

import msgspec
import pytest

from streams.engines.flink.setting import Admitted
from tests.streams.engines.flink.beside import Beside
from tidemill import state as states
from tidemill.errors import IntegrityError, MalformedError
from tidemill.log import Record


def decoded(messages):
    return [states.decode(message, Admitted) for message in messages]


def same(messages):
    """What must be equal of them: of a dead letter the moment differs."""
    told = decoded(messages)
    for one in told:
        one.letters = [(topic, value, key, []) for topic, value, key, _ in one.letters]
    return [one.encode() for one in told]


def ids(admitted):
    return [id for block in admitted.blocks for id in block.ids]


def test_every_shard_is_told_of_the_clock_and_an_event_goes_to_one():
    beside = Beside("partitions-and-groups")
    gate = beside.gate(0)
    whole = Beside("partitions-and-groups", shards=1).gate(0)
    seen = {}
    for run in beside.runs(0, 20):
        told = decoded(gate.take(run))
        (alone,) = decoded(whole.take(run))
        assert len(told) == beside.setting.shards
        assert {(t.position, t.clock.largest) for t in told} == {(run[-1].offset + 1, alone.clock.largest)}
        assert sorted(id for t in told for id in ids(t)) == sorted(ids(alone))
        assert all(not t.letters for t in told[1:]) and len(told[0].letters) == len(alone.letters)
        for shard, one in enumerate(told):
            for block in one.blocks:
                for key in block.columns["key"].tolist():
                    assert seen.setdefault(key, shard) == shard  # all of a key is worked in one place
    assert set(seen.values()) == set(range(beside.setting.shards))


@pytest.mark.parametrize("scenario", ["partitions-and-groups", "repeated-across"])
def test_one_that_is_restored_goes_on_as_the_one_before(scenario):
    beside = Beside(scenario)
    one = beside.gate(1)
    runs = beside.runs(1, 11)
    half = len(runs) // 2
    for run in runs[:half]:
        one.take(run)
    other = beside.gate(1, one.save())
    assert other.position == one.position
    for run in runs[half:]:
        assert same(one.take(run)) == same(other.take(run))


def test_records_that_come_twice_or_out_of_order_are_an_error():
    beside = Beside("clean")
    gate = beside.gate(0)
    first, second = beside.runs(0, 10)[:2]
    gate.take(first)
    for again in (first, second[::-1]):
        with pytest.raises(IntegrityError, match="records come twice or out of order; wanted offsets from 10 on"):
            gate.take(again)


def move(gate, at, moment):
    return Record(*gate.partition, -1, None, msgspec.json.encode((at, moment)), (), 0)


def test_a_move_counts_where_it_was_asked_for_and_nowhere_else():
    beside = Beside("clean")
    gate = beside.gate(0)
    run = beside.runs(0, 10)[0]
    far = 10**15
    (told, *_) = decoded(gate.take([*run, move(gate, 10, far), move(gate, 9, far + 1), move(gate, 10, far - 1)]))
    assert told.moved == [(*gate.partition, 10, far)]
    assert told.clock.largest == far
    with pytest.raises(MalformedError, match="not a move of a clock"):
        gate.take([Record(*gate.partition, -1, None, b"nonsense", (), 0)])

"""Reading deltas from where a version stands: found by bisection, cut where a job began anew."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.memory import MemoryLog
from serving.deltas import MARGIN, read_since
from tidemill import events
from tidemill.events import DeltaPublished
from tidemill.log import Log, Partition, TopicSpec
from tidemill.time import MINUTE

AT = Partition("deltas.m", 0)


def log_of(deltas: Sequence[tuple[int, int]]) -> Log:
    """A log with deltas of (append time, sequence)."""
    now = 0
    log = MemoryLog(clock=lambda: now)
    log.create(AT.topic, TopicSpec())
    writer = log.writer()
    for time, sequence in deltas:
        now = time
        delta = DeltaPublished(id=str(sequence), time=0, model="m", base="", sequence=sequence, changes={})
        writer.send(AT.topic, events.encode(delta))
    writer.flush()
    return log


def test_deltas_since_a_version_are_all_there_in_order():
    log = log_of([(i * MINUTE, i) for i in range(1, 5_001)])
    deltas, following, later = read_since(log, AT, 4_990 * MINUTE)
    assert [d.sequence for d in deltas][-15:] == list(range(4_986, 5_001))
    assert deltas[0].sequence <= 4_990 - MARGIN // MINUTE
    assert (following, later) == (5_000, False)


def test_deltas_of_an_earlier_run_are_left_out():
    log = log_of([(MINUTE, 7), (MINUTE, 8), (2 * MINUTE, 1), (2 * MINUTE, 2)])
    deltas, _, later = read_since(log, AT, 3 * MINUTE)
    assert ([d.sequence for d in deltas], later) == ([1, 2], False)
    assert read_since(log, AT, MINUTE)[2]

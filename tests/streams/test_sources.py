"""Partitions are read history first, up to a target, none beyond; segments in the order in which they were recorded."""

import pytest

from connectors.memory import MemoryLog
from streams.pipeline import Source
from streams.sources import HISTORY, Segments, Sources, sources_of
from tests.streams.engines.helpers import SPEC, make_job
from tidemill.errors import NotFoundError, SubmissionError, UnavailableError
from tidemill.job import Input
from tidemill.log import Partition, TopicSpec

A, B = Partition(SPEC.topic, 0), Partition(SPEC.topic, 1)
OLD = Partition(HISTORY + "trips", 0)


def filled(topic, partitions, count):
    log = MemoryLog()
    log.create(topic, TopicSpec(partitions=partitions))
    more(log, topic, partitions, count)
    return log


def more(log, topic, partitions, count):
    writer = log.writer()
    for i in range(count):
        writer.send(topic, b"%d" % i, partition=i % partitions)


def drained(sources, most=10):
    """Everything that comes until nothing does, as (partition, offset)."""
    out = []
    while runs := sources.poll(most, 0.01):
        out += [(p, r.offset) for p, records in runs for r in records]
    return out


def test_what_a_job_reads():
    log, history = filled(SPEC.topic, 2, 0), filled("file", 1, 3)
    job = make_job(reads=(Input("trips", history="past.csv"),))
    got = sources_of(job, {"trips": SPEC}, log, {"trips": history})
    assert got == [Source(OLD, "trips", True), Source(A, "trips"), Source(B, "trips")]
    with pytest.raises(NotFoundError, match="Declare it"):
        sources_of(make_job(reads=(Input("walks"),)), {"trips": SPEC}, log, {})
    twice = make_job(reads=(Input("trips"), Input("again")))
    with pytest.raises(SubmissionError, match="reads a topic twice"):
        sources_of(twice, {"trips": SPEC, "again": SPEC}, log, {})


def test_a_history_comes_first_and_only_up_to_the_end_it_had():
    log, history = filled(SPEC.topic, 2, 6), filled("file", 1, 5)
    all_ = [Source(OLD, "trips", True), Source(A, "trips"), Source(B, "trips")]
    sources = Sources(all_, log, {"trips": history}, {OLD: 0, A: 0, B: 0})
    more(history, "file", 1, 5)
    got = drained(sources)
    assert got[:5] == [(OLD, i) for i in range(5)]
    assert {p for p, _ in got[5:]} == {A, B} and len(got) == 11
    assert sources.ended() == {"trips"} and sources.end(OLD) == 5
    assert sources.positions() == {OLD: 5, A: 3, B: 3}


def test_targets_are_reached_and_not_passed():
    log = filled(SPEC.topic, 2, 20)
    sources = Sources([Source(A, "trips"), Source(B, "trips")], log, {}, {A: 2, B: 0}, until={A: 5, B: 0})
    assert drained(sources) == [(A, 2), (A, 3), (A, 4)]
    assert sources.done() and sources.finished(A) and sources.positions() == {A: 5, B: 0}


def test_what_is_paused_waits_and_is_not_lost():
    log = filled(SPEC.topic, 2, 20)
    sources = Sources([Source(A, "trips"), Source(B, "trips")], log, {}, {A: 0, B: 0})
    sources.pause([A])
    assert {p for p, _ in drained(sources)} == {B}
    sources.pause([])
    assert drained(sources) == [(A, i) for i in range(10)]


def test_segments_come_in_recorded_order_whatever_the_size_of_polls():
    log = filled(SPEC.topic, 2, 40)
    recorded = [(*A, 0, 3), (*B, 0, 11), (*A, 3, 4), (*B, 11, 12), (*A, 4, 20)]
    want = [(Partition(t, n), i) for t, n, first, stop in recorded for i in range(first, stop)]
    for most in (1, 5, 1000):
        reader = Segments(log, {})
        assert [(p, r.offset) for p, records in reader.runs(recorded, most) for r in records] == want
        reader.close()


def test_a_log_that_ends_within_a_segment_is_said():
    log = filled(SPEC.topic, 2, 4)
    reader = Segments(log, {})
    with pytest.raises(UnavailableError, match=r"data\.trips/0 at 2"):
        list(reader.runs([(*A, 0, 9)], timeout=0.2))
    reader.close()

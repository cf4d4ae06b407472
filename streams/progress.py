"""The progress of a job in its own topic: finding the last commit, and going through those since a snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tidemill import events
from tidemill.errors import UnavailableError
from tidemill.events import ProgressMade
from tidemill.log import Log, Partition, TopicSpec
from tidemill.version import Span

Segment = tuple[str, int, int, int]
"""Topic, partition, first offset, next offset."""

TOPIC = TopicSpec(partitions=1, retention_ms=-1)
POLL = 0.1
"""Seconds one poll waits where a target offset is known: what lies before it may be markers and aborted records only,
and then no poll returns anything."""


def topic_of(job: str) -> Partition:
    return Partition(f"progress.{job}", 0)


def between(log: Log, partition: Partition, first: int, end: int, timeout: float = 30.0) -> Iterator[ProgressMade]:
    """The progress records at offsets `first` to `end` − 1, in order."""
    if first >= end:
        return
    reader = log.reader({partition: first})
    waited = 0.0
    try:
        while reader.positions()[partition] < end:
            records = reader.poll(1000, POLL)
            waited = 0.0 if records else waited + POLL
            if waited >= timeout and reader.positions()[partition] < end:
                raise UnavailableError(
                    "the log gives no more records", where=f"{partition.topic} at {reader.positions()[partition]}"
                )
            for record in records:
                if record.offset >= end:
                    return
                event = events.decode(record.value or b"")
                if isinstance(event, ProgressMade):
                    yield event
    finally:
        reader.close()


def last(log: Log, job: str) -> ProgressMade | None:
    """The newest committed progress of `job`, or None before its first."""
    partition = topic_of(job)
    if partition.topic not in log.topics():
        return None
    begin, end = log.begin(partition), log.end(partition)
    back = 16
    while end > begin:
        start = max(begin, end - back)
        found = None
        for event in between(log, partition, start, end):
            found = event
        if found is not None or start == begin:
            return found
        back *= 16
    return None


def first(log: Log, job: str) -> ProgressMade | None:
    """The record of the job's birth: sequence 0, its offsets where the job began to read."""
    partition = topic_of(job)
    begin, end = log.begin(partition), log.end(partition)
    return next(iter(between(log, partition, begin, end)), None)


def merged(segments: Iterable[Segment]) -> list[Segment]:
    """The segments with neighbours that continue each other joined."""
    out: list[Segment] = []
    for topic, partition, start, stop in segments:
        if out and out[-1][:2] == (topic, partition) and out[-1][3] == start:
            out[-1] = (topic, partition, out[-1][2], stop)
        elif stop > start:
            out.append((topic, partition, start, stop))
    return out


def extend(segments: list[Segment], run: Iterable[Segment]) -> None:
    """Add a run to segments that are merged already, in place."""
    segments[-1:] = merged([*segments[-1:], *run])


def spans(segments: Iterable[Segment]) -> list[Span]:
    return [Span(*segment) for segment in segments]

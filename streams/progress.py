"""The progress of a job in its own topic: finding the last commit, and going through those since a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tidemill import events
from tidemill.errors import UnavailableError
from tidemill.events import ProgressMade
from tidemill.log import Log, Partition, TopicSpec
from tidemill.time import DAY

Segment = tuple[str, int, int, int]
"""Topic, partition, first offset, next offset."""

TOPIC = TopicSpec(partitions=1, compacted=True, uncompacted_ms=7 * DAY // 1000)
"""The newest record of a job is kept for ever, every record for a week: whoever follows reads each commit of that week,
and an engine needs those since its newest snapshot."""
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
    return next(reversed(_newest(log, partition, lambda made: True)), None)


def since(log: Log, job: str, sequence: int) -> list[ProgressMade]:
    """The commits after `sequence` that the topic still holds, in order."""
    found = _newest(log, topic_of(job), lambda made: made.sequence <= sequence)
    return [made for made in found if made.sequence > sequence]


def _newest(log: Log, partition: Partition, enough: Callable[[ProgressMade], bool]) -> list[ProgressMade]:
    """The newest records, back to one that is enough, or to the topic's beginning."""
    begin, end = log.begin(partition), log.end(partition)
    back = 16
    while end > begin:
        start = max(begin, end - back)
        found = list(between(log, partition, start, end))
        if start == begin or (found and enough(found[0])):
            return found
        back *= 16
    return []


def merged(segments: Iterable[Segment]) -> list[Segment]:
    """The segments with neighbours that continue each other joined."""
    out: list[Segment] = []
    for topic, partition, start, stop in segments:
        if out and out[-1][:2] == (topic, partition) and out[-1][3] == start:
            out[-1] = (topic, partition, out[-1][2], stop)
        elif stop > start:
            out.append((topic, partition, start, stop))
    return out

"""Quiet partitions of a job on a cluster: the process that tends it asks for their clocks to be moved.

No operator sees all partitions, so none can say that one holds the others up; who tends the job follows its progress,
which tells of every clock. What is asked for goes through the topic `moves.<job>`, whose partition i stands for the
job's i-th, and reaches the admission of that partition between two records of it. It counts only if it stands where it
was asked for: before the next record. That it counted is in the job's progress (decision 0008), for a replay to find.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from streams.idle import Idle
from tidemill.errors import MalformedError
from tidemill.events import ProgressMade
from tidemill.log import Log, Partition, TopicSpec, Writer
from tidemill.order import PartitionClock
from tidemill.time import HOUR, MIN_TIME

_AGAIN = 5.0
"""Seconds after which a move that had no effect is asked for once more."""


def topic_of(job: str) -> str:
    return f"moves.{job}"


def topic(sources: int) -> TopicSpec:
    """How the topic of a job that reads so many partitions is made."""
    return TopicSpec(partitions=sources, retention_ms=24 * HOUR // 1000)


def decode(value: bytes | None) -> tuple[int, int]:
    """The offset before which a move stands, and the time to move to."""
    try:
        return msgspec.json.decode(value or b"", type=tuple[int, int])
    except msgspec.DecodeError as error:
        raise MalformedError("not a move of a clock", got=str(error)) from None


class Idling:
    """Watches one life of a job that reads `sources`; its partitions are quiet after `idle_after` seconds."""

    def __init__(self, job: str, log: Log, sources: Sequence[Partition], idle_after: float, lateness: int) -> None:
        self._topic, self._log, self._sources = topic_of(job), log, list(sources)
        self._idle = Idle(idle_after, lateness, time.monotonic())
        self._at: dict[Partition, int] = {}
        self._asked: dict[Partition, tuple[int, int, float]] = {}
        self._writer: Writer | None = None

    def look(self, shards: Sequence[ProgressMade]) -> None:
        """Ask for what is due by the newest progress of every shard."""
        first = next((made for made in shards if made.shard == 0), None)
        if first is None:
            return
        now = time.monotonic()
        at = {Partition(topic, number): offset for topic, number, offset in first.offsets}
        for p, offset in at.items():
            if self._at.get(p, offset) != offset:
                self._idle.heard(p, now)
        self._at = at
        clocks = {Partition(topic, number): PartitionClock(largest) for topic, number, largest in first.clocks}
        clocks = {p: clocks.get(p, PartitionClock(MIN_TIME)) for p in self._sources}
        waiting = any(made.buffered for made in shards)
        quiet = [p for p in clocks if self._idle.quiet(p, now)]
        if not self._idle.due(now, clocks, quiet, waiting):
            return
        caught_up = [p for p in quiet if self._caught_up(p, at.get(p, 0))]
        for p, moment in self._idle.due(now, clocks, caught_up, waiting).items():
            self._ask(p, at.get(p, 0), moment, now)

    def _caught_up(self, partition: Partition, at: int) -> bool:
        """Whether the job has read all there is; behind it there may be marks of transactions, which nobody reads."""
        end = self._log.end(partition)
        if end <= at:
            return True
        reader = self._log.reader({partition: at})
        try:
            return not reader.poll(1, 0.2) and reader.positions()[partition] >= end
        finally:
            reader.close()

    def _ask(self, partition: Partition, at: int, moment: int, now: float) -> None:
        before = self._asked.get(partition)
        if before is not None and before[:2] == (at, moment) and now - before[2] < _AGAIN:
            return
        self._asked[partition] = (at, moment, now)
        if self._writer is None:
            self._writer = self._log.writer()
        value = msgspec.json.encode((at, moment))
        self._writer.send(self._topic, value, partition=self._sources.index(partition))
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

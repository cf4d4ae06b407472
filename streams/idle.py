"""Quiet partitions: when an engine moves their clocks, and to what.

A partition that says nothing holds the watermark back for all. After `idle_after` seconds without a record, caught up
with its end, it is given the largest clock of the job's partitions. When all are quiet and events still wait, all are
given the largest clock + lateness + 1, which releases what waits. The engine records each move, with the offset before
which it stands, in the job's progress (`streams.journal`), so a replay finds them where they stood; into the partitions
themselves, which other jobs read and which may be somebody else's, it writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tidemill.log import Partition
from tidemill.order import PartitionClock
from tidemill.time import MIN_TIME


class Idle:
    """Watches which partitions are quiet. `now` is a monotonic time in seconds."""

    def __init__(self, idle_after: float, lateness: int, now: float) -> None:
        self._after = idle_after
        self._lateness = lateness
        self._start = now
        self._seen: dict[Partition, float] = {}

    def heard(self, partition: Partition, now: float) -> None:
        """Records came from `partition`."""
        self._seen[partition] = now

    def quiet(self, partition: Partition, now: float) -> bool:
        return now - self._seen.get(partition, self._start) >= self._after

    def due(
        self, now: float, clocks: Mapping[Partition, PartitionClock], caught_up: Iterable[Partition], waiting: bool
    ) -> dict[Partition, int]:
        """Which partitions to move, and to what time.

        `clocks` are of all partitions that hold the watermark, `caught_up` those that were read to their end,
        `waiting` whether events wait to be released.
        """
        quiet = [p for p in caught_up if self.quiet(p, now)]
        largest = max((clock.largest for clock in clocks.values()), default=MIN_TIME)
        if not quiet or largest == MIN_TIME:
            return {}
        if len(quiet) == len(clocks):
            if not waiting:
                return {}
            largest += self._lateness + 1
        return {p: largest for p in quiet if clocks[p].largest < largest}

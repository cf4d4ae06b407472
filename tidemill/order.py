"""Order is part of the input: partition clocks, lateness, the watermark, and the two order policies.

*Late is a function of the log.* An event is late if its time is before the floor of its own partition: the largest
time earlier in that partition minus the allowed lateness, or what a `time.advanced.v1` record promised there if that
is more. The watermark is the minimum floor over the partitions read. What lies before the watermark is complete, so it
is released sorted by (time, source, id): the same sequence however the partitions were interleaved while reading.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.block import Block, Times
from tidemill.time import DAY, MAX_TIME, MIN_TIME


class EventTime(msgspec.Struct, frozen=True, kw_only=True):
    """Wait for the watermark, then step in order of (time, source, id).

    Events more than `lateness` microseconds behind their partition's clock are dead-lettered as late; those more than
    `max_ahead` ahead of it as early. Before a partition has a clock, the append time stands for it; a
    `time.advanced.v1` is early only where it is ahead of both. `idle_after` (seconds of wall clock; None for never) is
    when the engine moves the clock of a quiet partition that holds the others up, and records that it did.
    """

    lateness: int = 0
    max_ahead: int = 90 * DAY
    idle_after: float | None = 2.0


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """Step in the order read, without waiting; the engine records that order so that a replay repeats it.

    (source, id) is remembered over `dedupe` events of a stream, to drop each group's duplicates. Nothing is late. Wakes
    come only where a `time.advanced.v1` record stands.
    """

    dedupe: int = 100_000
    max_ahead: int = 90 * DAY


Order = EventTime | Arrival

UNKNOWN = 0
"""An append time not above this is none: brokers give −1 for records of old formats."""


class PartitionClock(msgspec.Struct):
    """The clock of one partition: the largest event time so far, and the highest floor promised."""

    largest: int = MIN_TIME
    promised: int = MIN_TIME

    def floor(self, lateness: int) -> int:
        """The time before which an event in this partition is late."""
        return max(self.largest - lateness if self.largest != MIN_TIME else MIN_TIME, self.promised)

    def advance(self, time: int, promise: bool) -> None:
        """A `time.advanced.v1` record stands here."""
        self.largest = max(self.largest, time if not promise else MIN_TIME)
        self.promised = max(self.promised, time if promise else MIN_TIME)

    def may_advance(self, time: int, appended: int, max_ahead: int) -> bool:
        """Whether a `time.advanced.v1` to `time`, appended at `appended`, may stand here.

        What has not happened by either clock is no time that can have been reached: it would make all that follows
        late. A source may well promise years after the last event of a partition that saw few.
        """
        newest = max(self.largest, appended)
        return newest <= UNKNOWN or time <= newest + max_ahead

    def admit(
        self, time: Times, lateness: int | None, max_ahead: int, appended: int = 0
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of these consecutive events are late and which early; the clock moves past the others.

        `lateness` None judges nothing late. An early event never moves the clock. The first event of a partition has
        no clock before it: it is early by the time at which its record was appended (0: unknown, and never early).
        So events are handed over record by record until there is a clock.
        """
        early = np.zeros(len(time), dtype=np.bool_)
        if not len(time):
            return early, early
        first = appended if appended > UNKNOWN else MAX_TIME - max_ahead
        before = self._running(time)
        if (time > np.where(before == MIN_TIME, first, before) + max_ahead).any():
            early = self._early(time, max_ahead, first)
            before = self._running(np.where(early, MIN_TIME, time))
        if lateness is None:
            late = np.zeros(len(time), dtype=np.bool_)
        else:
            floor = np.where(before == MIN_TIME, MIN_TIME, before - lateness)
            late = ~early & (time < np.maximum(floor, self.promised))
        kept = time[~early]
        if len(kept):
            self.largest = max(self.largest, int(kept.max()))
        return late, early

    def _running(self, time: Times) -> Times:
        """For each event, the largest time before it."""
        return np.maximum.accumulate(np.concatenate(([np.int64(self.largest)], time[:-1])))

    def _early(self, time: Times, max_ahead: int, first: int) -> NDArray[np.bool_]:
        early = np.zeros(len(time), dtype=np.bool_)
        clock = self.largest
        for i, t in enumerate(time.tolist()):
            if t > (first if clock == MIN_TIME else clock) + max_ahead:
                early[i] = True
            else:
                clock = max(clock, t)
        return early


def watermark(clocks: Sequence[PartitionClock], lateness: int) -> int:
    """The minimum floor: every event before it has been read. `MAX_TIME` for no partitions at all."""
    return min((clock.floor(lateness) for clock in clocks), default=MAX_TIME)


class Batch(msgspec.Struct, eq=False):
    """A run of one group's events in the job's order, then maybe a wake.

    Event `i` is row `row[i]` of `blocks[streams[kind[i]]]`, at `time[i]`. The rows of each block stand in the batch's
    order, so a step that works on one stream's columns needs no index. `wake`, where given, says that every event at
    or before that time has been stepped: deadlines up to it are served after the events.
    """

    streams: tuple[str, ...]
    kind: NDArray[np.uint8]
    row: NDArray[np.int64]
    time: Times
    blocks: dict[str, Block]
    wake: int | None = None

    def __len__(self) -> int:
        return len(self.time)

    @staticmethod
    def of(blocks: Sequence[Block], wake: int | None = None) -> Batch:
        """The blocks' events one after another, as they stand."""
        return _arrange(blocks, None, wake)

    @staticmethod
    def sort(blocks: Sequence[Block], wake: int | None = None) -> Batch:
        """The blocks' events by (time, source, id), then by place."""
        return _arrange(blocks, _sorting(blocks), wake)

    @staticmethod
    def empty(wake: int | None = None) -> Batch:
        return _arrange((), None, wake)

    def take(self, index: NDArray[np.int64], wake: int | None = None) -> Batch:
        """The events at `index` (increasing positions), as a batch of its own."""
        kind, row = self.kind[index], self.row[index]
        new_row = np.empty(len(index), dtype=np.int64)
        blocks = {}
        for k, stream in enumerate(self.streams):
            mine = kind == k
            count = int(mine.sum())
            if count:
                blocks[stream] = self.blocks[stream].take(row[mine])
                new_row[mine] = np.arange(count)
        return Batch(self.streams, kind, new_row, self.time[index], blocks, wake)

    def cut(self, positions: Sequence[int]) -> list[Batch]:
        """The batch in pieces that begin at 0 and at each of `positions`; the last keeps the wake."""
        edges = [0, *positions, len(self)]
        return [
            self.take(np.arange(a, b), self.wake if i == len(edges) - 2 else None)
            for i, (a, b) in enumerate(itertools.pairwise(edges))
        ]


def _arrange(blocks: Sequence[Block], order: NDArray[np.int64] | None, wake: int | None) -> Batch:
    streams = tuple(dict.fromkeys(b.stream for b in blocks))
    if len(blocks) == 1 and order is None:
        n = len(blocks[0])
        return Batch(
            streams, np.zeros(n, np.uint8), np.arange(n), blocks[0].time, {streams[0]: blocks[0]} if n else {}, wake
        )
    number = {s: k for k, s in enumerate(streams)}
    kind = np.concatenate([np.full(len(b), number[b.stream], np.uint8) for b in blocks] or [np.empty(0, np.uint8)])
    time = np.concatenate([b.time for b in blocks] or [np.empty(0, np.int64)])
    joined = {s: Block.concat([b for b in blocks if b.stream == s]) for s in streams}
    row = np.empty(len(time), dtype=np.int64)
    for k, s in enumerate(streams):
        row[kind == k] = np.arange(len(joined[s]))
    batch = Batch(streams, kind, row, time, joined, wake)
    return batch if order is None else batch.take(order, wake)


def _sorting(blocks: Sequence[Block]) -> NDArray[np.int64] | None:
    """The permutation that sorts the joined blocks, or None where they are in order already."""
    time = np.concatenate([b.time for b in blocks] or [np.empty(0, np.int64)])
    if len(time) < 2:
        return None
    steps = np.diff(time)
    if (steps > 0).all():
        return None
    order = np.argsort(time, kind="stable")
    times = time[order]
    same = times[1:] == times[:-1]
    tied = np.flatnonzero(np.concatenate(([False], same)) | np.concatenate((same, [False])))
    if len(tied):
        index = order[tied]
        keys = _keys(blocks, times[tied], index)
        order[tied] = index[sorted(range(len(index)), key=keys.__getitem__)]
    return None if (order[1:] > order[:-1]).all() else order


def _keys(blocks: Sequence[Block], time: Times, index: NDArray[np.int64]) -> list[Any]:
    """The sort keys of the events at `index`: (time, source, id), and their places where those do not tell apart."""
    moments = time.tolist()
    ids = np.concatenate([b.ids for b in blocks])[index].tolist()
    sources = np.concatenate([b.sources for b in blocks])[index].tolist()
    keys: list[Any] = list(zip(moments, ids, strict=True))
    if len(set(sources)) > 1:
        keys = list(zip(moments, sources, ids, strict=True))
    if len(set(keys)) < len(keys):
        topics = [b.topic for b in blocks for _ in range(len(b))]
        places = zip(
            [topics[i] for i in index.tolist()],
            *(np.concatenate([getattr(b, n) for b in blocks])[index].tolist() for n in ("partition", "offset", "row")),
            strict=True,
        )
        keys = list(zip(moments, sources, ids, places, strict=True))
    return keys

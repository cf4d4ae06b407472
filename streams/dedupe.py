"""Dropping duplicates: the same (source, id) of one stream and group again, within a window.

The position of an event is its event time under order `event_time` and its number in reading order under `arrival`.
An event is a duplicate where one of the same group, source and id was kept at a position not more than `window`
before:

    duplicate(e)  ⇔  kept[group(e), source(e), id(e)] ≥ position(e) − window

Events are judged one after another in the job's order, so the answer is the same for every split into batches. Streams
are judged apart: a label may carry the id of the event it is about. Groups too, as all of a job's state: an id that
comes again under a key of another group is another event, for where groups are spread over machines none of them sees
the others' ids.
"""

from __future__ import annotations

from collections import deque
from operator import itemgetter

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.block import Block

Name = tuple[str, str, int]
"""Source, id and group."""
_SOURCE, _ID, _GROUP = map(itemgetter, range(3))


class Seen(msgspec.Struct):
    """What is remembered of one stream, as plain data, in the order it was kept: ids and positions, and of each the
    number of its source among `sources` and its group."""

    stream: str
    sources: list[str]
    source: np.ndarray
    ids: list[str]
    positions: np.ndarray
    groups: np.ndarray


class _Memory:
    """The names of one stream: where each was kept, in that order, and in runs for forgetting."""

    __slots__ = ("kept", "runs")

    def __init__(self) -> None:
        self.kept: dict[Name, int] = {}
        self.runs: deque[tuple[int, list[Name]]] = deque()

    def forget(self, before: int) -> None:
        while self.runs and self.runs[0][0] < before:
            _, names = self.runs.popleft()
            for name in names:
                if self.kept.get(name, before) < before:
                    del self.kept[name]

    def admit(self, names: list[Name], positions: list[int], window: int) -> NDArray[np.bool_] | None:
        """Which are kept; None for all."""
        self.forget(positions[0] - window)
        new = dict(zip(names, positions, strict=True))
        # Of two views of keys the shorter is gone through; of a dict as it stands, all that is remembered.
        if len(new) == len(names) and new.keys().isdisjoint(self.kept.keys()):
            self.kept.update(new)
            self.runs.append((positions[-1], names))
            return None
        mask = np.ones(len(names), dtype=np.bool_)
        kept: list[Name] = []
        for i, (name, position) in enumerate(zip(names, positions, strict=True)):
            at = self.kept.get(name)
            if at is not None and at >= position - window:
                mask[i] = False
                continue
            if at is not None:
                del self.kept[name]  # it goes to the end: the order is that of keeping
            self.kept[name] = position
            kept.append(name)
        self.runs.append((positions[-1], kept))
        return mask


class Dedupe:
    """Remembers what was kept and says what to keep; memory is bounded by what `window` covers.

    With `ties_only` (order `event_time` without lateness) only events of one and the same time can meet again, and
    these are always released together: nothing needs to be remembered between blocks.
    """

    def __init__(self, window: int, *, ties_only: bool = False) -> None:
        self.window = window
        self.ties_only = ties_only
        self._memory: dict[str, _Memory] = {}

    def admit(
        self, block: Block, positions: NDArray[np.int64], groups: NDArray[np.int64] | None = None
    ) -> NDArray[np.bool_] | None:
        """Which rows of `block`, at non-decreasing `positions`, are kept; None where all are. Without `groups`, the
        group of each row, all are of group 0."""
        if not len(block):
            return None
        if self.ties_only:
            return _ties(block, groups)
        of = [0] * len(block) if groups is None else groups.tolist()
        names = list(zip(block.sources.tolist(), block.ids.tolist(), of, strict=True))
        return self._memory.setdefault(block.stream, _Memory()).admit(names, positions.tolist(), self.window)

    def __len__(self) -> int:
        return sum(len(m.kept) for m in self._memory.values())

    def snapshot(self) -> list[Seen]:
        """Everything remembered, as plain data."""
        out = []
        for stream, memory in sorted(self._memory.items()):
            # The job waits for this: column by column, which is several times as fast as `zip(*kept)`.
            kept, count = memory.kept, len(memory.kept)
            numbers = {source: number for number, source in enumerate(dict.fromkeys(map(_SOURCE, kept)))}
            of = np.fromiter(map(numbers.__getitem__, map(_SOURCE, kept)), np.int32, count)
            positions = np.fromiter(kept.values(), np.int64, count)
            groups = np.fromiter(map(_GROUP, kept), np.int32, count)
            out.append(Seen(stream, list(numbers), of, list(map(_ID, kept)), positions, groups))
        return out

    def restore(self, seen: list[Seen]) -> None:
        """Remember exactly what `snapshot` gave."""
        self._memory = {}
        for part in seen:
            memory = self._memory[part.stream] = _Memory()
            sources = [part.sources[i] for i in part.source.tolist()]
            names = list(zip(sources, part.ids, part.groups.tolist(), strict=True))
            positions: list[int] = part.positions.tolist()
            memory.kept = dict(zip(names, positions, strict=True))
            for a in range(0, len(names), 1024):
                run = positions[a : a + 1024]
                memory.runs.append((max(run), names[a : a + 1024]))


def _ties(block: Block, groups: NDArray[np.int64] | None) -> NDArray[np.bool_] | None:
    """Rows stand in order of (time, source, id): a duplicate follows the one it repeats, at once or behind those of
    other groups."""
    same = np.flatnonzero(block.time[1:] == block.time[:-1])
    if not len(same):
        return None
    again = (block.ids[same + 1] == block.ids[same]) & (block.sources[same + 1] == block.sources[same])
    repeats = same[again.astype(np.bool_)] + 1
    keep = np.ones(len(block), dtype=np.bool_)
    if groups is None:
        keep[repeats] = False
    else:
        of, last, seen = groups.tolist(), -1, set[int]()
        for row in repeats.tolist():
            if row != last + 1:
                seen = {of[row - 1]}
            keep[row] = of[row] not in seen
            seen.add(of[row])
            last = row
    return None if keep.all() else keep

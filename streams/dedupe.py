"""Dropping duplicates: the same (source, id) of one stream again, within a window.

The position of an event is its event time under order `event_time` and its number in reading order under `arrival`.
An event is a duplicate where one of the same source and id was kept at a position not more than `window` before:

    duplicate(e)  ⇔  kept[source(e), id(e)] ≥ position(e) − window

Events are judged one after another in the job's order, so the answer is the same for every split into batches. Streams
are judged apart: a label may carry the id of the event it is about.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.block import Block


class Seen(msgspec.Struct):
    """What is remembered of one stream and source, as plain data: ids and the positions where they were kept."""

    stream: str
    source: str
    ids: list[str]
    positions: np.ndarray


class _Memory:
    """The ids of one (stream, source): where each was kept, and in runs for forgetting."""

    __slots__ = ("kept", "runs")

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        self.runs: deque[tuple[int, list[str]]] = deque()

    def forget(self, before: int) -> None:
        while self.runs and self.runs[0][0] < before:
            _, ids = self.runs.popleft()
            for id in ids:
                if self.kept.get(id, before) < before:
                    del self.kept[id]

    def admit(self, ids: list[str], positions: list[int], window: int) -> NDArray[np.bool_] | None:
        """Which are kept; None for all."""
        self.forget(positions[0] - window)
        new = dict(zip(ids, positions, strict=True))
        if len(new) == len(ids) and new.keys().isdisjoint(self.kept):
            self.kept.update(new)
            self.runs.append((positions[-1], ids))
            return None
        mask = np.ones(len(ids), dtype=np.bool_)
        kept: list[str] = []
        for i, (id, position) in enumerate(zip(ids, positions, strict=True)):
            at = self.kept.get(id)
            if at is not None and at >= position - window:
                mask[i] = False
            else:
                self.kept[id] = position
                kept.append(id)
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
        self._memory: dict[tuple[str, str], _Memory] = {}

    def admit(self, block: Block, positions: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Which rows of `block`, at non-decreasing `positions`, are kept; None where all are."""
        if not len(block):
            return None
        if self.ties_only:
            return _ties(block)
        sources = block.sources.tolist()
        ids = block.ids.tolist()
        places = positions.tolist()
        different = set(sources)
        if len(different) == 1:
            return self._of(block.stream, sources[0]).admit(ids, places, self.window)
        keep = np.ones(len(block), dtype=np.bool_)
        for source in different:
            index = np.flatnonzero(block.sources == source)
            mask = self._of(block.stream, source).admit(
                [ids[i] for i in index], [places[i] for i in index], self.window
            )
            if mask is not None:
                keep[index[~mask]] = False
        return None if keep.all() else keep

    def _of(self, stream: str, source: str) -> _Memory:
        memory = self._memory.get((stream, source))
        if memory is None:
            memory = self._memory[stream, source] = _Memory()
        return memory

    def __len__(self) -> int:
        return sum(len(m.kept) for m in self._memory.values())

    def snapshot(self) -> list[Seen]:
        """Everything remembered, as plain data."""
        out = []
        for (stream, source), memory in sorted(self._memory.items()):
            ids = sorted(memory.kept, key=lambda id: (memory.kept[id], id))
            positions = np.array([memory.kept[id] for id in ids], dtype=np.int64)
            out.append(Seen(stream, source, ids, positions))
        return out

    def restore(self, seen: list[Seen]) -> None:
        """Remember exactly what `snapshot` gave."""
        self._memory = {}
        for part in seen:
            memory = self._of(part.stream, part.source)
            positions: list[Any] = part.positions.tolist()
            memory.kept = dict(zip(part.ids, positions, strict=True))
            for a in range(0, len(part.ids), 1024):
                run = part.ids[a : a + 1024]
                memory.runs.append((positions[a + len(run) - 1], run))


def _ties(block: Block) -> NDArray[np.bool_] | None:
    """Rows stand in order of (time, source, id): a duplicate follows the one it repeats."""
    same = np.flatnonzero(block.time[1:] == block.time[:-1])
    if not len(same):
        return None
    again = (block.ids[same + 1] == block.ids[same]) & (block.sources[same + 1] == block.sources[same])
    if not again.any():
        return None
    keep = np.ones(len(block), dtype=np.bool_)
    keep[same[again.astype(np.bool_)] + 1] = False
    return keep

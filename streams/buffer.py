"""The reorder buffer: what was read and is not yet complete, by partition, each run sorted by time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tidemill.block import Block
from tidemill.log import Partition

_RUNS = 8
"""Runs a partition may hold before neighbours of like size are merged."""


class ReorderBuffer:
    """Holds blocks until the watermark passes them.

    Every run is sorted by time once, on entering, so that a release is a slice. Small runs are merged with neighbours
    of like size (each event is copied O(log n) times at most), so a long wait in single events stays cheap.
    """

    def __init__(self) -> None:
        self._runs: dict[Partition, list[Block]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, partition: Partition, block: Block) -> None:
        """Hold the events of `block`."""
        if not len(block):
            return
        runs = self._runs.setdefault(partition, [])
        runs.append(_by_time(block))
        self._size += len(block)
        while len(runs) > _RUNS and len(runs[-2]) < 2 * len(runs[-1]):
            last = runs.pop()
            runs[-1] = _by_time(Block.concat([runs[-1], last]))

    def release(self, before: int) -> list[Block]:
        """Take out the events with time < `before`, as blocks in no particular order of each other."""
        out: list[Block] = []
        for runs in self._runs.values():
            kept: list[Block] = []
            for run in runs:
                at = int(np.searchsorted(run.time, before, side="left"))
                if at == len(run):
                    out.append(run)
                elif at == 0:
                    kept.append(run)
                else:
                    out.append(run.take(slice(0, at)))
                    kept.append(run.take(slice(at, None)))
            runs[:] = kept
        self._size -= sum(len(block) for block in out)
        return out

    def sizes(self) -> dict[Partition, int]:
        """Events held, by partition."""
        return {p: sum(len(b) for b in runs) for p, runs in self._runs.items() if runs}

    def snapshot(self) -> list[tuple[str, int, list[Block]]]:
        """Everything held, as plain data."""
        return [(p.topic, p.number, runs) for p, runs in sorted(self._runs.items()) if runs]

    def restore(self, held: Iterable[tuple[str, int, list[Block]]]) -> None:
        """Hold exactly what `snapshot` gave."""
        self._runs = {Partition(topic, number): list(runs) for topic, number, runs in held}
        self._size = sum(len(b) for runs in self._runs.values() for b in runs)


def _by_time(block: Block) -> Block:
    if len(block) < 2 or (block.time[1:] >= block.time[:-1]).all():
        return block
    return block.take(np.argsort(block.time, kind="stable"))

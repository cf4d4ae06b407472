"""Key groups: which group of a job an event belongs to, by xxh64 of its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.block import Block
from tidemill.hashing import xxh64
from tidemill.order import Batch


class Groups:
    """Parts a batch by the hash of its events' keys."""

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self._known: dict[str, int] = {}

    def of(self, batch: Batch, keys: Mapping[str, str | None]) -> NDArray[np.int64] | None:
        """The group of each event; None where there is one group only."""
        if self.groups == 1:
            return None
        group = np.empty(len(batch), dtype=np.int64)
        for number, stream in enumerate(batch.streams):
            block = batch.blocks.get(stream)
            if block is not None:
                mine = np.flatnonzero(batch.kind == number)
                group[mine] = self.of_block(block, keys[stream])[batch.row[mine]]
        return group

    def of_block(self, block: Block, key: str | None) -> NDArray[np.int64]:
        values: list[Any] = block.columns[key].tolist() if key else [""] * len(block)
        known = self._known
        if len(known) > 1 << 20:
            known.clear()
        out = []
        for value in map(str, values):
            group = known.get(value)
            if group is None:
                group = known[value] = xxh64(value.encode()) % self.groups
            out.append(group)
        return np.array(out, dtype=np.int64)


def split(batch: Batch, group: NDArray[np.int64] | None) -> list[tuple[int, Batch]]:
    """The batch of each group with events, by group; each carries the wake. `group` is that of each event."""
    if group is None:
        return [(0, batch)]
    order = np.argsort(group, kind="stable")
    numbers, starts = np.unique(group[order], return_index=True)
    ends = [*starts[1:].tolist(), len(order)]
    return [
        (int(g), batch.take(order[a:b], batch.wake))
        for g, a, b in zip(numbers.tolist(), starts.tolist(), ends, strict=True)
    ]

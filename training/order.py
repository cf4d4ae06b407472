"""Which examples a step learns from: a function of (seed, epoch) and of nothing else.

An epoch is a seeded permutation of the N examples, cut into global batches of B, the last one smaller. A step's batch
is dealt to W workers in turn (worker r takes places r, r + W, ...), so the multiset of a step is the same for every W,
and for one worker the order is that of the permutation. A step is never parted over two epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.hashing import xxh64

Int = NDArray[np.int64]


class Place(NamedTuple):
    """Where a run stands in its order: the next step begins at `position` of `epoch`."""

    epoch: int
    position: int


@lru_cache(4)
def permutation(n: int, seed: int, epoch: int) -> Int:
    """A permutation of 0 ... n − 1, each equally likely over seeds; read-only. Philox keyed by (seed, epoch)."""
    place = f"order/{seed}/{epoch}".encode()
    key = np.array([xxh64(place), xxh64(place, 1)], np.uint64)
    order = np.random.Generator(np.random.Philox(key=key)).permutation(n)
    order.flags.writeable = False
    return order


class EpochOrder:
    """The order of a run over `n` examples in global batches of `batch`, `epochs` times."""

    def __init__(self, n: int, batch: int, epochs: int, seed: int) -> None:
        self.n, self.batch, self.epochs, self.seed = n, batch, epochs, seed
        self.steps_per_epoch = -(-n // batch)

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    def place(self, step: int) -> Place:
        """Where step `step` (counted from 0) begins; after the last, the place behind the last epoch."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return Place(epoch, within * self.batch)

    def global_batch(self, step: int) -> tuple[int, Int]:
        """The epoch, and the examples of step `step` over all workers."""
        epoch, position = self.place(step)
        return epoch, permutation(self.n, self.seed, epoch)[position : position + self.batch]


def share(batch: Int, worker: int, workers: int) -> Int:
    """What of a global batch worker `worker` of `workers` learns."""
    return batch[worker::workers]


def micro_batches(items: Sequence[Any] | Int, micro: int) -> list[Any]:
    """A worker's share cut into pieces of at most `micro` (0: one piece); none of an empty share."""
    if not len(items):
        return []
    size = micro or len(items)
    return [items[i : i + size] for i in range(0, len(items), size)]

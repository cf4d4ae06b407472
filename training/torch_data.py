"""Examples and labels as PyTorch reads them: `IterableDataset`s for a `DataLoader` of any number of workers and ranks.

A sample is decoded and augmented as in a run (`training.loader.decoded`): from (seed, topic, partition, offset, epoch),
so its pixels are the same whoever decodes it. A `DataLoader` whose workers are forked needs nothing pickled of ours.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import IterableDataset, get_worker_info

from connectors.datasets.examples import Example
from tidemill.errors import ConfigError
from tidemill.version import Span
from training.continual import LabelSource
from training.loader import Loader, decoded
from training.order import EpochOrder, Place, share
from training.task import Task

# A worker is forked with copies of what this process has not collected yet. A closed connection to the brokers among
# them has no threads there, and to collect it ends the worker by a segmentation fault; so no worker collects them.
os.register_at_fork(after_in_child=gc.freeze)

AHEAD = 64
"""Labels that are taken from the log at once."""


class VersionDataset(IterableDataset):
    """The samples of `examples`, one epoch each time it is iterated, in the order of a run with this seed and batch.

    `batch` is global, and each of `world` ranks has `batch_size` of it: `DataLoader(d, batch_size=d.batch_size,
    num_workers=n, collate_fn=task.collate)` gives the batches of a run, in a run's order, for every n; the last may be
    smaller, and empty for some ranks. With another `batch_size` each example still comes once. Not `augmented`, samples
    come as they are, in the examples' order. `rank` and `world` are torch.distributed's where they are not given.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        fetch: Callable[[int], bytes],
        task: Task,
        *,
        batch: int,
        seed: int = 0,
        augmented: bool = True,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        self._rank, self._world = _ranks(rank, world)
        if batch < 1 or batch % self._world:
            wanted = f"a multiple of the {self._world} ranks"
            raise ConfigError("a batch cannot be dealt out", wanted=wanted, got=str(batch), field="batch")
        self.batch_size = batch // self._world
        self._loader = Loader(task, examples, fetch, seed=seed)
        self._order = EpochOrder(len(examples), batch, 1, seed)
        self._augmented = augmented
        # Shared, so that workers that live on (`persistent_workers`) see what is set between epochs.
        self._at = torch.zeros(2, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int, position: int = 0) -> None:
        """Iterate `epoch` from `position` (examples over all ranks, a whole number of batches) on."""
        if position % self._order.batch or not 0 <= position <= self._order.n:
            wanted = f"a multiple of {self._order.batch} up to {self._order.n}"
            raise ConfigError("an epoch has no such place", wanted=wanted, got=str(position), field="position")
        self._at[0], self._at[1] = epoch, position

    def place(self, batches: int) -> Place:
        """Where this epoch stands when so many batches were learned since it was set: save it, and go on by
        `set_epoch(*place)`."""
        return self._order.place(self._first() + batches)

    def _first(self) -> int:
        epoch, position = self._at.tolist()
        return int(epoch * self._order.steps_per_epoch + position // self._order.batch)

    def __iter__(self) -> Iterator[Any]:
        index, of = _worker()
        epoch = int(self._at[0])
        for step in range(self._first() + index, (epoch + 1) * self._order.steps_per_epoch, of):
            for number in self._share(step):
                yield self._loader.sample(number, epoch if self._augmented else None)

    def _share(self, step: int) -> list[int]:
        if self._augmented:
            whole = self._order.global_batch(step)[1]
        else:
            first = self._order.place(step).position
            whole = np.arange(first, min(first + self._order.batch, self._order.n))
        numbers: list[int] = share(whole, self._rank, self._world).tolist()
        return numbers


class Come(NamedTuple):
    """A sample of the tail, and where its label stands; of a batch, the batch and tensors [B]."""

    sample: Any
    partition: Any
    offset: Any


class LabelDataset(IterableDataset):
    """The samples of labels as they come, each a `Come`; it ends where its source is over, or never.

    Partitions are dealt to the workers of all ranks (partition p to number p mod how many), so that each label comes
    once, and of one partition in order; a worker without a partition ends at once. `source(index, of)` opens a reader
    of every `of`th partition, in the process that iterates. `spans` is what was learned: `learned(batch)` notes a batch
    (of `collate`), and a dataset made with those spans goes on behind them, with any number of workers. Where
    partitions come unevenly, `DataLoader(..., in_order=False)` waits for none of them.
    """

    def __init__(
        self,
        source: Callable[[int, int], LabelSource],
        fetch: Callable[[Example], bytes],
        task: Task,
        *,
        topic: str,
        spans: Sequence[Span] = (),
        seed: int = 0,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        self._source, self._fetch, self._task, self._seed = source, fetch, task, seed
        self._rank, self._world = _ranks(rank, world)
        self._topic = topic
        self.spans = list(spans)

    def __iter__(self) -> Iterator[Come]:
        index, of = _worker()
        source = self._source(self._rank * of + index, self._world * of)
        try:
            source.begin(self.spans)
            while (found := source.take(AHEAD)) or not source.over():
                for one in found:
                    e = one.example
                    yield Come(decoded(self._task, e, self._fetch(e), self._seed, 0), one.partition, one.offset)
        finally:
            source.close()

    def collate(self, comes: Sequence[Come]) -> Come:
        """The task's batch, with the places of its labels."""
        batch = self._task.collate([one.sample for one in comes])
        return Come(batch, torch.tensor([one.partition for one in comes]), torch.tensor([one.offset for one in comes]))

    def learned(self, batch: Come) -> None:
        """Note a batch in `spans`. Of each worker's batches, in the order in which they came."""
        reached = {s.partition: s.next for s in self.spans}
        for partition, offset in zip(batch.partition.tolist(), batch.offset.tolist(), strict=True):
            reached[partition] = max(reached.get(partition, 0), offset + 1)
        self.spans = [Span(self._topic, partition, 0, next) for partition, next in sorted(reached.items())]


def _worker() -> tuple[int, int]:
    """The number of this worker of the `DataLoader`, and how many it has."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)


def _ranks(rank: int | None, world: int | None) -> tuple[int, int]:
    grouped = dist.is_available() and dist.is_initialized()
    rank = (dist.get_rank() if grouped else 0) if rank is None else rank
    world = (dist.get_world_size() if grouped else 1) if world is None else world
    if not 0 <= rank < world:
        raise ConfigError("no such rank", wanted=f"0 to {world - 1}", got=str(rank), field="rank")
    return rank, world

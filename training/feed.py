"""What the loop learns from, step by step, and what it must know to go on after a kill."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from connectors.datasets.examples import Example
from tidemill.version import Span
from training.loader import Loader, Request
from training.order import EpochOrder, Int, Place, micro_batches, share
from training.parallel import Workers


class Micro(NamedTuple):
    """A batch as decoded: `uses` (n, 2), the examples' numbers and the epoch, are what the ledger notes."""

    uses: np.ndarray
    batch: Any


class Step(NamedTuple):
    """A worker's part of a step whose global batch holds `size` examples."""

    number: int
    epoch: int
    size: int
    parts: list[Micro]


class Standing(NamedTuple):
    """What a feed was at, as of the last step it gave: goes into the checkpoint. `state` holds its own draws,
    `records_hash` the digest of the records learned from, where `offsets` alone name them, and `items` where the items
    of `segments` stand (`training.checkpoint`)."""

    place: Place
    offsets: list[Span]
    segments: list[Span]
    state: bytes
    records_hash: str = ""
    items: Sequence[tuple[int, int, int]] = ()


class Feed(Protocol):
    """Steps in an order that is a function of what is read and of the seed. `steps` is their number, 0 where no end is
    known; `digest` names what is read; `asked`: it gave no more because it was asked to stop while it waited."""

    steps: int
    digest: str
    asked: bool

    def from_step(self, step: int, state: bytes) -> Generator[Step, None, None]:
        """This worker's steps from number `step` on, with `state` as it stood then. Ends where there are no more."""
        ...

    def standing(self, step: int) -> Standing:
        """Where the feed stands when `step` steps are done; called for the last one given."""
        ...

    def close(self) -> None: ...


class DatasetFeed:
    """Batch mode: the examples of a split, `epochs` times, each in an order of its own (`training.order`)."""

    asked = False

    def __init__(
        self, examples: Sequence[Example], digest: str, loader: Loader, workers: Workers, order: EpochOrder, micro: int
    ) -> None:
        self.digest = digest
        self.steps = order.steps
        self._examples = examples
        self._loader = loader
        self._workers = workers
        self._order = order
        self._micro = micro

    def from_step(self, step: int, state: bytes) -> Generator[Step, None, None]:
        batches = self._loader.batches(self._requests(step))
        for number in range(step, self.steps):
            epoch, whole = self._order.global_batch(number)
            parts = []
            for items in self._parts(whole):
                uses = np.stack([items, np.full(len(items), epoch)], axis=1).astype(np.int32)
                parts.append(Micro(uses, next(batches)))
            yield Step(number, epoch, len(whole), parts)

    def _parts(self, whole: Int) -> list[Int]:
        return micro_batches(share(whole, self._workers.rank, self._workers.size), self._micro)

    def _requests(self, step: int) -> Iterator[Request]:
        for number in range(step, self.steps):
            epoch, whole = self._order.global_batch(number)
            for items in self._parts(whole):
                yield Request(items.tolist(), epoch)

    def standing(self, step: int) -> Standing:
        return Standing(self._order.place(step), [], [], b"")

    def close(self) -> None:
        self._loader.close()

"""Continual mode: steps made of new labels as they come, beside old ones from a reservoir.

A step takes the next `fresh` labels in the order in which they were read, and `replay` drawn ones of those before. It
is a function of that order and of the seed, so a run that is killed goes on from the offsets in its checkpoint to the
same steps; and the order is written down (`segments`), so a version can be trained anew.

A use is (the label's number among all that came, how often it was used before): the first is 0, and that count seeds
its augmentation, as the epoch does in batch mode.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Generator, Iterator
from typing import Protocol

import msgspec
import numpy as np

from connectors.datasets.examples import Example
from tidemill import block
from tidemill.state import digest
from tidemill.version import Span
from training.config import Continual, Training
from training.feed import Micro, Standing, Step
from training.loader import decoded
from training.order import Place, micro_batches
from training.parallel import Workers
from training.replay import Kept, Reservoir

PATIENCE = 0.2
Run = tuple[int, int, int]
"""Items that stand one behind the other: partition, first offset, and the one behind the last."""


class Labelled(msgspec.Struct, frozen=True):
    """An item with the label that an event of `labels.<project>` gave it, where that event stands."""

    example: Example
    topic: str
    partition: int
    offset: int

    def within(self, places: Container[block.Place]) -> bool:
        """Whether the label or its item stands at one of these places."""
        return block.Place(self.topic, self.partition, self.offset) in places or place_of(self.example) in places


class LabelSource(Protocol):
    """New labels in the order in which they are read. Read by worker 0 alone."""

    def begin(self, offsets: list[Span]) -> None:
        """Read from behind these spans on (none: from the log's beginning)."""
        ...

    def take(self, most: int) -> list[Labelled]:
        """Up to `most` labels that are there now; waits a little where there are none."""
        ...

    def over(self) -> bool:
        """Whether no more will come."""
        ...

    def erased_since(self) -> Container[block.Place] | None:
        """All that was erased on request, where it is more than when this was asked last; else None."""
        ...

    def close(self) -> None: ...


class _Plan(msgspec.Struct):
    """Step's examples, told to all workers; `end` where there is none, `wait` while none has come."""

    kept: list[Kept] = []
    end: bool = False
    asked: bool = False
    wait: bool = False


class _State(msgspec.Struct):
    """What a checkpoint holds of the feed. `told` and `items` are None in one that an earlier build began, which kept
    no digest and no places of items."""

    came: int
    draws: int
    kept: list[Kept]
    segments: list[Span]
    data: list[Span]
    told: str | None = None
    items: list[Run] | None = None


class ContinualFeed:
    """A `training.feed.Feed` of labels as they come. `stop` is asked while it waits; `fetch` gives an example's bytes.

    It ends after `steps` steps, where that is said, whatever the configuration says.
    """

    def __init__(
        self,
        training: Training,
        labels: LabelSource,
        digest: str,
        fetch: Callable[[Example], bytes],
        workers: Workers,
        stop: Callable[[], bool],
        steps: int = 0,
    ) -> None:
        data = training.data
        assert isinstance(data, Continual)
        self._data, self._training, self._labels, self._fetch = data, training, labels, fetch
        self._workers, self._stop = workers, stop
        self.steps = data.steps  # which the learning rate's schedule knows of
        self._until = steps or data.steps
        self.digest = digest
        self.asked = False
        self._reservoir = Reservoir(data.kept, training.seed)
        self._segments: list[Span] = []
        self._ranges: list[Span] = []
        self._items: list[Run] | None = []
        self._told: str | None = ""
        self._waiting: list[Labelled] = []

    def from_step(self, step: int, state: bytes) -> Generator[Step, None, None]:
        if state:
            was = msgspec.msgpack.decode(state, type=_State)
            self._reservoir.came, self._reservoir.draws = was.came, was.draws
            self._reservoir.kept, self._segments, self._ranges = was.kept, was.segments, was.data
            self._told, self._items = was.told, was.items
        if self._workers.rank == 0:
            self._labels.begin(_behind(self._segments))
        while not self._until or step < self._until:
            plan = msgspec.msgpack.decode(self._workers.tell(self._planned()), type=_Plan)
            if plan.end:
                self.asked = plan.asked
                return
            if not plan.wait:
                yield Step(step, 0, len(plan.kept), self._parts(plan.kept))
                step += 1

    def _planned(self) -> bytes:
        """At worker 0: the next step's examples, or that there is nothing yet, after a while."""
        if self._workers.rank != 0:
            return b""
        return msgspec.msgpack.encode(self._plan())

    def _plan(self) -> _Plan:
        fresh, deadline = self._data.fresh, time.monotonic() + 10 * PATIENCE
        self._let_go()
        while len(self._waiting) < fresh and not self._labels.over():
            if self._stop():
                return _Plan(end=True, asked=True)
            self._waiting += self._labels.take(fresh - len(self._waiting))
            if time.monotonic() > deadline and len(self._waiting) < fresh:
                return _Plan(wait=True)
            self._let_go()
        if not self._waiting:
            return _Plan(end=True)
        mine, self._waiting = self._waiting[:fresh], self._waiting[fresh:]
        drawn = self._reservoir.draw(self._data.replay)
        plan = []
        for labelled in mine:
            _join(self._segments, labelled)
            self._ranges = _reached(self._ranges, labelled.example)
            if self._items is not None:
                _follow(self._items, labelled.example)
            self._told = None if self._told is None else _chained(self._told, labelled)
            kept = Kept(labelled.example, self._reservoir.came, 0)
            plan.append(kept)
            self._reservoir.add(Kept(kept.example, kept.number, 1))
        return _Plan(kept=plan + drawn)

    def _let_go(self) -> None:
        """Of what was erased on request since: it is in no step from here on, and in no later checkpoint."""
        erased = self._labels.erased_since()
        if erased is None:
            return
        self._waiting = [one for one in self._waiting if not one.within(erased)]
        numbers = {k.number for k in self._reservoir.kept}
        gone = {i for i, place in enumerate(_places(self._segments)) if i in numbers and place in erased}
        self._reservoir.kept = [
            k for k in self._reservoir.kept if k.number not in gone and place_of(k.example) not in erased
        ]

    def _parts(self, kept: list[Kept]) -> list[Micro]:
        mine = kept[self._workers.rank :: self._workers.size]
        task, seed = self._training.task, self._training.seed
        parts = []
        for piece in micro_batches(mine, self._training.micro):
            samples = [decoded(task, k.example, self._fetch(k.example), seed, k.used) for k in piece]
            uses = np.array([[k.number, k.used] for k in piece], np.int32)
            parts.append(Micro(uses, task.collate(samples)))
        return parts

    def standing(self, step: int) -> Standing:
        reservoir, read = self._reservoir, _read(self._segments) + self._ranges
        kept = reservoir.kept
        was = _State(reservoir.came, reservoir.draws, kept, self._segments, self._ranges, self._told, self._items)
        place, state = Place(0, reservoir.came), msgspec.msgpack.encode(was)
        return Standing(place, read, list(self._segments), state, self._told or "", list(self._items or ()))

    def close(self) -> None:
        self._labels.close()


def _join(segments: list[Span], labelled: Labelled) -> None:
    """Add where a label stands to the runs read, in order."""
    if segments:
        last = segments[-1]
        if (last.topic, last.partition, last.next) == (labelled.topic, labelled.partition, labelled.offset):
            segments[-1] = msgspec.structs.replace(last, next=labelled.offset + 1)
            return
    segments.append(Span(labelled.topic, labelled.partition, labelled.offset, labelled.offset + 1))


def _follow(items: list[Run], example: Example) -> None:
    """Add where an item stands to the runs of items, in the order of their labels."""
    if items:
        partition, first, next = items[-1]
        if (partition, next) == (example.partition, example.offset):
            items[-1] = partition, first, next + 1
            return
    items.append((example.partition, example.offset, example.offset + 1))


def place_of(example: Example) -> block.Place:
    """Where an item stands."""
    return block.Place(example.topic, example.partition, example.offset, example.row)


def _places(segments: list[Span]) -> Iterator[block.Place]:
    """Where the labels stand, in the order in which they were read."""
    return (block.Place(s.topic, s.partition, offset) for s in segments for offset in range(s.first, s.next))


def _behind(segments: list[Span]) -> list[Span]:
    """The last run of each partition."""
    return list({(s.topic, s.partition): s for s in segments}.values())


def _read(segments: list[Span]) -> list[Span]:
    """Of each partition the range from its first label to its last: what came before the run's first label was not
    learned from, and may be gone already."""
    firsts = {(s.topic, s.partition): s.first for s in reversed(segments)}
    return [Span(s.topic, s.partition, firsts[s.topic, s.partition], s.next) for s in _behind(segments)]


def _reached(items: list[Span], example: Example) -> list[Span]:
    """The ranges of items with this one's place in them."""
    spans = {(s.topic, s.partition): (s.first, s.next) for s in items}
    at, here = (example.topic, example.partition), example.offset
    first, next = spans.get(at, (here, here))
    spans[at] = min(first, here), max(next, here + 1)
    return [Span(topic, partition, *span) for (topic, partition), span in sorted(spans.items())]


def _chained(told: str, labelled: Labelled) -> str:
    """The digest of all labels so far, with this one: each with its place, and its item as it was read."""
    e = labelled.example
    item = [e.topic, e.partition, e.offset, e.row, e.id, e.media, e.media_type, e.payload, e.group]
    said = [told, labelled.topic, labelled.partition, labelled.offset, e.label, item]
    return digest(msgspec.json.encode(said, order="deterministic"))

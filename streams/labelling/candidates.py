"""What the job that asks for labels remembers: candidates, what is asked, what is labelled, and errors by region."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import numpy as np

from streams.labelling import uncertainty
from streams.labelling.choice import Pool
from streams.labelling.items import Item
from streams.regions import use

QUICK, SLOW_FLOOR = 0.1, 10.0
"""What one label moves a region's recent error rate by, and labels before a region is judged at all."""
REGIONS = 1_000
"""Regions whose errors are counted (`streams.regions.use` says which)."""


class Candidate(msgspec.Struct, array_like=True):
    """An item that may be asked about: its turn, what each model version made of it last, and the item once it came."""

    turn: int
    outputs: dict[str, list[float]] = {}
    newest: str = ""
    item: Item | None = None


class Open(msgspec.Struct, array_like=True):
    """An item that was asked about and has no label yet: its turn, when, its region, and the class it was taken for."""

    turn: int
    time: int
    region: str
    best: int


class Region(msgspec.Struct, array_like=True):
    """The errors in a part of the stream: labels, wrong predictions, and the recent error rate. `told` is by how much
    a job that watches said that it rose; with every label that came here since, less of it is left."""

    labels: float = 0.0
    wrong: float = 0.0
    recent: float = 0.0
    told: float = 0.0

    def add(self, wrong: bool) -> None:
        """A label came for a prediction here."""
        self.labels += 1.0
        self.wrong += wrong
        rate = max(QUICK, 1.0 / self.labels)
        self.recent += rate * (wrong - self.recent)
        self.told *= 1.0 - QUICK

    @property
    def rise(self) -> float:
        """By how much the recent error rate is above that of all labels, 0 while there are few; or what was told."""
        mine = self.recent - self.wrong / self.labels if self.labels >= SLOW_FLOOR else 0.0
        return max(mine, self.told)


T = TypeVar("T", Candidate, Open)


def in_turn(kept: dict[str, T]) -> dict[str, T]:
    """In the order of their turns: canonical bytes sort by name."""
    return dict(sorted(kept.items(), key=lambda one: one[1].turn))


class State(msgspec.Struct):
    """The state of the job. `labelled` are ids of labelled items with their turn, `centres` the embeddings of those
    asked about last; `coming` counts new predictions since the last round, `due` ends the open window."""

    pool: dict[str, Candidate] = {}
    open: dict[str, Open] = {}
    labelled: dict[str, int] = {}
    regions: dict[str, Region] = {}
    uses: dict[str, int] = {}
    centres: list[list[float]] = []
    turns: int = 0
    asked: int = 0
    rounds: int = 0
    coming: int = 0
    clock: int = 0
    due: int | None = None

    def __post_init__(self) -> None:
        self.pool, self.open = in_turn(self.pool), in_turn(self.open)
        self.labelled = dict(sorted(self.labelled.items(), key=lambda one: one[1]))
        # A state that was saved before it counted uses.
        self.uses = {name: max(1, int(region.labels)) for name, region in self.regions.items()} | self.uses

    def turn(self) -> int:
        self.turns += 1
        return self.turns

    def region(self, name: str) -> Region:
        """That of this name, which is used; of more than `REGIONS` those that are used least are dropped."""
        for gone in use(self.uses, name, REGIONS):
            self.regions.pop(gone, None)
        return self.regions.setdefault(name, Region())

    def known(self, id: str) -> bool:
        """Whether the item is asked about or labelled already."""
        return id in self.open or id in self.labelled

    def candidate(self, id: str, most: int) -> Candidate:
        """That of an item; of more than `most` the oldest is dropped."""
        found = self.pool.get(id)
        if found is None:
            if len(self.pool) >= most:
                del self.pool[next(iter(self.pool))]
            found = self.pool[id] = Candidate(self.turn())
        return found

    def label(self, id: str, most: int) -> tuple[str, int] | None:
        """The item has a label: it is no candidate. Its region and what it was taken for, where that is known and this
        is the first label."""
        asked, candidate = self.open.pop(id, None), self.pool.pop(id, None)
        if id not in self.labelled:
            if len(self.labelled) >= most:
                del self.labelled[next(iter(self.labelled))]
            self.labelled[id] = self.turn()
        if asked is not None:
            return asked.region, asked.best
        if candidate is None or not candidate.newest:
            return None
        best = int(np.argmax(candidate.outputs[candidate.newest]))
        return "" if candidate.item is None else candidate.item.region, best

    def as_pool(self, at_least: float) -> Pool:
        """The candidates that have come whole and are unsure enough, to be chosen from."""
        whole = [(id, c, c.item) for id, c in self.pool.items() if c.newest and c.item is not None]
        if not whole:
            return Pool([], np.zeros((0, 2)))
        P = np.array([c.outputs[c.newest] for _, c, _ in whole])
        kept = np.flatnonzero(uncertainty.margin(P) >= at_least).tolist()
        chosen = [whole[i] for i in kept]
        vectors = [item.embedding for _, _, item in chosen if item is not None]
        spread = bool(vectors) and all(v is not None and len(v) == len(vectors[0] or ()) for v in vectors)
        return Pool(
            ids=[id for id, _, _ in chosen],
            P=P[kept],
            versions=[np.array(list(c.outputs.values())) for _, c, _ in chosen],
            embeddings=np.array(vectors, dtype=np.float64) if spread else None,
            groups=[item.group if item is not None and item.group else id for id, _, item in chosen],
            rise=np.array([self._rise(item) for _, _, item in chosen]),
            taken=np.array(self.centres) if spread and self.centres else None,
        )

    def _rise(self, item: Item | None) -> float:
        region = self.regions.get("" if item is None else item.region)
        return 0.0 if region is None else region.rise

"""A reservoir of what was learned: of all items so far each is kept with the same chance, and drawn from again.

Source: Vitter, *Random sampling with a reservoir*, 1985, algorithm R; rehearsal in continual learning: Chaudhry et al.,
*On tiny episodic memories in continual learning*, 2019.
"""

from __future__ import annotations

import msgspec
import numpy as np

from connectors.datasets.examples import Example
from tidemill.hashing import xxh64


class Kept(msgspec.Struct):
    """An example in the reservoir: its `number` among all that came, and how often it was `used`."""

    example: Example
    number: int
    used: int


class Reservoir:
    """At most `room` examples. What is drawn is a function of (seed, how many came, how many draws were made)."""

    def __init__(self, room: int, seed: int) -> None:
        self.room, self.seed = room, seed
        self.came = 0
        self.draws = 0
        self.kept: list[Kept] = []

    def add(self, kept: Kept) -> None:
        """Take in the next example that came. One of an item that is there already takes its place: its label was
        corrected."""
        at = next((i for i, k in enumerate(self.kept) if k.example.id == kept.example.id), None)
        self.came += 1
        if at is not None:
            self.kept[at] = kept
        elif len(self.kept) < self.room:
            self.kept.append(kept)
        else:
            place = int(self._rng("add", self.came).integers(self.came))
            if place < self.room:
                self.kept[place] = kept

    def draw(self, n: int) -> list[Kept]:
        """`n` different ones, or all where there are fewer; each is used once more."""
        self.draws += 1
        count = min(n, len(self.kept))
        if not count:
            return []
        found = []
        for place in self._rng("draw", self.draws).choice(len(self.kept), count, replace=False).tolist():
            kept = self.kept[place]
            found.append(Kept(kept.example, kept.number, kept.used))
            kept.used += 1
        return found

    def _rng(self, what: str, count: int) -> np.random.Generator:
        place = f"{what}/{self.seed}/{count}".encode()
        return np.random.Generator(np.random.Philox(key=np.array([xxh64(place), xxh64(place, 1)], np.uint64)))

"""Simulated annotators: they err as real ones did, whose confusion matrices are counted from a crowd's answers."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.hashing import xxh64

CROWD = "rte"
LEAST = 40
"""Judged answers that an annotator must have given to be drawn."""

DEFAULTS = (0.96, 0.93, 0.91, 0.88, 0.85, 0.82, 0.78, 0.72, 0.66, 0.58)
"""Shares of right answers where there is no crowd's data to draw from: chosen by hand, for the demo to run."""


class Simulated(msgspec.Struct, frozen=True, eq=False):
    """An annotator who takes class i for class j with probability `confusion[i, j]`. `origin` says of whom."""

    name: str
    confusion: NDArray[np.float64]
    origin: str

    @property
    def accuracy(self) -> float:
        """The mean share of right answers over classes."""
        return float(np.trace(self.confusion) / len(self.confusion))

    def answer(self, item: str, truth: int, seed: int = 0) -> int:
        """What they take the item for: always the same for the same item."""
        drawn = xxh64(f"{self.name}/{item}".encode(), seed) / 2.0**64
        return min(int(np.searchsorted(np.cumsum(self.confusion[truth]), drawn)), len(self.confusion) - 1)


def simulated(folder: Path, classes: int, count: int, seed: int = 0) -> list[Simulated]:
    """`count` annotators of `classes` classes: drawn from those of the crowd `rte` in `folder`, or, where it is not
    there, by `DEFAULTS`.

    A real annotator has a matrix of two classes. Class c of the simulated one is judged as row c mod 2 of it: right as
    often, and wrong evenly among the other classes.
    """
    real = confusions(folder / "crowd" / f"{CROWD}.answers.csv", folder / "crowd" / f"{CROWD}.truth.csv")
    rng = np.random.default_rng(seed)
    made = []
    drawn = rng.permutation(len(real))[:count].tolist() if len(real) >= count else []
    for i in range(count):
        if drawn:
            name, matrix = real[drawn[i]]
            right = [float(matrix[c % len(matrix), c % len(matrix)]) for c in range(classes)]
            origin = f"as annotator {name} of {CROWD}"
        else:
            right = [DEFAULTS[i % len(DEFAULTS)]] * classes
            origin = "a plain default"
        made.append(Simulated(f"sim{i:02d}", spread(right), origin))
    return made


def spread(right: Sequence[float]) -> NDArray[np.float64]:
    """The confusion matrix of one who is right with these probabilities, and wrong evenly."""
    k = len(right)
    matrix = np.repeat([[(1.0 - r) / (k - 1)] for r in right], k, axis=1)
    np.fill_diagonal(matrix, right)
    return np.asarray(matrix, np.float64)


def confusions(answers: Path, truth: Path) -> list[tuple[str, NDArray[np.float64]]]:
    """The confusion matrix of each annotator with `LEAST` judged answers, counted with one pseudo-answer a cell; none
    where the files are not there."""
    if not answers.is_file() or not truth.is_file():
        return []
    with truth.open() as file:
        known = {row["task"]: int(row["truth"]) for row in csv.DictReader(file)}
    with answers.open() as file:
        rows = [(row["worker"], known.get(row["task"]), int(row["answer"])) for row in csv.DictReader(file)]
    k = 1 + max(*known.values(), *(answer for _, _, answer in rows))
    found: dict[str, NDArray[np.float64]] = {}
    for worker, right, answer in rows:
        if right is not None:
            found.setdefault(worker, np.zeros((k, k)))[right, answer] += 1
    enough = {worker: counts for worker, counts in found.items() if counts.sum() >= LEAST}
    return [(worker, (c + 1.0) / (c + 1.0).sum(axis=1, keepdims=True)) for worker, c in sorted(enough.items())]

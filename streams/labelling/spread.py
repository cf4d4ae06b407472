"""Batches that are spread over an embedding, so that no two items of one teach the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Ints = NDArray[np.int64]


def k_centre(X: Float, count: int, taken: Float | None = None, first: int = 0) -> list[int]:
    """`count` rows of `X` (n × d), each the farthest from all rows chosen before and from those `taken` (m × d): the
    greedy 2-approximation of the k-centre problem. Without any taken, row `first` is chosen first. Ties go to the
    earlier row. Source: Sener and Savarese, *Active learning for convolutional neural networks: a core-set approach*,
    ICLR 2018."""
    if not len(X) or count < 1:
        return []
    chosen: list[int] = []
    if taken is not None and len(taken):
        near = np.min([_squares(X, centre) for centre in taken], axis=0)
    else:
        chosen.append(first)
        near = _squares(X, X[first])
    while len(chosen) < min(count, len(X)):
        near[chosen] = -1.0
        at = int(near.argmax())
        chosen.append(at)
        near = np.minimum(near, _squares(X, X[at]))
    return chosen


def clusters(X: Float, weight: Float, count: int, seed: int, passes: int = 10) -> list[int]:
    """One row of `X` (n × d) for each of `count` clusters of k-means weighted by `weight` (n,): the nearest to its
    centre. Source: Zhdanov, *Diverse mini-batch active learning*, 2019."""
    n = len(X)
    if count >= n or count < 1:
        return list(range(n if count >= 1 else 0))
    rng = np.random.default_rng(seed)
    heavy = np.maximum(weight, 1e-12)
    centres = X[_seeds(X, heavy, count, rng)]
    for _ in range(passes):
        mine = _distances(X, centres).argmin(axis=1)
        sums, mass = np.zeros_like(centres), np.zeros(count)
        np.add.at(sums, mine, X * heavy[:, None])
        np.add.at(mass, mine, heavy)
        there = mass > 0
        centres = np.where(there[:, None], sums / np.where(there, mass, 1.0)[:, None], centres)
    away = _distances(X, centres)
    chosen: list[int] = []
    for c in range(count):
        away[chosen] = np.inf
        chosen.append(int(away[:, c].argmin()))
    return chosen


def _seeds(X: Float, weight: Float, count: int, rng: np.random.Generator) -> list[int]:
    """The first centres, by k-means++ (Arthur and Vassilvitskii, 2007)."""
    chosen = [int(weight.argmax())]
    near = _squares(X, X[chosen[0]])
    while len(chosen) < count:
        mass = np.cumsum(near * weight)
        at = int(np.searchsorted(mass, rng.random() * mass[-1])) if mass[-1] > 0 else int(rng.integers(len(X)))
        chosen.append(min(at, len(X) - 1))
        near = np.minimum(near, _squares(X, X[chosen[-1]]))
    return chosen


def _squares(X: Float, centre: Float) -> Float:
    return np.asarray(((X - centre) ** 2).sum(axis=1))


def _distances(X: Float, centres: Float) -> Float:
    return np.stack([_squares(X, centre) for centre in centres], axis=1)

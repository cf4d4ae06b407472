"""Latent factors of nodes: who writes to whom, beyond what the two did before.

    s(a → b) = u_a · v_b + w_b

Each edge takes one step of `RATE` down the slope of −log softmax of its destination's score among `NEGATIVES` nodes
drawn from those seen (of a bipartite past, from those of the destination's side): matrix factorisation in stream order,
a part of the past and not of a model that asks it. Where an edge starts from, and which nodes it is held against, is a
function of the order alone.

Source: Rendle, Freudenthaler, Gantner, Schmidt-Thieme, *BPR: Bayesian personalized ranking from implicit feedback*, UAI
2009; here with a softmax over more than one drawn node.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graph.draws import bits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIZE, RATE, NEGATIVES = 8, 0.1, 60
_SPREAD = 0.15
"""Before anything is learned, a factor's numbers lie between minus this and this."""
_MOST = 8.0
"""They never leave this: no stream makes a score infinite."""


@njit(cache=True)
def begin(u: Floats, v: Floats, row: int) -> None:
    """Factors of a node that is new."""
    for j in range(SIZE):
        for way, factor in ((0, u), (1, v)):
            share = np.float64(bits(0, row + 1, 2 * j + way) >> np.uint64(11)) / 2.0**53
            factor[row, j] = (2.0 * share - 1.0) * _SPREAD


@njit(cache=True)
def _bounded(x: float) -> float:
    return min(max(x, -_MOST), _MOST)


@njit(cache=True)
def dot(u: Floats, a: int, v: Floats, b: int) -> float:
    total = 0.0
    for j in range(SIZE):
        total += u[a, j] * v[b, j]
    return total


@njit(cache=True)
def learn(u: Floats, v: Floats, w: Floats, a: int, b: int, nodes: int, event: int) -> None:
    """One step by edge `event` between rows `a` → `b` of `nodes`."""
    rows = np.empty(NEGATIVES + 1, np.int64)
    rows[0] = b
    for i in range(1, NEGATIVES + 1):
        rows[i] = np.int64(bits(0, event + 1, i) % np.uint64(nodes))
    _step(u, v, w, a, b, rows)


@njit(cache=True)
def learn_among(u: Floats, v: Floats, w: Floats, a: int, b: int, among: Ints, event: int) -> None:
    """The same, held against nodes of the rows `among` alone."""
    rows = np.empty(NEGATIVES + 1, np.int64)
    rows[0] = b
    for i in range(1, NEGATIVES + 1):
        rows[i] = among[np.int64(bits(0, event + 1, i) % np.uint64(len(among)))]
    _step(u, v, w, a, b, rows)


@njit(cache=True)
def _step(u: Floats, v: Floats, w: Floats, a: int, b: int, rows: Ints) -> None:
    slope = np.empty(NEGATIVES + 1)
    for i in range(NEGATIVES + 1):
        slope[i] = dot(u, a, v, rows[i]) + w[rows[i]]
        if i > 0 and rows[i] == b:
            slope[i] = -np.inf
    slope = np.exp(slope - slope.max())
    slope /= slope.sum()
    slope[0] -= 1.0
    pull = np.zeros(SIZE)
    for i in range(NEGATIVES + 1):
        w[rows[i]] = _bounded(w[rows[i]] - RATE * slope[i])
        for j in range(SIZE):
            pull[j] += slope[i] * v[rows[i], j]
            v[rows[i], j] = _bounded(v[rows[i], j] - RATE * slope[i] * u[a, j])
    for j in range(SIZE):
        u[a, j] = _bounded(u[a, j] - RATE * pull[j])

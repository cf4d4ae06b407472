"""What is around a node, as plain columns for any model: means over neighbours, and the labels known among them.

As in SIGN (Frasca et al., *SIGN: scalable inception graph neural networks*, 2020): the graph is looked at once, before
training, and the model is one of tables.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from graph.adjacency import Int
from graph.csr import CSRGraph
from tidemill.errors import UserError

Floats = NDArray[np.float64]


@njit(cache=True, nogil=True)
def _summed(offsets: Int, neighbours: Int, x: Floats, out: Floats) -> None:
    for node in range(len(offsets) - 1):
        for place in range(offsets[node], offsets[node + 1]):
            out[node] += x[neighbours[place]]


def means(graph: CSRGraph, features: ArrayLike, hops: int = 2) -> Floats:
    """n × (d · (hops + 1) + 2): the `features` (n × d); the logarithm of 1 + degree, and its mean over neighbours; the
    mean of the features over neighbours, and of that over neighbours again, for each hop. 0 where a node has no
    neighbour. Raises `UserError` for another number of rows.
    """
    x = _rows(graph, features)
    degrees = np.diff(graph.offsets)
    logs = np.log1p(degrees).astype(np.float64)[:, None]
    columns = [x, logs, _mean(graph, logs)]
    for _ in range(hops):
        x = _mean(graph, x)
        columns.append(x)
    return np.hstack(columns)


def label_shares(graph: CSRGraph, labels: ArrayLike, known: ArrayLike, *, strength: float = 4.0) -> Floats:
    """n × 2: the share of label 1 among the neighbours whose label is `known` (a mask), drawn towards the share among
    all that are known by `strength` more; and the logarithm of 1 + how many are known. A node's own label is not used.
    """
    y, mask = np.asarray(labels, np.float64), np.asarray(known, np.bool_)
    columns = _rows(graph, np.stack([np.where(mask, y, 0.0), mask], axis=1))
    base = columns[:, 0].sum() / max(columns[:, 1].sum(), 1.0)
    out = np.zeros_like(columns)
    _summed(graph.offsets, graph.neighbours, columns, out)
    share = (out[:, 0] + strength * base) / np.maximum(out[:, 1] + strength, 1e-12)
    return np.stack([share, np.log1p(out[:, 1])], axis=1)


def _mean(graph: CSRGraph, x: Floats) -> Floats:
    out = np.zeros_like(x)
    _summed(graph.offsets, graph.neighbours, x, out)
    return np.asarray(out / np.maximum(np.diff(graph.offsets), 1)[:, None])


def _rows(graph: CSRGraph, features: ArrayLike) -> Floats:
    x = np.ascontiguousarray(features, np.float64)
    if x.ndim != 2 or len(x) != graph.n_nodes:
        raise UserError("not a row for each node", wanted=f"{graph.n_nodes} rows", got=f"shape {x.shape}")
    return x

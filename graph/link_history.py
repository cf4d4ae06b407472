"""What link prediction remembers of a stream of edges: per node, per pair, and the last few neighbours of each node.

Everything is a plain array that grows, so a job can keep it in a snapshot. An edge costs a few hash look-ups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from graph.table import find, index
from tidemill.errors import ConfigError, IncompatibleError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RING = 32
"""Neighbours kept of each node and direction: the most recent ones."""

HOUR, DAY = 3600.0, 86400.0
SCALES = (HOUR, DAY, 7 * DAY, 60 * DAY)
NODES, PAIRS, EVENTS = range(3)
"""Places in `size`."""

OUT, IN, PARTNERS_OUT, PARTNERS_IN, REPEATS_OUT, REPLIES_OUT, REPEATS_IN, REPLIES_IN = range(8)
"""Columns of `node_count`: edges, distinct partners, edges of a pair that had one before, and edges of a pair whose
reverse had one before; each as the source and as the destination."""

FIRST, LAST = 0, 1
"""Columns of `node_time`: when the node was first seen, then its last edge out (1) and in (2)."""


@njit(cache=True)
def elapsed(now: float, then: float) -> float:
    """Never negative: a late edge counts as one of this moment."""
    return max(now - then, 0.0)


@njit(cache=True)
def _node(h: Any, name: int, time: float) -> Any:
    row, at = find(h[0], h[2], name)
    if row < 0:
        row = h[15][NODES]
        h[15][NODES] += 1
        h[2][row] = name
        h[0][at] = row + 1
        h[3][row, FIRST] = time
    return row


@njit(cache=True)
def update_one(h: Any, src: int, dst: int, time: float) -> None:
    """Take in one edge. `h` is `LinkHistory.arrays`."""
    node_time, node_count, node_decay, node_event, ring_node, ring_time = h[3], h[4], h[5], h[6], h[7], h[8]
    pair_key, pair_time, pair_count, pair_decay, pair_rank, scales, size = (
        h[9],
        h[10],
        h[11],
        h[12],
        h[13],
        h[14],
        h[15],
    )
    a, b = _node(h, src, time), _node(h, dst, time)
    key = (a << 32) | b
    pair, at = find(h[1], pair_key, key)
    reverse, _ = find(h[1], pair_key, (b << 32) | a)
    if pair < 0:
        pair = size[PAIRS]
        size[PAIRS] += 1
        pair_key[pair] = key
        h[1][at] = pair + 1
        node_count[a, PARTNERS_OUT] += 1
        node_count[b, PARTNERS_IN] += 1
    else:
        node_count[a, REPEATS_OUT] += 1
        node_count[b, REPEATS_IN] += 1
    if reverse >= 0:
        node_count[a, REPLIES_OUT] += 1
        node_count[b, REPLIES_IN] += 1
    for k in range(len(scales)):
        pair_decay[pair, k] = pair_decay[pair, k] * np.exp(-elapsed(time, pair_time[pair]) / scales[k]) + 1.0
        for node, way in ((a, OUT), (b, IN)):
            fading = np.exp(-elapsed(time, node_time[node, LAST + way]) / scales[k])
            node_decay[node, way, k] = node_decay[node, way, k] * fading + 1.0
    size[EVENTS] += 1
    for node, other, way in ((a, b, OUT), (b, a, IN)):
        place = node_count[node, way] % RING
        ring_node[node, way, place] = other
        ring_time[node, way, place] = time
        node_count[node, way] += 1
        node_time[node, LAST + way] = time
        node_event[node, way] = size[EVENTS]
        pair_rank[pair, way] = node_count[node, way]
    pair_time[pair] = time
    pair_count[pair] += 1


@njit(cache=True)
def _update(h: Any, src: Ints, dst: Ints, time: Floats) -> None:
    for i in range(len(src)):
        update_one(h, src[i], dst[i], time[i])


class LinkHistory:
    """The remembered past of a stream of edges; node numbers and pairs are open.

    `update` takes edges in stream order, and gives the same arrays however the stream is cut into blocks. A time that
    falls back (a late edge) counts as no time elapsed.
    """

    _TABLES = ("node_table", "pair_table")
    _NODE = ("node_id", "node_time", "node_count", "node_decay", "node_event", "ring_node", "ring_time")
    _PAIR = ("pair_key", "pair_time", "pair_count", "pair_decay", "pair_rank")

    def __init__(self, scales: Sequence[float] = SCALES) -> None:
        if not scales or not all(np.isfinite(scale) and scale > 0 for scale in scales):
            raise ConfigError("scales cannot be used", wanted="seconds, each above 0", got=repr(tuple(scales)))
        self.scales = tuple(float(scale) for scale in scales)
        self.reset()

    def reset(self) -> None:
        """Forget every edge."""
        k, one = len(self.scales), 64
        self._node = [
            np.zeros((one, *shape), kind)
            for shape, kind in (
                ((), np.int64),
                ((3,), np.float64),
                ((8,), np.int64),
                ((2, k), np.float64),
                ((2,), np.int64),
                ((2, RING), np.int64),
                ((2, RING), np.float64),
            )
        ]
        self._pair = [
            np.zeros((one, *shape), kind)
            for shape, kind in (
                ((), np.int64),
                ((), np.float64),
                ((), np.int64),
                ((k,), np.float64),
                ((2,), np.int64),
            )
        ]
        self._size = np.zeros(3, np.int64)
        self._rebuild()

    def _rebuild(self) -> None:
        """Hash tables of twice the rows, from the keys; scratch for marking neighbours."""
        node, pair = np.zeros(2 * len(self._node[0]), np.int64), np.zeros(2 * len(self._pair[0]), np.int64)
        index(node, self._node[0], self._size[NODES])
        index(pair, self._pair[0], self._size[PAIRS])
        mark, stamp = np.zeros((len(self._node[0]), 2)), np.zeros((len(self._node[0]), 4), np.int64)
        self.arrays = (node, pair, *self._node, *self._pair, np.array(self.scales), self._size, mark, stamp)

    def reserve(self, edges: int) -> None:
        """Room for `edges` more, so that what runs compiled need not grow."""
        grown = False
        for rows, used, new in ((self._node, NODES, 2 * edges), (self._pair, PAIRS, edges)):
            capacity = len(rows[0])
            while capacity < self._size[used] + new:
                capacity *= 2
            if capacity > len(rows[0]):
                grown = True
                rows[:] = [np.concatenate([x, np.zeros((capacity - len(x), *x.shape[1:]), x.dtype)]) for x in rows]
        if grown:
            self._rebuild()

    def update(self, src: ArrayLike, dst: ArrayLike, time: ArrayLike) -> None:
        """Take in edges in stream order: node numbers and seconds, each of shape (n,)."""
        src, dst, time = edges(src, dst, time)
        self.reserve(len(src))
        _update(self.arrays, src, dst, time)

    @property
    def nodes(self) -> int:
        return int(self._size[NODES])

    @property
    def events(self) -> int:
        return int(self._size[EVENTS])

    def params(self) -> dict[str, Any]:
        return {"scales": list(self.scales)}

    def state(self) -> dict[str, Any]:
        """Named arrays, a row for each node and pair in the order they were first seen; and `size`."""
        nodes, pairs = int(self._size[NODES]), int(self._size[PAIRS])
        named = {name: rows[:nodes].copy() for name, rows in zip(self._NODE, self._node, strict=True)}
        named |= {name: rows[:pairs].copy() for name, rows in zip(self._PAIR, self._pair, strict=True)}
        return named | {"size": self._size.copy()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.reset()
        if set(state) != {*self._NODE, *self._PAIR, "size"} or np.shape(state["size"]) != (3,):
            raise IncompatibleError(
                "not a history of links", wanted=", ".join(self._NODE + self._PAIR), got=str(list(state))
            )
        nodes, pairs, events = (int(n) for n in state["size"])
        for names, rows, n in ((self._NODE, self._node, nodes), (self._PAIR, self._pair, pairs)):
            for name, array in zip(names, rows, strict=True):
                if np.shape(state[name]) != (n, *array.shape[1:]):
                    wanted = str((n, *array.shape[1:]))
                    raise IncompatibleError(
                        "not a history of links", where=name, wanted=wanted, got=str(np.shape(state[name]))
                    )
        self._size[:] = 0
        self.reserve(max(nodes, pairs))
        for names, rows, n in ((self._NODE, self._node, nodes), (self._PAIR, self._pair, pairs)):
            for name, array in zip(names, rows, strict=True):
                array[:n] = state[name]
        self._size[:] = nodes, pairs, events
        self._rebuild()


def edges(src: ArrayLike, dst: ArrayLike, time: ArrayLike) -> tuple[Ints, Ints, Floats]:
    """The three columns of a block of edges, checked."""
    a, b, t = np.asarray(src, np.int64), np.asarray(dst, np.int64), np.asarray(time, np.float64)
    if a.ndim != 1 or a.shape != b.shape or a.shape != t.shape or not np.isfinite(t).all():
        raise ConfigError(
            "edges cannot be read",
            wanted="three columns of one length: node numbers and finite seconds",
            got=f"shapes {a.shape}, {b.shape}, {t.shape}",
        )
    return np.ascontiguousarray(a), np.ascontiguousarray(b), np.ascontiguousarray(t)

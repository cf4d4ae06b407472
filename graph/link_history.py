"""What link prediction remembers of a stream of edges: per node, per pair, and the last few neighbours of each node.

Everything is a plain array that grows, so a job can keep it in a snapshot. An edge costs a few hash
look-ups and one step of the latent factors, some two microseconds.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from graph.link_factors import SIZE, begin, learn, learn_among
from graph.table import find, index
from tidemill.errors import ConfigError, IncompatibleError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RING = 32
"""Neighbours kept of each node and direction: the most recent ones."""

STEPS = 3
"""Of the factors by a first meeting, each way: meetings are few beside edges."""

HOUR, DAY = 3600.0, 86400.0
SCALES = (HOUR, DAY, 7 * DAY, 60 * DAY)
NODES, PAIRS, EVENTS = range(3)
"""Places in `size`."""

OUT, IN, PARTNERS_OUT, PARTNERS_IN, REPEATS_OUT, REPLIES_OUT, REPEATS_IN, REPLIES_IN = range(8)
"""Columns of `node_count`: edges, distinct partners, edges of a pair that had one before, and edges of a pair whose
reverse had one before; each as the source and as the destination."""

FIRST, LAST = 0, 1
"""Columns of `node_time`: when the node was first seen, then its last edge out (1) and in (2)."""


class Nodes(NamedTuple):
    """A row for each node."""

    node_id: Ints
    node_time: Floats
    node_count: Ints
    node_decay: Floats
    node_event: Ints
    ring_node: Ints
    ring_time: Floats
    met_time: Floats
    met_count: Ints
    met_decay: Floats
    source_factor: Floats
    target_factor: Floats
    target_bias: Floats
    met_source_factor: Floats
    met_target_factor: Floats
    met_target_bias: Floats


class Pairs(NamedTuple):
    """A row for each pair of source and destination."""

    pair_key: Ints
    pair_time: Floats
    pair_count: Ints
    pair_decay: Floats
    pair_rank: Ints


_SHARED = ("node_table", "pair_table", "scales", "size", "mark", "stamp", "fellow", "ends", "ended", "bipartite")
Past = cast(Any, namedtuple("Past", _SHARED + Nodes._fields + Pairs._fields))
"""What compiled code is given: hash tables, time scales, sizes, scratch, the rows of the nodes that were a source
(`ends[OUT]`) or a destination (`ends[IN]`) in the order in which they first were, how many those are (`ended`), whether
no node is both, and the columns of `Nodes` and `Pairs`."""


@njit(cache=True)
def elapsed(now: float, then: float) -> float:
    """Never negative: a late edge counts as one of this moment."""
    return max(now - then, 0.0)


@njit(cache=True)
def _node(h: Any, name: int, time: float) -> Any:
    row, at = find(h.node_table, h.node_id, name)
    if row < 0:
        row = h.size[NODES]
        h.size[NODES] += 1
        h.node_id[row] = name
        h.node_table[at] = row + 1
        h.node_time[row, FIRST] = time
        begin(h.source_factor, h.target_factor, row)
        begin(h.met_source_factor, h.met_target_factor, row)
    return row


@njit(cache=True)
def _end(h: Any, node: int, way: int) -> None:
    h.ends[way, h.ended[way]] = node
    h.ended[way] += 1


@njit(cache=True)
def _find_ends(h: Any) -> None:
    """From the pairs, which are in the order of coming: so they need not be kept."""
    for pair in range(h.size[PAIRS]):
        for way, node in ((OUT, h.pair_key[pair] >> 32), (IN, h.pair_key[pair] & 0xFFFFFFFF)):
            if h.stamp[node, way] == 0:
                h.stamp[node, way] = 1
                _end(h, node, way)
    h.stamp[: h.size[NODES]] = 0


@njit(cache=True)
def _learned(h: Any, u: Floats, v: Floats, w: Floats, a: int, b: int, way: int, event: int) -> None:
    """Factors of one edge between rows a → b; `b` stands where nodes are that came as `way`."""
    if h.bipartite:
        learn_among(u, v, w, a, b, h.ends[way, : h.ended[way]], event)
    else:
        learn(u, v, w, a, b, h.size[NODES], event)


@njit(cache=True)
def _met(h: Any, node: int, way: int, time: float) -> None:
    """The node's first edge with somebody, in either direction."""
    for k in range(len(h.scales)):
        fading = np.exp(-elapsed(time, h.met_time[node, way]) / h.scales[k])
        h.met_decay[node, way, k] = h.met_decay[node, way, k] * fading + 1.0
    h.met_time[node, way] = time
    h.met_count[node, way] += 1


@njit(cache=True)
def _acquaint(h: Any, a: int, b: int) -> None:
    """Factors of who meets whom, whichever way: some steps each way by a first meeting."""
    for step in range(STEPS):
        event = 2 * (STEPS * h.size[EVENTS] + step)
        _learned(h, h.met_source_factor, h.met_target_factor, h.met_target_bias, a, b, IN, event)
        _learned(h, h.met_source_factor, h.met_target_factor, h.met_target_bias, b, a, OUT, event + 1)


@njit(cache=True)
def update_one(h: Any, src: int, dst: int, time: float) -> None:
    """Take in one edge. `h` is `LinkHistory.arrays`."""
    node_time, node_count, node_decay, node_event = h.node_time, h.node_count, h.node_decay, h.node_event
    pair_time, pair_decay, scales, size = h.pair_time, h.pair_decay, h.scales, h.size
    a, b = _node(h, src, time), _node(h, dst, time)
    key = (a << 32) | b
    pair, at = find(h.pair_table, h.pair_key, key)
    reverse, _ = find(h.pair_table, h.pair_key, (b << 32) | a)
    if pair < 0:
        pair = size[PAIRS]
        size[PAIRS] += 1
        h.pair_key[pair] = key
        h.pair_table[at] = pair + 1
        for node, way in ((a, OUT), (b, IN)):
            if node_count[node, way] == 0:
                _end(h, node, way)
        node_count[a, PARTNERS_OUT] += 1
        node_count[b, PARTNERS_IN] += 1
        if reverse < 0:
            _met(h, a, OUT, time)
            _met(h, b, IN, time)
            _acquaint(h, a, b)
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
    _learned(h, h.source_factor, h.target_factor, h.target_bias, a, b, IN, size[EVENTS])
    size[EVENTS] += 1
    for node, other, way in ((a, b, OUT), (b, a, IN)):
        place = node_count[node, way] % RING
        h.ring_node[node, way, place] = other
        h.ring_time[node, way, place] = time
        node_count[node, way] += 1
        node_time[node, LAST + way] = time
        node_event[node, way] = size[EVENTS]
        h.pair_rank[pair, way] = node_count[node, way]
    pair_time[pair] = time
    h.pair_count[pair] += 1


@njit(cache=True)
def _update(h: Any, src: Ints, dst: Ints, time: Floats) -> None:
    for i in range(len(src)):
        update_one(h, src[i], dst[i], time[i])


class LinkHistory:
    """The remembered past of a stream of edges; node numbers and pairs are open.

    `update` takes edges in stream order, and gives the same arrays however the stream is cut into blocks. A time that
    falls back (a late edge) counts as no time elapsed. `bipartite`: no node is both a source and a destination, so what
    an edge is held against has to be of the destination's side.
    """

    def __init__(self, scales: Sequence[float] = SCALES, *, bipartite: bool = False) -> None:
        if not scales or not all(np.isfinite(scale) and scale > 0 for scale in scales):
            raise ConfigError("scales cannot be used", wanted="seconds, each above 0", got=repr(tuple(scales)))
        self.scales, self.bipartite = tuple(float(scale) for scale in scales), bipartite
        self.reset()

    def reset(self) -> None:
        """Forget every edge."""
        k = len(self.scales)
        self._node = Nodes(
            node_id=_rows(np.int64),
            node_time=_rows(np.float64, 3),
            node_count=_rows(np.int64, 8),
            node_decay=_rows(np.float64, 2, k),
            node_event=_rows(np.int64, 2),
            ring_node=_rows(np.int64, 2, RING),
            ring_time=_rows(np.float64, 2, RING),
            met_time=_rows(np.float64, 2),
            met_count=_rows(np.int64, 2),
            met_decay=_rows(np.float64, 2, k),
            source_factor=_rows(np.float64, SIZE),
            target_factor=_rows(np.float64, SIZE),
            target_bias=_rows(np.float64),
            met_source_factor=_rows(np.float64, SIZE),
            met_target_factor=_rows(np.float64, SIZE),
            met_target_bias=_rows(np.float64),
        )
        self._pair = Pairs(
            pair_key=_rows(np.int64),
            pair_time=_rows(np.float64),
            pair_count=_rows(np.int64),
            pair_decay=_rows(np.float64, k),
            pair_rank=_rows(np.int64, 2),
        )
        self._size = np.zeros(3, np.int64)
        self._rebuild()

    def _rebuild(self) -> None:
        """Hash tables of twice the rows, from the keys; scratch for marking neighbours; who came as which end."""
        nodes, pairs = len(self._node.node_id), len(self._pair.pair_key)
        node, pair = np.zeros(2 * nodes, np.int64), np.zeros(2 * pairs, np.int64)
        index(node, self._node.node_id, self._size[NODES])
        index(pair, self._pair.pair_key, self._size[PAIRS])
        mark, stamp, fellow = np.zeros((nodes, 2)), np.zeros((nodes, 5), np.int64), np.zeros((nodes, 3))
        ends = np.zeros((2, nodes), np.int64), np.zeros(2, np.int64), self.bipartite
        shared = node, pair, np.array(self.scales), self._size, mark, stamp, fellow, *ends
        self.arrays = Past(*shared, *self._node, *self._pair)
        _find_ends(self.arrays)

    def reserve(self, edges: int) -> None:
        """Room for `edges` more, so that what runs compiled need not grow."""
        nodes, pairs = _room(self._node, self._size[NODES] + 2 * edges), _room(self._pair, self._size[PAIRS] + edges)
        if nodes is not self._node or pairs is not self._pair:
            self._node, self._pair = nodes, pairs
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
        return {"scales": list(self.scales), "bipartite": self.bipartite}

    def state(self) -> dict[str, Any]:
        """Named arrays, a row for each node and pair in the order they were first seen; and `size`."""
        nodes, pairs = int(self._size[NODES]), int(self._size[PAIRS])
        named = {name: rows[:nodes].copy() for name, rows in self._node._asdict().items()}
        named |= {name: rows[:pairs].copy() for name, rows in self._pair._asdict().items()}
        return named | {"size": self._size.copy()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.reset()
        names = Nodes._fields + Pairs._fields
        if set(state) != {*names, "size"} or np.shape(state["size"]) != (3,):
            raise IncompatibleError("not a history of links", wanted=", ".join(names), got=str(list(state)))
        nodes, pairs, events = (int(n) for n in state["size"])
        for rows, n in ((self._node, nodes), (self._pair, pairs)):
            for name, array in rows._asdict().items():
                if np.shape(state[name]) != (n, *array.shape[1:]):
                    wanted = str((n, *array.shape[1:]))
                    raise IncompatibleError(
                        "not a history of links", where=name, wanted=wanted, got=str(np.shape(state[name]))
                    )
        self._size[:] = 0
        self.reserve(max(nodes, pairs))
        for rows, n in ((self._node, nodes), (self._pair, pairs)):
            for name, array in rows._asdict().items():
                array[:n] = state[name]
        self._size[:] = nodes, pairs, events
        self._rebuild()


_FEW = 64


def _rows(kind: type, *shape: int) -> NDArray[Any]:
    return np.zeros((_FEW, *shape), kind)


def _room(rows: Any, wanted: int) -> Any:
    """These rows with room for so many, doubled until it is enough."""
    there = capacity = len(rows[0])
    while capacity < wanted:
        capacity *= 2
    if capacity == there:
        return rows
    return rows._make(np.concatenate([x, np.zeros((capacity - there, *x.shape[1:]), x.dtype)]) for x in rows)


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

"""What experts said about the edges of one relation, versioned by time, and how their queries see it.

A verdict is kept as an entry of both its nodes, as an edge is. So only a node that has some is looked at closely: all
others go through `selection.select`, which knows nothing of verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graph.adjacency import (
    EDGE_BITS,
    LENGTH,
    MAX_EDGES,
    RETRACTED,
    START,
    TIME,
    WORD,
    Adjacency,
    Int,
    edge_of,
    first_not_before,
)
from graph.columns import Column
from graph.draws import draw_distinct, mix
from graph.selection import RECENT, UNIFORM

ASSERT, WEIGHT, FORBID, REVOKE = range(4)
VERDICTS = {"assert": ASSERT, "weight": WEIGHT, "forbid": FORBID, "revoke": REVOKE}

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_COLUMNS = {"source": np.int32, "target": np.int32, "time": np.int64, "kind": np.int8, "weight": np.float64}
_COLUMNS["edge"] = np.int64


@njit(cache=True, nogil=True)
def _spoken(heads: Int, pool: Int, node: int, before: int) -> tuple[int, int]:
    """The places of the verdicts on `node` that are earlier than `before`."""
    low = heads[node, START]
    return low, first_not_before(pool, low, low + heads[node, LENGTH], before)


@njit(cache=True, nogil=True)
def _folded(heads: Int, pool: Int, kind: Int, weight: Floats, node: int, before: int) -> tuple[Int, Flags, Floats]:
    """The neighbours on which there are verdicts as of `before`, rising; whether each is forbidden, and its weight."""
    low, high = _spoken(heads, pool, node, before)
    every = np.empty(high - low, np.int64)
    for i in range(high - low):
        every[i] = pool[low + i, WORD] >> (EDGE_BITS + 2)
    others = np.unique(every)
    hidden, factors = np.zeros(len(others), np.bool_), np.ones(len(others))
    for i in range(high - low):
        at = np.searchsorted(others, every[i])
        verdict = edge_of(pool[low + i, WORD])
        if kind[verdict] == WEIGHT:
            factors[at] = weight[verdict]
        else:
            hidden[at] = kind[verdict] == FORBID
            if kind[verdict] == REVOKE:
                factors[at] = 1.0
    return others, hidden, factors


@njit(cache=True, nogil=True)
def _asserted(heads: Int, pool: Int, kind: Int, edge: Int, node: int) -> Int:
    """The numbers of the edges of `node` that experts asserted, at whatever time, rising."""
    low, out, count = heads[node, START], np.empty(heads[node, LENGTH], np.int64), 0
    for place in range(low, low + heads[node, LENGTH]):
        verdict = edge_of(pool[place, WORD])
        if kind[verdict] == ASSERT:
            out[count] = edge[verdict]
            count += 1
    out = out[:count]
    out.sort()
    return out


@njit(cache=True, nogil=True)
def _row(rising: Int, value: int) -> int:
    at = int(np.searchsorted(rising, value))
    return at if at < len(rising) and rising[at] == value else -1


@njit(cache=True, nogil=True)
def _choose(
    pool: Int,
    shown: Int,
    factors: Floats,
    node: int,
    before: int,
    k: int,
    strategy: int,
    seed: int,
    fading: Any,
    base: int,
    places: Int,
) -> int:
    """Up to `k` of the places `shown` (rising), the newest first, drawn as `selection.choose` draws; how many."""
    tau, _, weights = fading
    there = len(shown)
    count = min(k, there)
    if strategy == RECENT:
        for i in range(count):
            places[i] = shown[there - 1 - i]
        return count
    key = mix(np.uint64(seed) ^ mix(np.uint64(node) ^ mix(np.uint64(before))))
    if strategy == UNIFORM:
        draw_distinct(key, there, places[:count])
    else:
        scores, able = np.full(there, -np.inf), 0
        for i in range(there):
            if factors[i] > 0.0:
                edge = edge_of(pool[shown[i], WORD])
                bits = mix(key ^ mix(np.uint64(base + edge))) >> np.uint64(11)
                weight = -(float(before) - float(pool[shown[i], TIME])) / tau
                if len(weights) > 0:
                    weight += log(weights[edge])
                scores[i] = weight - log(-log((float(bits) + 0.5) * (1.0 / (1 << 53)))) + log(factors[i])
                able += 1
        count = min(count, able)
        places[:count] = np.argsort(-scores)[:count]
        places[:count].sort()
    for i in range(count):
        places[i] = shown[places[i]]
    for i in range(count // 2):
        places[i], places[count - 1 - i] = places[count - 1 - i], places[i]
    return count


@njit(cache=True, nogil=True)
def _show(
    heads: Int,
    pool: Int,
    until: Int,
    base: int,
    told: Any,
    node: int,
    before: int,
    ttl: int,
    heed: bool,
    most: int,
) -> tuple[Int, Floats]:
    """The places of the edges of `node` that are seen as of `before`, rising, and the weight of each; the newest
    `most`. Where verdicts are not heeded, as if there had been none."""
    vheads, vpool, kind, weight, edge = told
    low = heads[node, START]
    high = first_not_before(pool, low, low + heads[node, LENGTH], before)
    if ttl > 0:
        low = first_not_before(pool, low, high, before - ttl)
    others, hidden, weights = _folded(vheads, vpool, kind, weight, node, before)
    made = _asserted(vheads, vpool, kind, edge, node)
    most = min(most, high - low)
    out, factors, at, place = np.empty(most, np.int64), np.ones(most), most, high - 1
    while place >= low and at > 0:
        word = pool[place, WORD]
        seen = not (word & RETRACTED and until[edge_of(word)] < before)
        row = -1
        if heed:
            row = _row(others, word >> (EDGE_BITS + 2))
            seen = seen and not (row >= 0 and hidden[row])
        else:
            seen = seen and _row(made, base + edge_of(word)) < 0
        if seen:
            at -= 1
            out[at] = place
            if row >= 0:
                factors[at] = weights[row]
        place -= 1
    return out[at:], factors[at:]


@njit(cache=True, nogil=True)
def select_judged(
    heads: Int,
    pool: Int,
    until: Int,
    size: int,
    base: int,
    told: Any,
    nodes: Int,
    before: Int,
    k: int,
    ttl: int,
    strategy: int,
    seed: int,
    fading: Any,
    heed: bool,
) -> tuple[Int, Int, Int, Int]:
    """What `selection.select` finds, of nodes on which there are verdicts; others find nothing here."""
    out = np.empty((4, len(nodes) * k), np.int64)
    places, at = np.empty(k, np.int64), 0
    for i in range(len(nodes)):
        if 0 <= nodes[i] < size and told[0][nodes[i], LENGTH] > 0:
            limit = before[i if len(before) > 1 else 0]
            most = k if strategy == RECENT else heads[nodes[i], LENGTH]
            shown, factors = _show(heads, pool, until, base, told, nodes[i], limit, ttl, heed, most)
            count = _choose(pool, shown, factors, nodes[i], limit, k, strategy, seed, fading, base, places)
            for j in range(count):
                word = pool[places[j], WORD]
                out[0, at], out[1, at], out[2, at] = i, word >> (EDGE_BITS + 2), pool[places[j], TIME]
                out[3, at] = base + edge_of(word)
                at += 1
    return out[0, :at], out[1, :at], out[2, :at], out[3, :at]


@njit(cache=True, nogil=True)
def count_judged(
    heads: Int, pool: Int, until: Int, size: int, base: int, told: Any, before: int, ttl: int, out: Int
) -> None:
    """Put right in `out` how many edges are seen of the nodes on which there are verdicts."""
    for node in range(size):
        if told[0][node, LENGTH] > 0:
            length = heads[node, LENGTH]
            out[node] = len(_show(heads, pool, until, base, told, node, before, ttl, True, length)[0])


@njit(cache=True, nogil=True)
def _of_pairs(told: Any, size: int, source: Int, target: Int, before: Int) -> tuple[Flags, Floats]:
    hidden, factors = np.zeros(len(source), np.bool_), np.ones(len(source))
    for i in range(len(source)):
        if not 0 <= source[i] < size or told[0][source[i], LENGTH] == 0:
            continue
        moment = before[i if len(before) > 1 else 0]
        others, forbidden, weights = _folded(told[0], told[1], told[2], told[3], source[i], moment)
        row = _row(others, target[i])
        if row >= 0:
            hidden[i], factors[i] = forbidden[row], weights[row]
    return hidden, factors


def merged(found: Any, judged: Any) -> tuple[Int, Int, Int, Int]:
    """What was found of nodes without and with verdicts, in the order of the rows asked for."""
    order = np.argsort(np.concatenate((found[0], judged[0])), kind="stable")
    a, b, c, d = (np.concatenate(both)[order] for both in zip(found, judged, strict=True))
    return a, b, c, d


class Verdicts:
    """The verdicts on one relation in the order of coming; `edge` is the number of the edge that one asserted, or −1.

    What they mean is said at `judged.Judged`: of a pair, the newest of assert, forbid and revoke says whether edges are
    hidden, the newest of weight and revoke what they weigh.
    """

    def __init__(self, directed: bool, column: Callable[[str, Any, int], Column]) -> None:
        self._column, self._directed = column, directed
        self.columns = {name: column(name, kind, 0) for name, kind in _COLUMNS.items()}
        self.count = 0
        self.out = self._plane("out")
        self.into = self._plane("into") if directed else self.out

    def _plane(self, name: str) -> Adjacency:
        return Adjacency(lambda part, dtype, width: self._column(f"{name}.{part}", dtype, width))

    def grow_nodes(self, sources: int, targets: int) -> None:
        self.out.nodes(sources)
        self.into.nodes(targets)

    def put(self, source: int, target: int, at: int, kind: int, weight: float, edge: int) -> None:
        """Keep one verdict on nodes that are there."""
        self._put({"source": [source], "target": [target], "time": [at], "kind": [kind], "weight": [weight]}, [edge])

    def _put(self, rows: Mapping[str, Any], edge: Any) -> None:
        first, new = self.count, len(edge)
        for name, column in self.columns.items():
            column.room(first + new)
            column.array[first : first + new] = edge if name == "edge" else rows[name]
        source, target, time = (np.asarray(rows[name], np.int64) for name in ("source", "target", "time"))
        self.out.insert(source, target, time, first, both=not self._directed)
        if self._directed:
            self.into.insert(target, source, time, first)
        self.count += new

    def on(self, source: int, target: int) -> dict[str, NDArray[Any]]:
        """The verdicts on a pair: `time`, `kind` and `edge` of each, in the order of (time, coming)."""
        low = self.out.heads.array[source, START]
        words = self.out.pool.array[low : low + self.out.heads.array[source, LENGTH], WORD]
        rows = (words[words >> (EDGE_BITS + 2) == target] >> 2) & (MAX_EDGES - 1)
        return {name: self.columns[name].array[rows] for name in ("time", "kind", "edge")}

    def among(self, edges: Int, source: int) -> Flags:
        """Which of these edges of node `source` (numbers) were asserted."""
        if self.out.heads.array[source, LENGTH] == 0:
            return np.zeros(len(edges), np.bool_)
        told = self.told(self.out)
        return np.isin(edges, _asserted(told[0], told[1], told[2], told[4], source))

    def told(self, plane: Adjacency) -> tuple[NDArray[Any], ...]:
        named = (self.columns[name].array for name in ("kind", "weight", "edge"))
        return (plane.heads.array, plane.pool.array, *named)

    def plane(self, forward: bool) -> Adjacency:
        return self.out if forward else self.into

    def judged(self, nodes: Int, forward: bool, size: int) -> Flags:
        """On which of these nodes there are verdicts."""
        heads = self.plane(forward).heads.array
        there = (nodes >= 0) & (nodes < size)
        judged: Flags = there & (heads[np.where(there, nodes, 0), LENGTH] > 0)
        return judged

    def of_pairs(self, source: Int, target: Int, before: Int) -> tuple[Flags, Floats]:
        """Whether the edges of each pair are forbidden as of `before` (one, or one each), and their weight."""
        hidden, factors = _of_pairs(self.told(self.out), self.out.size, source, target, before)
        return hidden, factors

    def save(self) -> dict[str, Any]:
        """All verdicts in the order of coming."""
        return {name: column.array[: self.count].copy() for name, column in self.columns.items()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over, with the nodes there, what `save` gave."""
        self._put(saved, saved["edge"])

    def parts(self) -> dict[str, NDArray[Any]]:
        """Everything as it lies in memory; nothing where nothing was said."""
        if not self.count:
            return {}
        out = {name: column.array[: self.count] for name, column in self.columns.items()}
        for name, plane in self._planes():
            out |= {f"{name}.{part}": array for part, array in plane.parts().items()}
        return out

    def take(self, parts: Mapping[str, NDArray[Any]]) -> None:
        """Take up what `parts` gave; nothing is copied before it is changed."""
        if not parts:
            return
        self.count = len(parts["time"])
        for name, column in self.columns.items():
            column.take(parts[name])
        for name, plane in self._planes():
            plane.take({part: parts[f"{name}.{part}"] for part in plane.parts()})

    def _planes(self) -> list[tuple[str, Adjacency]]:
        return [("out", self.out), *([("into", self.into)] if self.into is not self.out else [])]

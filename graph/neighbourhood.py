"""What an event's seed nodes have around them, as of its time, as arrays that a network takes: the same for training
and for a request.

A *view* is one relation in one direction from one seed: the `k` newest edges of that seed. An edge becomes a row of
numbers: the relation's features as sign(f)·ln(1 + |f|), its age a in seconds as ln(1 + a) / 10 and exp(−a / scale) for
each of the scales, and, for every other seed of the type of its far end, 1 where that is this very node. With two hops,
for each relation and direction from the far end: the mean of such rows over its `k` newest edges as of the same time,
and how many of `k` there were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.selection import DIRECTIONS, Direction, Found
from graph.store import TemporalGraph
from tidemill.errors import ConfigError

F32 = NDArray[np.float32]
SCALES = (3_600.0, 86_400.0, 604_800.0)
"""Seconds: an hour, a day, a week."""


class View(NamedTuple):
    """`features` numbers of an edge, `same` the other seeds that its far end may be; `second` what is seen from
    there."""

    seed: int
    relation: str
    direction: Direction
    features: int
    same: tuple[int, ...]
    second: tuple[View, ...]


class Around(NamedTuple):
    """Of n rows: `edges` (n, views, k, width), the newest first, `counts` (n, views), and `nodes` (n, numbers): of each
    seed in turn whether it is known, and its features. `found` is what was seen of each view."""

    edges: F32
    counts: Int
    nodes: F32
    found: list[Found]


@njit(cache=True, nogil=True)
def _fill(
    found: Any, features: F32, before: Int, seeds: Int, same: Int, scales: Any, edges: F32, counts: Int, width: int
) -> None:
    """Found edges into `edges` (n, k, ≥ width), one after another for each row; how many into `counts` (n)."""
    rows, nodes, times = found[0], found[1], found[2]
    wide = features.shape[1]
    for i in range(len(rows)):
        row = rows[i]
        out = edges[row, counts[row]]
        counts[row] += 1
        for j in range(wide):
            f = features[i, j]
            out[j] = np.log1p(f) if f >= 0.0 else -np.log1p(-f)
        age = (before[row] - times[i]) / 1e6
        out[wide] = np.log1p(age) / 10.0
        for j in range(len(scales)):
            out[wide + 1 + j] = np.exp(-age / scales[j])
        for j in range(len(same)):
            out[wide + 1 + len(scales) + j] = 1.0 if seeds[row, same[j]] == nodes[i] else 0.0


@njit(cache=True, nogil=True)
def _pool(rows: Int, places: Int, edges: F32, counts: Int, width: int, into: F32, at: int) -> None:
    """The means of `edges` (m, k, width) and the shares of `k` into the columns `at`… of edge i, which is the
    `places[i]`th of row `rows[i]` of `into`."""
    k = edges.shape[1]
    for i in range(len(rows)):
        out = into[rows[i], places[i]]
        for e in range(counts[i]):
            for j in range(width):
                out[at + j] += edges[i, e, j]
        for j in range(width):
            out[at + j] /= max(counts[i], 1)
        out[at + width] = np.float32(counts[i]) / np.float32(k)


class Neighbourhood:
    """The views of `seeds`, pairs of a name and a node type, in a graph of `types` (`TemporalGraph.params`).

    `along` names the views, as (name of a seed, relation, direction); None for all there are. `k` edges of each, `hops`
    1 or 2. Raises `ConfigError` where these do not fit.
    """

    def __init__(
        self,
        types: Mapping[str, Any],
        seeds: Sequence[Sequence[str]],
        *,
        along: Sequence[Sequence[str]] | None = None,
        k: int = 10,
        hops: int = 1,
        scales: Sequence[float] = SCALES,
    ) -> None:
        self.types, self.seeds = types, [(name, node_type) for name, node_type in seeds]
        self.k, self.hops, self.scales = k, hops, tuple(float(s) for s in scales)
        if not 1 <= k <= 1000 or hops not in (1, 2) or not all(s > 0 for s in self.scales) or not self.seeds:
            got = f"k={k}, hops={hops}, scales={scales}, {len(self.seeds)} seeds"
            raise ConfigError("no neighbourhood", wanted="k 1 to 1000, hops 1 or 2, scales above 0, a seed", got=got)
        self._nodes = {n["name"]: len(n["features"]) for n in types["nodes"]}
        self._relations = {r["name"]: r for r in types["relations"]}
        for name, node_type in self.seeds:
            if node_type not in self._nodes:
                wanted = f"one of {', '.join(self._nodes)}"
                raise ConfigError("no such node type", where=f"seed {name}", wanted=wanted, got=repr(node_type))
        names = [name for name, _ in self.seeds]
        every = [(s, r, d) for s, (_, node_type) in enumerate(self.seeds) for r, d in self._from(node_type)]
        if along is not None:
            asked: list[Any] = [(names.index(s) if s in names else -1, r, d) for s, r, d in along]
            for one, given in zip(asked, along, strict=True):
                if one not in every:
                    wanted = ", ".join(f"{names[s]} {r} {d}" for s, r, d in every)
                    raise ConfigError("no such view", wanted=f"one of {wanted}", got=" ".join(given))
            every = asked
        self.views = [self._view(*one, hops) for one in every]
        self.widths = np.array([self._width(view) for view in self.views], np.int64)
        self.names = [
            part
            for name, node_type in self.seeds
            for part in (f"{name} known", *(f"{name} {f}" for f in self._features(node_type)))
        ]

    def params(self) -> dict[str, Any]:
        """The plain values that make it."""
        along = [[self.seeds[v.seed][0], v.relation, v.direction] for v in self.views]
        return {
            "types": self.types,
            "seeds": [list(s) for s in self.seeds],
            "along": along,
            "k": self.k,
            "hops": self.hops,
            "scales": list(self.scales),
        }

    def around(self, graph: TemporalGraph, seeds: Int, before: Int) -> Around:
        """What is around `seeds` (n, seeds), numbers and −1 for none, as of `before` (n)."""
        n, widest = len(before), int(self.widths.max(initial=1))
        edges = np.zeros((n, len(self.views), self.k, widest), np.float32)
        counts = np.zeros((n, len(self.views)), np.int64)
        found = []
        for v, view in enumerate(self.views):
            into, many = edges[:, v], counts[:, v]
            seen = self._seen(graph, view, np.ascontiguousarray(seeds[:, view.seed]), before, seeds, into, many)
            found.append(seen)
            at = self._own(view)
            starts = np.cumsum(many) - many
            places = np.arange(len(seen.rows)) - np.repeat(starts, many)
            for other in view.second:
                wide = self._own(other)
                second = np.zeros((len(seen.rows), self.k, wide), np.float32)
                several = np.zeros(len(seen.rows), np.int64)
                self._seen(graph, other, seen.nodes, before[seen.rows], seeds[seen.rows], second, several)
                _pool(seen.rows, places, second, several, wide, into, at)
                at += wide + 1
        return Around(edges, counts, self._nodes_of(graph, seeds, before), found)

    def _seen(
        self, graph: TemporalGraph, view: View, nodes: Int, before: Int, seeds: Int, into: F32, counts: Int
    ) -> Found:
        found = graph.found(view.relation, nodes, before, self.k, direction=view.direction)
        features = graph.edges(view.relation, found.edges)[3]
        same, scales = np.array(view.same, np.int64), np.array(self.scales)
        _fill(tuple(found[:3]), features, before, seeds, same, scales, into, counts, self._own(view))
        return found

    def _nodes_of(self, graph: TemporalGraph, seeds: Int, before: Int) -> F32:
        parts: list[NDArray[Any]] = []
        for s, (_, node_type) in enumerate(self.seeds):
            numbers = np.ascontiguousarray(seeds[:, s])
            if self._nodes[node_type]:
                rows = graph.features(node_type, numbers, before)
                known = ~np.isnan(rows[:, :1])
                parts += [known.astype(np.float32), np.where(known, rows, np.float32(0.0))]
            else:
                parts.append((numbers >= 0).astype(np.float32)[:, None])
        return np.concatenate(parts, axis=1)

    def _from(self, node_type: str) -> list[tuple[str, Direction]]:
        """Relations and directions along which a node of the type has neighbours."""
        found: list[tuple[str, Direction]] = []
        for name, r in self._relations.items():
            for direction in DIRECTIONS[: 1 + r["directed"]]:
                if r["source" if direction == "out" else "target"] == node_type:
                    found.append((name, direction))
        return found

    def _view(self, seed: int, relation: str, direction: Direction, hops: int) -> View:
        r = self._relations[relation]
        far = r["target" if direction == "out" else "source"]
        same = tuple(s for s, (_, node_type) in enumerate(self.seeds) if s != seed and node_type == far)
        second = tuple(self._view(seed, *one, hops - 1) for one in self._from(far)) if hops > 1 else ()
        return View(seed, relation, direction, len(r["features"]), same, second)

    def _own(self, view: View) -> int:
        return view.features + 1 + len(self.scales) + len(view.same)

    def _width(self, view: View) -> int:
        return self._own(view) + sum(self._own(other) + 1 for other in view.second)

    def _features(self, node_type: str) -> list[str]:
        return next(list(n["features"]) for n in self.types["nodes"] if n["name"] == node_type)


def types_of(graph: TemporalGraph) -> dict[str, Any]:
    """What a neighbourhood must know of a graph, as plain values."""
    made = graph.params()
    return {"nodes": made["nodes"], "relations": made["relations"]}

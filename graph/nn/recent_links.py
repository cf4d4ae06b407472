"""What a network of links is told of the past: the k most recent links of a node, strictly before a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graph.draws import mix
from graph.link_history import Floats, Ints
from graph.relation import Relation
from graph.store import TemporalGraph

SECOND = 1_000_000
"""In microseconds, the graph's unit."""

LINK = "link"
Told = dict[str, NDArray[Any]]
"""What `RecentLinks.around` gives, by name, and what a model adds for each of `rows`."""


Said = NDArray[np.float32] | None
"""Features of links (n, edge); None where they have none."""


class RecentLinks:
    """A `TemporalGraph` of one type of node and one relation, walked along both ways, its times in seconds; a link has
    `edge` features."""

    def __init__(self, k: int, edge: int = 0) -> None:
        self.k, self.edge = k, edge
        self.reset()

    def reset(self) -> None:
        """Forget every link."""
        features = tuple(f"f{i}" for i in range(self.edge))
        self.graph = TemporalGraph(["node"], [Relation(LINK, "node", "node", features=features, directed=False)])

    @property
    def nodes(self) -> int:
        return len(self.graph.nodes["node"])

    def numbers(self, ids: Ints) -> Ints:
        """Numbers of any shape of ids, in the order of first coming; −1 for what was never seen."""
        return self.graph.numbers("node", ids.ravel()).reshape(ids.shape)

    def add(self, src: Ints, dst: Ints, time: Floats, said: Said = None) -> tuple[Ints, Ints]:
        """Take in a block of links, with the features `said` (n, edge); the numbers of their ends."""
        self.graph.add(LINK, src, dst, micros(time), said)
        return self.numbers(src), self.numbers(dst)

    def around(self, nodes: Ints, time: Floats) -> Told:
        """Of `nodes` (n, c), numbers, at `time` (n,): what came strictly before it, and had come.

        `rows` (u): the numbers that occur, −1 first; `nodes` (n, c) and `near` (n, c, k), the newest first: places in
        `rows`; `ago` (n, c, k): seconds since each link; `out` (n, c, k): 1 where the node was its source; where links
        have features, `said` (n, c, k, edge). Where a node has fewer than k, `near` is place 0.
        """
        shape, before = (*nodes.shape, self.k), np.repeat(micros(time), nodes.shape[1])
        found = self.graph.found(LINK, nodes.ravel(), before, self.k)
        counts = np.bincount(found.rows, minlength=nodes.size)
        places = found.rows * self.k + np.arange(len(found.rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        near, ago, out = np.full(nodes.size * self.k, -1), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        near[places] = found.nodes
        ago.ravel()[places] = (before[found.rows] - found.times) / SECOND
        sources, _, _, features = self.graph.edges(LINK, found.edges)
        out.ravel()[places] = sources == nodes.ravel()[found.rows]
        rows, at = np.unique(np.concatenate([[-1], nodes.ravel(), near]), return_inverse=True)
        asked, neighbours = at[1 : 1 + nodes.size].reshape(nodes.shape), at[1 + nodes.size :].reshape(shape)
        told = {"rows": rows, "nodes": asked, "near": neighbours, "ago": ago, "out": out}
        if self.edge:
            said = np.zeros((nodes.size * self.k, self.edge), np.float32)
            said[places] = features
            told["said"] = said.reshape(*shape, self.edge)
        return told

    def state(self) -> Told:
        """The links in the order of coming: ids `source` and `target`, `time` in µs, and `said` where they have it."""
        source, target, time, said = self.graph.edges(LINK, np.arange(self.graph.count(LINK)))
        ids = np.array(self.graph.ids("node"), np.int64)
        links = {"source": ids[source], "target": ids[target], "time": time}
        return {**links, "said": said} if self.edge else links

    def load_state(self, state: Told) -> None:
        self.reset()
        self.graph.add(LINK, state["source"], state["target"], state["time"], state.get("said"))


def micros(time: Floats) -> Ints:
    return np.rint(time * SECOND).astype(np.int64)


def join(parts: list[Told]) -> Told:
    """What was told of several groups of events as of one; a row of one group is never that of another."""
    sizes = [len(part["rows"]) for part in parts]
    firsts = np.cumsum([0, *sizes[:-1]])

    def whole(name: str) -> NDArray[Any]:
        shifted = name in ("nodes", "near")
        return np.concatenate([p[name] + at if shifted else p[name] for p, at in zip(parts, firsts, strict=True)])

    return {name: whole(name) for name in parts[0]}


@njit(cache=True)
def _signs(numbers: Ints, out: NDArray[np.float32], seed: np.uint64) -> None:
    for i in range(len(numbers)):
        if numbers[i] < 0:
            continue
        key = mix(seed ^ mix(np.uint64(numbers[i])))
        for j in range(out.shape[1]):
            if j % 64 == 0:
                bits = mix(key + np.uint64(j))
            out[i, j] = 1.0 if (bits >> np.uint64(j % 64)) & np.uint64(1) else -1.0


def signs(numbers: Ints, width: int, seed: int) -> NDArray[np.float32]:
    """(n, width): the features of nodes that have none, each ±1 by chance, a function of the node's number and `seed`;
    zeros for −1. Those of two nodes are nearly orthogonal, so a sum of some tells which nodes are in it."""
    out = np.zeros((len(numbers), width), np.float32)
    _signs(numbers, out, np.uint64(seed))
    return out


@njit(cache=True)
def _draw(dst: Ints, nodes: int, strangers: float, seed: np.uint64, event: int, out: Ints) -> None:
    for i in range(len(dst)):
        key = mix(seed ^ mix(np.uint64(event + i)))
        for j in range(out.shape[1]):
            bits = mix(key + np.uint64(j)) >> np.uint64(1)
            out[i, j] = -1
            if nodes > 0 and np.int64(bits & np.uint64(0xFFFFF)) >= strangers * 0x100000:
                out[i, j] = np.int64(bits >> np.uint64(20)) % nodes
            if out[i, j] == dst[i]:
                out[i, j] = -1


def negatives(dst: Ints, nodes: int, count: int, *, strangers: float, seed: int, event: int) -> Ints:
    """(n, count) numbers for the events `event`, `event` + 1, …: of the `nodes` seen, or with the chance `strangers`
    −1, one never seen; the true one becomes −1 too. A function of seed, event and place."""
    out = np.empty((len(dst), count), np.int64)
    _draw(dst, nodes, strangers, np.uint64(seed), event, out)
    return out

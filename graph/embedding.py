"""Embeddings of nodes that follow a stream of edges: an edge touches its ends and their recent neighbours only.

A node's profile is the sum of fixed random vectors of its neighbours, fading with time; its embedding is the profile
beside the mean of its recent neighbours' profiles. Two nodes are near where their neighbours are the same ones, or have
the same neighbours. Random projections keep the cosine of the whole (weighted) neighbourhoods to about 1/√d.

Source: Chen et al., *Fast and accurate network embeddings via very sparse random projection* (FastRP), CIKM 2019; the
fading and the order of touching are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from graph.draws import mix
from graph.link_history import DAY, Floats, Ints, edges
from tidemill.errors import ConfigError, IncompatibleError

Matrix = NDArray[np.float32]

RING = 16
"""Neighbours whose profiles enter an embedding: the most recent ones."""

OUT, IN = 0, 1


@njit(cache=True)
def _add(profile: Any, node: int, way: int, seed: int, weight: float) -> None:
    """Add the node's random vector times `weight`: ±√3 in a third of the places, 0 in the others."""
    key = mix(np.uint64(seed) ^ mix(np.uint64(2 * node + way)))
    for i in range(len(profile)):
        sixth = mix(key + np.uint64(i)) % np.uint64(6)
        if sixth == 0:
            profile[i] += weight * 1.7320508
        elif sixth == 1:
            profile[i] -= weight * 1.7320508


@njit(cache=True)
def _unit(x: Any) -> None:
    length = np.sqrt((x * x).sum())
    if length > 0.0:
        x /= length


@njit(cache=True)
def _touch(s: Any, node: int, share: float) -> None:
    profile, out, ring, count = s[0], s[1], s[2], s[3]
    around, one = np.zeros(profile.shape[1], np.float32), np.zeros(profile.shape[1], np.float32)
    for i in range(min(count[node], RING)):
        one[:] = profile[ring[node, i]]
        _unit(one)
        around += one
    _unit(around)
    out[node] = profile[node]
    _unit(out[node])
    out[node] = (1.0 - share) * out[node] + share * around
    _unit(out[node])


@njit(cache=True)
def _learn(
    s: Any, src: Ints, dst: Ints, time: Floats, seed: int, share: float, fading: float, changes: int, ways: int
) -> int:
    profile, _, ring, count, last, changed = s
    for i in range(len(src)):
        a, b = src[i], dst[i]
        for node, other, way in ((a, b, OUT), (b, a, IN)):
            past = max(time[i] - last[node], 0.0) if count[node] else 0.0
            profile[node] *= np.float32(np.exp(-past / fading))
            _add(profile[node], other, way % ways, seed, (1.0 + count[other]) ** -0.5)
            last[node] = max(time[i], last[node]) if count[node] else time[i]
        for node, other in ((a, b), (b, a)):
            ring[node, count[node] % RING] = other
            count[node] += 1
        changes += 1
        for node in (a, b):
            for j in range(min(count[node], RING)):
                _touch(s, ring[node, j], share)
                changed[ring[node, j]] = changes
        for node in (a, b):
            _touch(s, node, share)
            changed[node] = changes
    return changes


def random_vector(node: int, way: int, dims: int, seed: int) -> Matrix:
    """The fixed random vector of a node, as a neighbour along `way` (`OUT`, `IN`)."""
    out = np.zeros(dims, np.float32)
    _add(out, node, way, seed, 1.0)
    return out


class Embeddings:
    """Embeddings of `dims` numbers, of length 1, of nodes by their numbers from 0 on; 0 of a node without edges.

    With weights $w_e = e^{-(t - t_e)/\\tau} / \\sqrt{1 + n_u}$, $n_u$ being the edges that the neighbour u had when e
    came, a profile is $p_v = \\sum_e w_e r_u$, an embedding $(1 - a) \\hat p_v + a \\, \\widehat{\\sum_u \\hat p_u}$
    over the 16 most recent neighbours; τ is `fading` (seconds), a is `share`, r is random, the same for one `seed`.
    With `directed`, edges out and edges in have random vectors of their own. What happens two edges away is seen when
    the node is touched again. Equal edges in equal order give equal bytes, however they are cut into blocks.
    """

    def __init__(
        self, *, dims: int = 128, share: float = 0.7, fading: float = 90 * DAY, seed: int = 0, directed: bool = True
    ) -> None:
        if not (0 < dims <= 4096 and int(dims) == dims and 0.0 <= share <= 1.0 and 0 < fading < np.inf):
            raise ConfigError(
                "embeddings cannot be made so",
                wanted="1 to 4096 dims, a share from 0 to 1, fading in seconds above 0",
                got=f"dims={dims}, share={share}, fading={fading}",
            )
        self.dims, self.share, self.fading, self.seed = dims, float(share), float(fading), seed
        self.directed = directed
        self._rows = _rows(64, dims)
        self._nodes = 0
        self._changes = 0

    def learn(self, src: ArrayLike, dst: ArrayLike, time: ArrayLike) -> None:
        """Take in edges in stream order: node numbers and seconds, each of shape (n,)."""
        src, dst, time = edges(src, dst, time)
        if not len(src):
            return
        if min(src.min(), dst.min()) < 0:
            raise ConfigError("no node's number", wanted="0 or more", got=str(int(min(src.min(), dst.min()))))
        self._reserve(int(max(src.max(), dst.max())) + 1)
        self._changes = _learn(
            tuple(self._rows), src, dst, time, self.seed, self.share, self.fading, self._changes, 1 + self.directed
        )

    def _reserve(self, nodes: int) -> None:
        capacity = len(self._rows[0])
        if nodes > capacity:
            grown = _rows(max(nodes, 2 * capacity), self.dims)
            for old, new in zip(self._rows, grown, strict=True):
                new[: len(old)] = old
            self._rows = grown
        self._nodes = max(self._nodes, nodes)

    def __len__(self) -> int:
        return self._nodes

    def vectors(self, nodes: Ints) -> Matrix:
        """The embeddings of these nodes, n × dims; 0 of one never seen."""
        known = (nodes >= 0) & (nodes < self._nodes)
        out = np.zeros((len(nodes), self.dims), np.float32)
        out[known] = self._rows[1][nodes[known]]
        return out

    def nearest(self, vectors: Matrix, k: int, among: Ints | None = None) -> tuple[Ints, Matrix]:
        """The `k` nodes (of `among`, or all) whose embeddings are most similar to each of `vectors`, by cosine, and how
        similar: n × k each, −1 and 0 where there are fewer. Of equal ones the lower number comes first. Every one is
        looked at."""
        rows = np.arange(self._nodes) if among is None else among[(among >= 0) & (among < self._nodes)]
        rows = rows[self._rows[3][rows] > 0]
        numbers, similar = np.full((len(vectors), k), -1, np.int64), np.zeros((len(vectors), k), np.float32)
        table = self._rows[1][rows]
        for i in range(len(vectors) if len(rows) else 0):  # row by row: all at once would be rows × nodes of memory
            scores = table @ vectors[i]
            best = _best(scores, k)
            numbers[i, : len(best)], similar[i, : len(best)] = rows[best], scores[best]
        return numbers, similar

    def without(self, node: int) -> tuple[Ints, Matrix]:
        """The recent neighbours of a node, edge by edge, and its embedding were it touched now, 1 + neighbours × dims:
        first with all of them, and then with each in turn left out of the mean."""
        profile, _, ring, count = self._rows[:4]
        if not 0 <= node < self._nodes:
            return np.empty(0, np.int64), np.zeros((1, self.dims), np.float32)
        near = ring[node, : min(int(count[node]), RING)]
        each = _units(profile[near])
        around = each.sum(axis=0) - np.concatenate([np.zeros((1, self.dims), np.float32), each])
        return near.copy(), _units((1.0 - self.share) * _units(profile[node]) + self.share * _units(around))

    def changes(self) -> int:
        """The number of the newest change."""
        return self._changes

    def changed(self, since: int) -> Iterator[tuple[int, Matrix]]:
        """The nodes changed after change number `since`, in their order, with their present embeddings."""
        for node in np.flatnonzero(self._rows[5][: self._nodes] > since).tolist():
            yield node, self._rows[1][node]

    def params(self) -> dict[str, Any]:
        names = ("dims", "share", "fading", "seed", "directed")
        return {name: getattr(self, name) for name in names}

    def state(self) -> dict[str, Any]:
        """Arrays with a row for each node, and how many changes there were."""
        rows = {name: array[: self._nodes].copy() for name, array in zip(_NAMES, self._rows, strict=True)}
        return rows | {"changes": self._changes}

    def load_state(self, state: Mapping[str, Any]) -> None:
        nodes = len(state.get("count", ()))
        made = _rows(nodes, self.dims)
        wanted = {name: array.shape for name, array in zip(_NAMES, made, strict=True)}
        got = {name: np.shape(value) for name, value in state.items() if name != "changes"}
        if got != wanted or "changes" not in state:
            raise IncompatibleError("not a state of these embeddings", wanted=str(wanted), got=str(got))
        for name, array in zip(_NAMES, made, strict=True):
            array[:] = state[name]
        self._rows, self._nodes, self._changes = made, nodes, int(state["changes"])
        self._reserve(max(nodes, 64))
        self._nodes = nodes


def _units(x: Any) -> Matrix:
    """Rows of length 1; 0 stays 0."""
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    out: Matrix = (x / np.where(length > 0.0, length, 1.0)).astype(np.float32)
    return out


def _best(scores: Matrix, k: int) -> Ints:
    """Where the `k` largest scores stand, the largest first, of equal ones the first."""
    if len(scores) > k:
        there = np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[len(scores) - k])
    else:
        there = np.arange(len(scores))
    return there[np.lexsort((there, -scores[there]))][:k]


_NAMES = ("profile", "embedding", "ring", "count", "last", "changed")


def _rows(nodes: int, dims: int) -> list[NDArray[Any]]:
    return [
        np.zeros((nodes, dims), np.float32),
        np.zeros((nodes, dims), np.float32),
        np.zeros((nodes, RING), np.int64),
        np.zeros(nodes, np.int64),
        np.zeros(nodes, np.float64),
        np.zeros(nodes, np.int64),
    ]

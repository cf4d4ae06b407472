"""What a stream of links says about the next one: cheap features of a source and a candidate, kept as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log1p, sqrt
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.selection import mix

Float = NDArray[np.float64]

RECENT = 16
"""Partners of a node that are remembered one by one, and looked at for common neighbours."""

WIDTH = 32
"""Dimensions of the random projections that stand for a node's partners."""

SCALES = (3_600.0, 86_400.0, 1_209_600.0)
"""Seconds after which a decayed count is down to 1/e: an hour, a day, two weeks."""

NEVER = 20.0
"""Stands for the log-age of what has not happened: e²⁰ seconds are fifteen years."""

_FADING = 0.95
"""What a new partner leaves of the projections of those before."""

_SESSION = 1_800.0
"""Seconds of silence that end a run of links of one source."""

# Columns of the matrix of nodes.
_LAST_IN, _LAST_OUT, _IN, _OUT, _FIRST, _NEW_IN, _NEW_OUT, _RUN, _PREVIOUS = range(9)
_FADED_IN, _FADED_OUT = 9, 12
_COLUMNS = 15
# Places in the vectors of a node: projections of who it linked to, who linked to it, and who those linked to.
_TO, _FROM, _ALSO = 0, WIDTH, 2 * WIDTH
# Columns of the rings.
_BOTH, _TARGETS = 0, 1

NAMES = (
    "pair_age",
    "reverse_age",
    "pair_seen",
    "reverse_seen",
    "pair_count",
    "reverse_count",
    "target_in_age",
    "target_out_age",
    "target_in",
    "target_out",
    "target_known",
    "source_out_age",
    "source_out",
    "source_in",
    *(f"target_in_{name}" for name in ("hour", "day", "weeks")),
    *(f"target_out_{name}" for name in ("hour", "day", "weeks")),
    "target_rank",
    "source_rank",
    "common",
    "common_age",
    "target_first_age",
    "source_in_age",
    "target_new_in",
    "target_new_out",
    "source_new_out",
    "through_targets",
    "through_recent",
    "pair_share",
    "reverse_share",
    "pair_weeks",
    "reverse_weeks",
    "alike_targets",
    "alike_sources",
    "alike_out",
    "alike_reply",
    "previous_distance",
    "previous_is_target",
    "previous_knows",
    "unanswered",
    "either_age",
    "source_run",
    "target_run",
    "target_age",
    "last_partner",
)
"""The features, in order. Ages are ln(1 + seconds), counts ln(1 + n)."""


@njit(cache=True, nogil=True)
def _slot(keys: Int, key: int) -> int:
    mask = np.uint64(len(keys) - 1)
    at = mix(np.uint64(key)) & mask
    while keys[at] >= 0 and keys[at] != key:
        at = (at + np.uint64(1)) & mask
    return np.int64(at)  # type: ignore[return-value]


@njit(cache=True, nogil=True)
def _pair(keys: Int, values: Float, source: int, target: int) -> tuple[float, float]:
    """When the pair's last link was (−1: never), and how many there were."""
    at = _slot(keys, (source << 31) | target)
    return (values[at, 0], values[at, 1]) if keys[at] >= 0 else (-1.0, 0.0)


@njit(cache=True, nogil=True)
def _flag(said: bool) -> float:
    return 1.0 if said else 0.0


@njit(cache=True, nogil=True)
def _age(now: float, then: float) -> float:
    return log1p(max(0.0, now - then)) if then >= 0.0 else NEVER


@njit(cache=True, nogil=True)
def _sign(node: int, part: int) -> float:
    """±1 by one bit of a hash, a node's random projection. Source: Achlioptas, *Database-friendly random projections*,
    JCSS 66(4), 2003."""
    return 1.0 if (mix(np.uint64(node)) >> np.uint64(part)) & np.uint64(1) else -1.0


@njit(cache=True, nogil=True)
def _cosine(a: Float, b: Float) -> float:
    dot, left, right = 0.0, 1e-9, 1e-9
    for i in range(len(a)):
        dot += a[i] * b[i]
        left += a[i] * a[i]
        right += b[i] * b[i]
    return 3.0 * dot / sqrt(left * right)


@njit(cache=True, nogil=True)
def fill(
    keys: Int, values: Float, nodes: Float, rings: Int, heads: Int, vectors: Float, u: int, v: int, now: float, o: Float
) -> None:
    """The features of a link from `u` to `v` at `now` (seconds), by what came before. Nodes that are not there yet have
    the row behind the last."""
    a, pairs = _pair(keys, values, u, v)
    b, reverse = _pair(keys, values, v, u)
    s, t = nodes[u], nodes[v]
    o[0], o[1] = _age(now, a), _age(now, b)
    o[2], o[3] = _flag(a >= 0), _flag(b >= 0)
    o[4], o[5] = log1p(pairs), log1p(reverse)
    o[6], o[7] = _age(now, t[_LAST_IN]), _age(now, t[_LAST_OUT])
    o[8], o[9] = log1p(t[_IN]), log1p(t[_OUT])
    o[10] = _flag(t[_LAST_IN] >= 0)
    o[11] = _age(now, s[_LAST_OUT])
    o[12], o[13] = log1p(s[_OUT]), log1p(s[_IN])
    for q in range(3):
        o[14 + q] = log1p(10.0 * t[_FADED_IN + q] * exp(-max(0.0, now - t[_LAST_IN]) / SCALES[q]))
        o[17 + q] = log1p(10.0 * t[_FADED_OUT + q] * exp(-max(0.0, now - t[_LAST_OUT]) / SCALES[q]))
    o[20] = o[21] = RECENT / 4.0
    common, newest = 0.0, NEVER
    for j in range(min(heads[u, _BOTH], RECENT)):
        w = rings[u, _BOTH, (heads[u, _BOTH] - 1 - j) % RECENT]
        if w == v:
            o[20] = min(o[20], j / 4.0)
            continue
        met = max(_pair(keys, values, w, v)[0], _pair(keys, values, v, w)[0])
        if met >= 0.0:
            common += 1.0
            newest = min(newest, _age(now, met))
    through = 0.0
    for j in range(min(heads[v, _BOTH], RECENT)):
        w = rings[v, _BOTH, (heads[v, _BOTH] - 1 - j) % RECENT]
        if w == u:
            o[21] = min(o[21], j / 4.0)
        if _pair(keys, values, u, w)[0] >= 0.0 or _pair(keys, values, w, u)[0] >= 0.0:
            through += 1.0
    reached = 0.0
    for j in range(min(heads[u, _TARGETS], RECENT)):
        w = rings[u, _TARGETS, (heads[u, _TARGETS] - 1 - j) % RECENT]
        if _pair(keys, values, w, v)[0] >= 0.0:
            reached += 1.0
    o[22], o[23] = log1p(common), newest
    o[24], o[25] = _age(now, t[_FIRST]), _age(now, s[_LAST_IN])
    o[26], o[27], o[28] = log1p(t[_NEW_IN]), log1p(t[_NEW_OUT]), log1p(s[_NEW_OUT])
    o[29], o[30] = log1p(reached), log1p(through)
    o[31], o[32] = 5.0 * pairs / (s[_OUT] + 1.0), 5.0 * reverse / (t[_OUT] + 1.0)
    o[33] = min(2.0, (now - a) / 604_800.0) if a >= 0 else 2.0
    o[34] = min(2.0, (now - b) / 604_800.0) if b >= 0 else 2.0
    x, y = vectors[u], vectors[v]
    o[35] = _cosine(x[_TO:_FROM], y[_ALSO:])
    o[36] = _cosine(x[_FROM:_ALSO], y[_FROM:_ALSO])
    o[37] = _cosine(x[_TO:_FROM], y[_TO:_FROM])
    o[38] = _cosine(x[_TO:_FROM], y[_FROM:_ALSO])
    previous = int(s[_PREVIOUS])
    o[39], o[40], o[41] = 8.0, 0.0, 0.0
    if previous >= 0:
        if t[_FIRST] >= 0:
            o[39] = log1p(float(abs(previous - v)))
        o[40] = _flag(previous == v)
        o[41] = _flag(_pair(keys, values, previous, v)[0] >= 0) + _flag(_pair(keys, values, v, previous)[0] >= 0)
    o[42] = _flag(b >= 0 and b > a)
    o[43] = _age(now, max(a, b))
    o[44], o[45] = log1p(s[_RUN]), log1p(t[_RUN])
    o[46] = _age(now, max(t[_LAST_IN], t[_LAST_OUT]))
    last = heads[u, _BOTH]
    o[47] = _flag(last > 0 and rings[u, _BOTH, (last - 1) % RECENT] == v)


@njit(cache=True, nogil=True)
def _take(
    keys: Int, values: Float, nodes: Float, rings: Int, heads: Int, vectors: Float, u: int, v: int, now: float
) -> int:
    """A link from `u` to `v` has happened at `now`; 1 where the pair is new."""
    at = _slot(keys, (u << 31) | v)
    new = 1 if keys[at] < 0 else 0
    if new:
        keys[at] = (u << 31) | v
        values[at, 1] = 0.0
        nodes[u, _NEW_OUT] += 1.0
        nodes[v, _NEW_IN] += 1.0
    values[at, 0] = now
    values[at, 1] += 1.0
    s, t = nodes[u], nodes[v]
    for q in range(3):
        t[_FADED_IN + q] = t[_FADED_IN + q] * exp(-max(0.0, now - t[_LAST_IN]) / SCALES[q]) + 1.0
        s[_FADED_OUT + q] = s[_FADED_OUT + q] * exp(-max(0.0, now - s[_LAST_OUT]) / SCALES[q]) + 1.0
    s[_RUN] = s[_RUN] + 1.0 if s[_LAST_OUT] >= 0 and now - s[_LAST_OUT] < _SESSION else 1.0
    t[_LAST_IN], s[_LAST_OUT] = now, now
    t[_IN] += 1.0
    s[_OUT] += 1.0
    s[_PREVIOUS] = v
    for end in (u, v):
        if nodes[end, _FIRST] < 0.0:
            nodes[end, _FIRST] = now
    x, y = vectors[u], vectors[v]
    for d in range(WIDTH):
        y[_ALSO + d] = y[_ALSO + d] * _FADING + x[_TO + d]
    for d in range(WIDTH):
        x[_TO + d] = x[_TO + d] * _FADING + _sign(v, d)
        y[_FROM + d] = y[_FROM + d] * _FADING + _sign(u, d)
    for node, ring, other in ((u, _BOTH, v), (v, _BOTH, u), (u, _TARGETS, v)):
        rings[node, ring, heads[node, ring] % RECENT] = other
        heads[node, ring] += 1
    return new


@njit(cache=True, nogil=True)
def _rows(
    keys: Int,
    values: Float,
    nodes: Float,
    rings: Int,
    heads: Int,
    vectors: Float,
    source: Int,
    candidates: Int,
    time: Float,
    size: int,
    out: NDArray[np.float32],
) -> None:
    row = np.empty(len(NAMES))
    for i in range(len(source)):
        u = source[i] if 0 <= source[i] < size else size
        for j in range(candidates.shape[1]):
            v = candidates[i, j]
            fill(keys, values, nodes, rings, heads, vectors, u, v if 0 <= v < size else size, time[i], row)
            out[i, j] = row


@njit(cache=True, nogil=True)
def _taken(
    keys: Int,
    values: Float,
    nodes: Float,
    rings: Int,
    heads: Int,
    vectors: Float,
    source: Int,
    target: Int,
    time: Float,
) -> int:
    new = 0
    for i in range(len(source)):
        new += _take(keys, values, nodes, rings, heads, vectors, source[i], target[i], time[i])
    return new


@njit(cache=True, nogil=True)
def _both(
    keys: Int,
    values: Float,
    nodes: Float,
    rings: Int,
    heads: Int,
    vectors: Float,
    source: Int,
    target: Int,
    candidates: Int,
    time: Float,
    size: int,
    out: NDArray[np.float32],
) -> int:
    """Features of each link's candidates, then the link itself, link by link; the pairs that are new."""
    new = 0
    for i in range(len(source)):
        part = slice(i, i + 1)
        _rows(keys, values, nodes, rings, heads, vectors, source[part], candidates[part], time[part], size, out[part])
        new += _take(keys, values, nodes, rings, heads, vectors, source[i], target[i], time[i])
    return new


def _per_node(size: int) -> tuple[Float, Int, Int, Float]:
    """Of `size` nodes, and of a row behind them that no link touches: their figures, rings, ends of rings, vectors."""
    nodes = np.zeros((size + 1, _COLUMNS))
    nodes[:, [_LAST_IN, _LAST_OUT, _FIRST, _PREVIOUS]] = -1.0
    rings, heads = np.full((size + 1, 2, RECENT), -1, np.int64), np.zeros((size + 1, 2), np.int64)
    return nodes, rings, heads, np.zeros((size + 1, 3 * WIDTH))


class LinkFeatures:
    """The features of links between nodes 0, 1, 2, … (any number, in any order of first coming), `NAMES`.

    `take` puts links in, in the order of the stream; `rows` gives the features of candidates by what was put in before.
    Times are seconds. The result is a function of the links and their order, not of how they are cut into blocks.
    """

    def __init__(self) -> None:
        self.size = self._pairs = 0
        self._keys = np.full(1024, -1, np.int64)
        self._values = np.zeros((1024, 2))
        self._nodes, self._rings, self._heads, self._vectors = _per_node(0)

    def _make(self, size: int) -> None:
        """Room for `size` nodes."""
        made = _per_node(size)
        for new, old in zip(made, (self._nodes, self._rings, self._heads, self._vectors), strict=True):
            new[: self.size] = old[: self.size]
        self._nodes, self._rings, self._heads, self._vectors = made

    @property
    def _arrays(self) -> tuple[Any, ...]:
        return self._keys, self._values, self._nodes, self._rings, self._heads, self._vectors

    def rows(self, source: Int, candidates: Int, time: Float) -> NDArray[np.float32]:
        """The features (n × c × features, float32) of links from `source` (n) to each of `candidates` (n × c), at
        `time` (n, seconds), all by what was put in so far. Negative numbers are nodes that have not come."""
        out = np.empty((*candidates.shape, len(NAMES)), np.float32)
        _rows(*self._arrays, source, candidates, time, self.size, out)  # type: ignore[call-arg]
        return out

    def take(self, source: Int, target: Int, time: Float) -> None:
        """Put links in."""
        self._grow(source, target)
        self._pairs += _taken(*self._arrays, source, target, time)  # type: ignore[call-arg]

    def rows_and_take(self, source: Int, target: Int, candidates: Int, time: Float) -> NDArray[np.float32]:
        """`rows` of each link just before it is put in."""
        self._grow(source, target)
        out = np.empty((*candidates.shape, len(NAMES)), np.float32)
        self._pairs += _both(*self._arrays, source, target, candidates, time, self.size, out)  # type: ignore[call-arg]
        return out

    def _grow(self, source: Int, target: Int) -> None:
        if not len(source):
            return
        wanted = int(max(source.max(), target.max())) + 1
        if wanted >= len(self._nodes):
            self._make(max(wanted, 2 * self.size, 64))
        self.size = max(self.size, wanted)
        if 2 * (self._pairs + len(source)) > len(self._keys):
            there = self._keys >= 0
            keys, values = self._keys[there], self._values[there]
            slots = 1 << (4 * (self._pairs + len(source))).bit_length()
            self._keys, self._values = np.full(slots, -1, np.int64), np.zeros((slots, 2))
            _put(self._keys, self._values, keys, values)

    def params(self) -> dict[str, Any]:
        return {}

    def state(self) -> dict[str, Any]:
        """All that is remembered, as arrays; pairs in the order of their numbers: what is equal has equal bytes."""
        there = np.flatnonzero(self._keys >= 0)
        there = there[np.argsort(self._keys[there])]
        per_node = self._nodes, self._rings, self._heads, self._vectors
        names = ("nodes", "rings", "heads", "vectors")
        return {name: array[: self.size].copy() for name, array in zip(names, per_node, strict=True)} | {
            "keys": self._keys[there],
            "values": self._values[there],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self.size = 0
        self._make(len(state["nodes"]))
        self.size = len(state["nodes"])
        for name in ("nodes", "rings", "heads", "vectors"):
            getattr(self, f"_{name}")[: self.size] = state[name]
        self._pairs = len(state["keys"])
        slots = max(1024, 1 << (4 * self._pairs).bit_length())
        self._keys, self._values = np.full(slots, -1, np.int64), np.zeros((slots, 2))
        _put(self._keys, self._values, state["keys"], state["values"])


@njit(cache=True, nogil=True)
def _put(keys: Int, values: Float, new: Int, rows: Float) -> None:
    for i in range(len(new)):
        at = _slot(keys, new[i])
        keys[at] = new[i]
        values[at] = rows[i]

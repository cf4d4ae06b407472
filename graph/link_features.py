"""Cheap temporal features of a possible edge: recencies, counts, first meetings, common neighbours, fellows, factors.

Fellows of a source are the others that lately had an edge to one of its late destinations: where they went, it may go
next. What is looked through is the `RING` last edges of each node, as for common neighbours.

Times enter as $\\log(1 + \\Delta t / 30)/13$ (0 now, about 1 after five months; `NEVER` where it has not happened),
counts as logarithms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from graph.link_factors import dot
from graph.link_history import (
    EVENTS,
    FIRST,
    IN,
    LAST,
    OUT,
    PARTNERS_IN,
    PARTNERS_OUT,
    REPEATS_IN,
    REPEATS_OUT,
    REPLIES_IN,
    REPLIES_OUT,
    RING,
    Floats,
    Ints,
    LinkHistory,
    elapsed,
)
from graph.table import find
from tidemill.errors import ConfigError

Matrix = NDArray[np.float32]
NEVER = 1.2

_ONE = ("known", "out_recency", "in_recency", "out", "in", "partners_out", "partners_in", "age")
_RATES = ("repeats_out", "replies_out", "repeats_in", "replies_in", "out_events_ago", "in_events_ago")
_PAIR = (
    *("known", "recency", "rank_src", "rank_dst", "is_last_src", "is_last_dst", "near_src", "near_dst"),
    *("count", "share", "just_now"),
)
_HOPS = ("common_out", "weighted_out", "common_in", "weighted_in", "recency_out", "recency_in")
_FELLOWS = ("fellows", "fellows_weighted", "fellows_recency", "last_fellow")
_FACTORS = (
    "factors",
    "factors_reverse",
    "factors_out",
    "factors_in",
    "factor_bias",
    "met_factors",
    "met_factors_reverse",
)
_MET = tuple(f"met_{way}{what}" for what in ("_recency", "", "_share", "_last") for way in ("out", "in"))
NODE = len(_ONE) + len(_RATES)
MET = len(_MET)
PAIR = len(_PAIR)
HOPS = len(_HOPS)
_LOOKED = 2
"""A stamp: marked (1), and its own neighbours looked through."""


def feature_names(scales: int) -> tuple[str, ...]:
    """Names of the columns, for a history of so many time scales."""
    decays = [f"{way}_decayed_{k}" for k in range(scales) for way in ("out", "in")]
    node = [*_ONE, *_RATES, *decays, *_MET, *(f"met_{name}" for name in decays)]
    pair = [*_PAIR, *(f"decayed_{k}" for k in range(scales))]
    return (
        *(f"{end}_{name}" for end in ("src", "dst") for name in node),
        *(f"{way}_{name}" for way in ("pair", "reverse") for name in pair),
        *(f"{way}_{name}" for way in ("dst_out", "dst_in") for name in _HOPS),
        "self_loop",
        "age_apart",
        "src_spoke_last",
        "dst_spoke_last",
        "popularity_product",
        *_FACTORS,
        *_FELLOWS,
    )


@njit(cache=True)
def squash(seconds: float) -> Any:
    return np.log1p(seconds / 30.0) / 13.0


@njit(cache=True)
def _of_node(h: Any, node: int, time: float, x: Matrix) -> None:
    count, when, scales = h.node_count[node], h.node_time[node], h.scales
    x[0] = 1.0
    for way in range(2):
        there = count[way] > 0
        x[1 + way] = squash(elapsed(time, when[LAST + way])) if there else NEVER
        x[3 + way] = np.log1p(count[OUT + way]) / 5.0
        x[5 + way] = np.log1p(count[PARTNERS_OUT + way]) / 5.0
        x[12 + way] = np.log1p(h.size[EVENTS] - h.node_event[node, way]) / 12.0 if there else NEVER
        for k in range(len(scales)):
            fading = np.exp(-elapsed(time, when[LAST + way]) / scales[k])
            x[NODE + 2 * k + way] = np.log1p(h.node_decay[node, way, k] * fading) / 3.0
    x[7] = squash(elapsed(time, when[FIRST]))
    x[8] = count[REPEATS_OUT] / (1.0 + count[OUT])
    x[9] = count[REPLIES_OUT] / (1.0 + count[OUT])
    x[10] = count[REPEATS_IN] / (1.0 + count[IN])
    x[11] = count[REPLIES_IN] / (1.0 + count[IN])
    _of_meetings(h, node, time, x[NODE + 2 * len(scales) :])


@njit(cache=True)
def _of_meetings(h: Any, node: int, time: float, x: Matrix) -> None:
    """How lately and how often the node had a first edge with somebody, as the source and as the destination."""
    for way in range(2):
        met, when = h.met_count[node, way], h.met_time[node, way]
        x[way] = squash(elapsed(time, when)) if met > 0 else NEVER
        x[2 + way] = np.log1p(met) / 5.0
        x[4 + way] = met / (1.0 + h.node_count[node, way])
        x[6 + way] = 1.0 if met > 0 and when == h.node_time[node, LAST + way] else 0.0
        for k in range(len(h.scales)):
            fading = np.exp(-elapsed(time, when) / h.scales[k])
            x[MET + 2 * k + way] = np.log1p(h.met_decay[node, way, k] * fading) / 3.0


@njit(cache=True)
def _of_pair(h: Any, pair: int, a: int, b: int, reverse: bool, time: float, x: Matrix) -> None:
    """`a` is the asked edge's source and `b` its destination; with `reverse` the pair is b → a."""
    mine, his = (IN, OUT) if reverse else (OUT, IN)
    since_mine = h.node_count[a, mine] - h.pair_rank[pair, mine]
    since_his = h.node_count[b, his] - h.pair_rank[pair, his]
    past = elapsed(time, h.pair_time[pair])
    x[0] = 1.0
    x[1] = squash(past)
    x[2] = np.log1p(since_mine) / 4.0
    x[3] = np.log1p(since_his) / 4.0
    x[4] = 1.0 if since_mine == 0 else 0.0
    x[5] = 1.0 if since_his == 0 else 0.0
    x[6] = 1.0 / (1.0 + since_mine)
    x[7] = 1.0 / (1.0 + since_his)
    x[8] = np.log1p(h.pair_count[pair]) / 3.0
    x[9] = h.pair_count[pair] / (h.node_count[a, mine] + 1.0)
    x[10] = np.exp(-past / 300.0)
    for k in range(len(h.scales)):
        x[PAIR + k] = np.log1p(h.pair_decay[pair, k] * np.exp(-past / h.scales[k]))


@njit(cache=True)
def _mark(h: Any, a: int) -> None:
    """Note of each recent neighbour of `a`, per direction, the time of the last edge with it."""
    for way in range(2):
        n = h.node_count[a, way]
        for i in range(max(n - RING, 0), n):
            node = h.ring_node[a, way, i % RING]
            h.mark[node, way] = h.ring_time[a, way, i % RING]
            h.stamp[node, way] = 1


@njit(cache=True)
def _unmark(h: Any, a: int) -> None:
    for way in range(2):
        for i in range(min(h.node_count[a, way], RING)):
            h.stamp[h.ring_node[a, way, i]] = 0


@njit(cache=True)
def _rarity(h: Any, node: int) -> Any:
    """What one shared node weighs: the less, the more partners it has."""
    return 1.0 / np.log(2.0 + h.node_count[node, PARTNERS_OUT] + h.node_count[node, PARTNERS_IN])


@njit(cache=True)
def _of_hops(h: Any, b: int, way: int, stamp: int, time: float, x: Matrix) -> None:
    """Recent neighbours of `b` in direction `way` that are recent neighbours of the source too, each once."""
    n = h.node_count[b, way]
    for mine in range(2):
        x[4 + mine] = -0.2
    for i in range(n - 1, max(n - RING, 0) - 1, -1):
        node = h.ring_node[b, way, i % RING]
        mark = h.stamp[node]
        if mark[0] + mark[1] == 0 or mark[2 + way] == stamp:
            continue
        mark[2 + way] = stamp
        weight = _rarity(h, node)
        for mine in range(2):
            if mark[mine]:
                x[2 * mine] += 1.0
                x[2 * mine + 1] += weight
                older = min(h.mark[node, mine], h.ring_time[b, way, i % RING])
                x[4 + mine] = max(x[4 + mine], 1.0 - squash(elapsed(time, older)))
    for j in range(4):
        x[j] = np.log1p(x[j])


@njit(cache=True)
def _mark_fellows(h: Any, a: int) -> None:
    """Note of each fellow of `a`, whose neighbours are marked: the edges to late destinations of `a`, the sum of their
    weights, and the time of the last."""
    n = h.node_count[a, OUT]
    for i in range(max(n - RING, 0), n):
        shared = h.ring_node[a, OUT, i % RING]
        if h.stamp[shared, OUT] == _LOOKED:
            continue
        h.stamp[shared, OUT] = _LOOKED
        weight = _rarity(h, shared)
        m = h.node_count[shared, IN]
        for j in range(max(m - RING, 0), m):
            fellow = h.ring_node[shared, IN, j % RING]
            if fellow != a:
                when = h.ring_time[shared, IN, j % RING]
                h.fellow[fellow, 2] = max(h.fellow[fellow, 2], when) if h.fellow[fellow, 0] > 0.0 else when
                h.fellow[fellow, 0] += 1.0
                h.fellow[fellow, 1] += weight


@njit(cache=True)
def _unmark_fellows(h: Any, a: int) -> None:
    for i in range(min(h.node_count[a, OUT], RING)):
        shared = h.ring_node[a, OUT, i]
        if h.stamp[shared, OUT] == _LOOKED:
            h.stamp[shared, OUT] = 1
            for j in range(min(h.node_count[shared, IN], RING)):
                fellow = h.ring_node[shared, IN, j]
                h.fellow[fellow] = 0.0
                h.stamp[fellow, 4] = 0


@njit(cache=True)
def _of_fellows(h: Any, b: int, stamp: int, time: float, x: Matrix) -> None:
    """Fellows of the source among the late sources of `b`, each once."""
    n = h.node_count[b, IN]
    for i in range(n - 1, max(n - RING, 0) - 1, -1):
        fellow = h.ring_node[b, IN, i % RING]
        edges, weight, last = h.fellow[fellow]
        if edges == 0.0 or h.stamp[fellow, 4] == stamp:
            continue
        h.stamp[fellow, 4] = stamp
        x[0] += edges
        x[1] += weight * _rarity(h, fellow)
        x[2] = max(x[2], NEVER - squash(elapsed(time, min(last, h.ring_time[b, IN, i % RING]))))
        if i == n - 1:
            x[3] = np.log1p(weight)
    x[0] = np.log1p(x[0]) / 3.0
    x[1] = np.log1p(x[1]) / 2.0


@njit(cache=True)
def features_of(h: Any, src: int, candidates: Ints, time: float, X: Matrix) -> None:
    """The rows of `X`: the features of `src` → each candidate at `time`, from the past alone."""
    scales = len(h.scales)
    node, pair = NODE + MET + 4 * scales, PAIR + scales
    last = 2 * node + 2 * pair + 2 * HOPS
    a, _ = find(h.node_table, h.node_id, src)
    X[:] = 0.0
    if a >= 0:
        _mark(h, a)
        _mark_fellows(h, a)
    for i in range(len(candidates)):
        x = X[i]
        b, _ = find(h.node_table, h.node_id, candidates[i])
        x[last] = 1.0 if candidates[i] == src else 0.0
        if a >= 0 and i == 0:
            _of_node(h, a, time, x[:node])
        x[:node] = X[0, :node]
        if b >= 0:
            _of_node(h, b, time, x[node : 2 * node])
        if a < 0 or b < 0:
            continue
        at = 2 * node
        there, _ = find(h.pair_table, h.pair_key, (a << 32) | b)
        back, _ = find(h.pair_table, h.pair_key, (b << 32) | a)
        if there >= 0:
            _of_pair(h, there, a, b, False, time, x[at : at + pair])
        if back >= 0:
            _of_pair(h, back, a, b, True, time, x[at + pair : at + 2 * pair])
        if there >= 0 and back >= 0:
            x[last + 2] = 1.0 if h.pair_time[there] > h.pair_time[back] else 0.0
            x[last + 3] = 1.0 if h.pair_time[there] < h.pair_time[back] else 0.0
        at += 2 * pair
        for way in range(2):
            _of_hops(h, b, way, i + 1, time, x[at + way * HOPS : at + (way + 1) * HOPS])
        x[last + 1] = abs(x[7] - x[node + 7])
        x[last + 4] = np.log1p(h.node_count[a, PARTNERS_OUT] * h.node_count[b, PARTNERS_IN]) / 10.0
        x[last + 5] = dot(h.source_factor, a, h.target_factor, b)
        x[last + 6] = dot(h.source_factor, b, h.target_factor, a)
        x[last + 7] = dot(h.source_factor, a, h.source_factor, b)
        x[last + 8] = dot(h.target_factor, a, h.target_factor, b)
        x[last + 9] = h.target_bias[b]
        x[last + 10] = dot(h.met_source_factor, a, h.met_target_factor, b)
        x[last + 11] = dot(h.met_source_factor, b, h.met_target_factor, a)
        _of_fellows(h, b, i + 1, time, x[last + 12 :])
    if a >= 0:
        _unmark_fellows(h, a)
        _unmark(h, a)


@njit(cache=True)
def _rows(h: Any, src: Ints, candidates: Ints, time: Floats, X: Any) -> None:
    for i in range(len(src)):
        features_of(h, src[i], candidates[i], time[i], X[i])


class LinkFeatures(LinkHistory):
    """A history of links that gives features of possible ones."""

    @property
    def names(self) -> tuple[str, ...]:
        return feature_names(len(self.scales))

    def features(self, src: ArrayLike, candidates: ArrayLike, time: ArrayLike) -> NDArray[np.float32]:
        """Features of `src[i]` → `candidates[i, j]` at `time[i]` from the edges taken in so far; shape (n, m, d)."""
        src, candidates, time = queries(src, candidates, time)
        X = np.zeros((*candidates.shape, len(self.names)), np.float32)
        _rows(self.arrays, src, candidates, time, X)
        return X


def queries(src: ArrayLike, candidates: ArrayLike, time: ArrayLike) -> tuple[Ints, Ints, Floats]:
    """Questions, checked: `src` (n,), `candidates` (n, m), `time` (n,)."""
    a, c, t = np.asarray(src, np.int64), np.asarray(candidates, np.int64), np.asarray(time, np.float64)
    if c.ndim != 2 or a.shape != c.shape[:1] or t.shape != a.shape or not np.isfinite(t).all():
        raise ConfigError(
            "links asked for cannot be read",
            wanted="src (n,), candidates (n, m) and finite seconds (n,)",
            got=f"shapes {a.shape}, {c.shape}, {t.shape}",
        )
    return np.ascontiguousarray(a), np.ascontiguousarray(c), np.ascontiguousarray(t)

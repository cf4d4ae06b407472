"""How much one edge of the past counts in the score of a possible edge.

    influence(e) = s(past) − s(past without e)

s is the model's own score, and the past without e is what is remembered less what one edge can be taken out of: the
last edges of its two ends, their counts, decayed counts and recencies, and its pair. What many edges made together
stays as it is: latent factors, first meetings, replies, ages, and events counted since. An end that has had more than
`RING` edges keeps as many; the oldest that is remembered stands in for the one before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from graph.link_features import features_of
from graph.link_history import (
    IN,
    LAST,
    OUT,
    PARTNERS_IN,
    PARTNERS_OUT,
    REPEATS_IN,
    REPEATS_OUT,
    RING,
    Floats,
    Ints,
    elapsed,
)
from graph.link_network import F32, HIDDEN, SECOND, forward
from graph.table import find

_TOLD = 30.0
"""A decayed count of so many time scales ago cannot be told from its rounding."""


@njit(cache=True, nogil=True)
def _leave(h: Any, node: int, way: int, other: int, time: float) -> Any:
    """Take the edge out of one end; which edge of that end it was, from 0, or −1 where it is not remembered."""
    n, ring, when = h.node_count[node, way], h.ring_node[node, way], h.ring_time[node, way]
    low, at = max(n - RING, 0), n - 1
    while at >= low and (ring[at % RING] != other or when[at % RING] != time):
        at -= 1
    if at < low:
        return -1
    for i in range(at, n - 1):
        ring[i % RING], when[i % RING] = ring[(i + 1) % RING], when[(i + 1) % RING]
    if low > 0:
        ring[(n - 1) % RING], when[(n - 1) % RING] = ring[low % RING], when[low % RING]
    last = h.node_time[node, LAST + way]
    now = last if at < n - 1 or n == 1 else when[(n - 2) % RING]
    h.node_count[node, way], h.node_time[node, LAST + way] = n - 1, now
    for k in range(len(h.scales)):
        scale, there = h.scales[k], h.node_decay[node, way, k]
        rest = 0.0
        for i in range(max(n - 1 - RING, 0), n - 1):
            rest += np.exp(-elapsed(now, when[i % RING]) / scale)
        h.node_decay[node, way, k] = _before(there, at == n - 1, time, last, now, scale, rest)
    return at


@njit(cache=True, nogil=True)
def _before(x: float, newest: bool, time: float, last: float, now: float, scale: float, rest: float) -> Any:
    """A decayed count of time `last` without the edge of `time`, as of `now`; `rest` where it cannot be told."""
    if not newest:
        return float(max(x - np.exp(-elapsed(last, time) / scale), 0.0))
    gap = elapsed(last, now) / scale
    return float(max(x - 1.0, 0.0) * np.exp(gap)) if gap < _TOLD else rest


@njit(cache=True, nogil=True)
def forget(h: Any, a: int, b: int, time: float, pairs: Ints) -> bool:
    """Take the edge of `time` between the rows `a` → `b` out of the past; whether it was there. `pairs`: the rows of
    its own pair and of others at these ends that are looked at, −1 for none."""
    ends = (a, b)
    places = np.array([_leave(h, a, OUT, b, time), _leave(h, b, IN, a, time)])
    pair = pairs[0]
    if places.max() < 0:
        return False
    h.pair_count[pair] -= 1
    if h.pair_count[pair] == 0:
        h.pair_key[pair] = -1  # no two nodes have that key
        h.node_count[a, PARTNERS_OUT] -= 1
        h.node_count[b, PARTNERS_IN] -= 1
    else:
        h.node_count[a, REPEATS_OUT] -= 1
        h.node_count[b, REPEATS_IN] -= 1
    last, now, newest = h.pair_time[pair], h.pair_time[pair], False
    for way in (OUT, IN):
        if places[way] < 0:
            continue
        node, rank = ends[way], places[way] + 1
        ring, when = h.ring_node[node, way], h.ring_time[node, way]
        if h.pair_rank[pair, way] == rank:
            n = h.node_count[node, way]
            i = n - 1
            while i > max(n - RING, 0) and ring[i % RING] != ends[1 - way]:
                i -= 1
            h.pair_rank[pair, way], now, newest = i + 1, when[i % RING], True
        for j in range(len(pairs)):
            other = h.pair_key[pairs[j]]
            mine = (other >> 32) if way == OUT else (other & 0xFFFFFFFF)
            fresh = j == 0 or (pairs[j] != pair and pairs[j] != pairs[j - 1])
            if pairs[j] >= 0 and fresh and mine == node and h.pair_rank[pairs[j], way] > rank:
                h.pair_rank[pairs[j], way] -= 1
    h.pair_time[pair] = now
    for k in range(len(h.scales)):
        decay = h.pair_decay[pair, k]
        h.pair_decay[pair, k] = _before(decay, newest, time, last, now, h.scales[k], 1.0)
    return True


@njit(cache=True, nogil=True)
def influences(
    h: Any, src: int, dst: int, when: float, sources: Ints, targets: Ints, times: Floats, weights: F32
) -> Floats:
    """Of each past edge, by how much the score of `src` → `dst` at `when` falls without it; 0 of one that is not
    remembered. The past is afterwards what it was."""
    d = (len(weights) - HIDDEN - HIDDEN * SECOND - 2 * SECOND) // HIDDEN
    X, score, out = np.zeros((1, d), np.float32), np.zeros(1, np.float32), np.zeros(len(sources))
    first, second = np.zeros((1, HIDDEN), np.float32), np.zeros((1, SECOND), np.float32)
    asked = np.array([dst])
    features_of(h, src, asked, when, X)
    forward(weights, X, first, second, score)
    base = float(score[0])
    s, _ = find(h.node_table, h.node_id, src)
    t, _ = find(h.node_table, h.node_id, dst)
    there, back = np.int64(-1), np.int64(-1)
    if s >= 0 and t >= 0:
        there, _ = find(h.pair_table, h.pair_key, (s << 32) | t)
        back, _ = find(h.pair_table, h.pair_key, (t << 32) | s)
    for i in range(len(sources)):
        a, _ = find(h.node_table, h.node_id, sources[i])
        b, _ = find(h.node_table, h.node_id, targets[i])
        own = np.int64(-1)
        if a >= 0 and b >= 0:
            own, _ = find(h.pair_table, h.pair_key, (a << 32) | b)
        if own < 0:
            continue
        nodes, pairs = np.array([a, b]), np.array([own, there, back])
        count, last, decay = h.node_count[nodes], h.node_time[nodes], h.node_decay[nodes]
        ring, ring_time = h.ring_node[nodes], h.ring_time[nodes]
        key, time, number = h.pair_key[pairs], h.pair_time[pairs], h.pair_count[pairs]
        fading, rank = h.pair_decay[pairs], h.pair_rank[pairs]
        if forget(h, a, b, times[i], pairs):
            features_of(h, src, asked, when, X)
            forward(weights, X, first, second, score)
            out[i] = base - score[0]
        for j in range(2):
            h.node_count[nodes[j]], h.node_time[nodes[j]], h.node_decay[nodes[j]] = count[j], last[j], decay[j]
            h.ring_node[nodes[j]], h.ring_time[nodes[j]] = ring[j], ring_time[j]
        for j in range(3):
            h.pair_key[pairs[j]], h.pair_time[pairs[j]], h.pair_count[pairs[j]] = key[j], time[j], number[j]
            h.pair_decay[pairs[j]], h.pair_rank[pairs[j]] = fading[j], rank[j]
    return out

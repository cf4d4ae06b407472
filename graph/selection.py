"""Which of a node's edges a query gets: the newest, or drawn ones, as of a moment."""

from __future__ import annotations

from math import log
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit

from graph.adjacency import EDGE_BITS, GONE, LENGTH, RETRACTED, START, TIME, WORD, Int, edge_of, first_not_before
from graph.draws import draw_distinct, mix

RECENT, UNIFORM, WEIGHTED = 0, 1, 2

ALIKE = (1.0, 0.0, np.empty(0))
"""What draws go by where nothing weighs more than another; see `choose`."""

Strategy = Literal["recent", "uniform", "weighted"]
Direction = Literal["out", "in"]
DIRECTIONS: tuple[Direction, ...] = ("out", "in")
"""Ways along a relation; of one that is not directed the first goes both."""


class Neighbours(NamedTuple):
    """Of n nodes up to k neighbours each, the newest first. What is left of a row is −1.

    `nodes`, `times` (µs) and `edges` (numbers) are int64 arrays n × k; `counts` (n) says how many of a row there are.
    """

    nodes: Int
    times: Int
    edges: Int
    counts: Int


class Found(NamedTuple):
    """Neighbours one after another: `rows` says of which node asked about, each the newest first."""

    rows: Int
    nodes: Int
    times: Int
    edges: Int


def padded(found: Found, n: int, k: int) -> Neighbours:
    """What was found of `n` nodes, a row each."""
    counts = np.bincount(found.rows, minlength=n)
    places = np.arange(len(found.rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    out = np.full((3, n, k), -1, np.int64)
    out[:, found.rows, places] = found[1:]
    return Neighbours(out[0], out[1], out[2], counts)


@njit(cache=True, nogil=True)
def _visible(pool: Int, until: Int, place: int, before: int) -> bool:
    word = pool[place, WORD]
    return not (word & RETRACTED and until[edge_of(word)] < before)


@njit(cache=True, nogil=True)
def _recent(pool: Int, until: Int, low: int, high: int, before: int, k: int, places: Int) -> int:
    count, place = 0, high - 1
    while place >= low and count < k:
        if _visible(pool, until, place, before):
            places[count] = place
            count += 1
        place -= 1
    return count


@njit(cache=True, nogil=True)
def _uniform(
    pool: Int, until: Int, low: int, high: int, before: int, k: int, places: Int, key: np.uint64, gone: int
) -> int:
    """`k` of the visible places, each set of `k` as likely as any other."""
    there = high - low
    if gone > 0:
        there = 0
        for place in range(low, high):
            there += _visible(pool, until, place, before)
    count = min(k, there)
    draw_distinct(key, there, places[:count])
    if gone == 0:
        for i in range(count):
            places[i] += low
    else:
        rank, i, place = 0, 0, low
        while i < count:
            if _visible(pool, until, place, before):
                if places[i] == rank:
                    places[i] = place
                    i += 1
                rank += 1
            place += 1
    for i in range(count // 2):
        places[i], places[count - 1 - i] = places[count - 1 - i], places[i]
    return count


@njit(cache=True, nogil=True)
def _weighted(
    pool: Int, until: Int, low: int, high: int, before: int, k: int, places: Int, key: np.uint64, base: int, fading: Any
) -> int:
    """`k` places without replacement, each draw by weight w · exp(−age / tau), w being the edge's own: the k largest of
    log-weight plus Gumbel noise (Efraimidis and Spirakis, *Weighted random sampling with a reservoir*, 2006). The noise
    of an entry is a function of its edge. It is below 37, so the search ends where no older entry can be among the
    largest."""
    tau, heaviest, weights = fading
    count = 0
    scores = np.empty(k)
    for place in range(high - 1, low - 1, -1):
        weight = -(float(before) - float(pool[place, TIME])) / tau
        if count == k and weight + heaviest + 37.0 < scores[k - 1]:
            break
        if not _visible(pool, until, place, before):
            continue
        edge = edge_of(pool[place, WORD])
        if len(weights) > 0:
            weight += log(weights[edge])
        bits = mix(key ^ mix(np.uint64(base + edge))) >> np.uint64(11)
        score = weight - log(-log((float(bits) + 0.5) * (1.0 / (1 << 53))))
        if count == k and score <= scores[k - 1]:
            continue
        at = count if count < k else k - 1
        while at > 0 and scores[at - 1] < score:
            scores[at], places[at] = scores[at - 1], places[at - 1]
            at -= 1
        scores[at], places[at] = score, place
        count = min(count + 1, k)
    places[:count].sort()
    for i in range(count // 2):
        places[i], places[count - 1 - i] = places[count - 1 - i], places[i]
    return count


@njit(cache=True, nogil=True)
def choose(
    heads: Int,
    pool: Int,
    until: Int,
    base: int,
    node: int,
    before: int,
    k: int,
    ttl: int,
    strategy: int,
    seed: int,
    fading: Any,
    places: Int,
) -> int:
    """Up to `k` places of `node` with before − ttl ≤ time < before that are not retracted by then, the newest first;
    how many. `fading`: tau, the logarithm of the largest weight of an edge or more, and the weights by row, none where
    all are 1."""
    low = heads[node, START]
    high = first_not_before(pool, low, low + heads[node, LENGTH], before)
    if ttl > 0 and low < high and pool[low, TIME] < before - ttl:
        low = first_not_before(pool, low, high, before - ttl)
    gone = heads[node, GONE]
    if strategy == RECENT or (high - low <= k and gone == 0):
        return int(_recent(pool, until, low, high, before, k, places))
    key = mix(np.uint64(seed) ^ mix(np.uint64(node) ^ mix(np.uint64(before))))
    if strategy == UNIFORM:
        return int(_uniform(pool, until, low, high, before, k, places, key, gone))
    return int(_weighted(pool, until, low, high, before, k, places, key, base, fading))


@njit(cache=True, nogil=True)
def select(
    heads: Int,
    pool: Int,
    until: Int,
    size: int,
    base: int,
    nodes: Int,
    before: Int,
    k: int,
    ttl: int,
    strategy: int,
    seed: int,
    fading: Any,
) -> tuple[Int, Int, Int, Int]:
    """What `choose` finds of each of `nodes` (−1: nothing) as of its own of `before`, or the one: the row in `nodes`,
    neighbour, time and edge number of each, one after another."""
    out = np.empty((4, len(nodes) * k), np.int64)
    places = np.empty(k, np.int64)
    at = 0
    for i in range(len(nodes)):
        if 0 <= nodes[i] < size:
            limit = before[i if len(before) > 1 else 0]
            count = choose(heads, pool, until, base, nodes[i], limit, k, ttl, strategy, seed, fading, places)
            for j in range(count):
                word = pool[places[j], WORD]
                out[0, at] = i
                out[1, at] = word >> (EDGE_BITS + 2)
                out[2, at] = pool[places[j], TIME]
                out[3, at] = base + edge_of(word)
                at += 1
    return out[0, :at], out[1, :at], out[2, :at], out[3, :at]


@njit(cache=True, nogil=True)
def count_visible(heads: Int, pool: Int, until: Int, size: int, before: int, ttl: int) -> Int:
    """Of every node the entries that are seen as of `before`."""
    out = np.zeros(size, np.int64)
    for node in range(size):
        low = heads[node, START]
        high = first_not_before(pool, low, low + heads[node, LENGTH], before)
        if ttl > 0:
            low = first_not_before(pool, low, high, before - ttl)
        out[node] = high - low
        if heads[node, GONE] > 0:
            out[node] = 0
            for place in range(low, high):
                out[node] += _visible(pool, until, place, before)
    return out

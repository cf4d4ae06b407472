"""One step outwards from many nodes as of one moment: their neighbours, and who was reached, in one pass.

What `TemporalGraph.found` and then a table of who came first give, for the case that training and requests ask most of
all: everything is as of the same moment. So a node needs no table of (node, moment), only a mark.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from graph.adjacency import EDGE_BITS, GONE, LENGTH, START, WORD, Int, edge_of, first_not_before
from graph.lanes import LANES, all_apart
from graph.selection import RECENT, choose

_SHARE = 1.5
_EDGES = (1 << EDGE_BITS) - 1


class Marks:
    """Who was reached, and in which row: `array[node] − origin`, and nobody where that is negative.

    8 bytes a node. One thread uses it at a time. A search begins by moving `origin` past all rows of the last one, so
    nothing is cleared.
    """

    def __init__(self) -> None:
        self.array = np.zeros(0, np.int64)
        self.origin, self.count = 1, 0

    def begin(self) -> None:
        """Nobody is reached."""
        self.origin += self.count
        self.count = 0

    def room(self, size: int) -> None:
        """There may be `size` nodes; those reached stay so."""
        if size > len(self.array):
            grown = np.zeros(int(size * _SHARE), np.int64)
            grown[: len(self.array)] = self.array
            self.array = grown


@njit(cache=True, nogil=True)
def room_for(heads: Int, size: int, nodes: Int, k: int) -> tuple[int, int]:
    """How many edges `reach` can find at most; how many of one node."""
    total = widest = 0
    for node in nodes:
        if 0 <= node < size:
            length = min(k, heads[node, LENGTH])
            total += length
            widest = max(widest, length)
    return total, widest


@njit(cache=True, nogil=True)
def reach(
    heads: Int,
    pool: Int,
    until: Int,
    size: int,
    base: int,
    nodes: Int,
    before: int,
    k: int,
    ttl: int,
    strategy: int,
    seed: int,
    fading: Any,
    marks: Int,
    origin: int,
    count: int,
    targets: Int,
    sources: Int,
    times: Int,
    edges: Int,
    reached: Int,
    places: Int,
) -> tuple[int, int]:
    """Enter what `choose` finds of each of `nodes` into the four arrays, in turn, and who was not reached yet into
    `reached`. How many edges, and how many are reached now, `count` of them before."""
    at, one, word_ = np.uint64(0), np.uint64(1), np.uint64(WORD)
    flat = pool.reshape(-1)
    entries = pool.ctypes.data
    columns = targets.ctypes.data, sources.ctypes.data, times.ctypes.data, edges.ctypes.data
    # Unsigned places: signed ones would be looked at for counting from the end.
    for i in range(len(nodes)):
        node = nodes[np.uint64(i)]
        if not 0 <= node < size:
            continue
        low = heads[np.uint64(node), START]
        high = low + heads[np.uint64(node), LENGTH]
        if strategy != RECENT or heads[np.uint64(node), GONE] > 0:
            found = choose(heads, pool, until, base, node, before, k, ttl, strategy, seed, fading, places)
            for j in range(found):
                place = np.uint64(2 * places[j])
                word = flat[place + word_]
                targets[at], times[at], edges[at] = i, flat[place], base + edge_of(word)
                sources[at] = word >> (EDGE_BITS + 2)
                at += one
            continue
        # The newest edges, none of them retracted, stand in a row.
        if low < high and flat[np.uint64(2 * high - 2)] >= before:
            high = first_not_before(pool, low, high, before)
        if ttl > 0 and low < high and flat[np.uint64(2 * low)] < before - ttl:
            low = first_not_before(pool, low, high, before - ttl)
        found = min(k, high - low)
        if found < LANES:
            place = np.uint64(2 * high)
            for _ in range(found):
                place -= np.uint64(2)
                word = flat[place + word_]
                targets[at], times[at], edges[at] = i, flat[place], base + ((word >> 2) & _EDGES)
                sources[at] = word >> (EDGE_BITS + 2)
                at += one
            continue
        all_apart(entries + 16 * high, found, base, i, 8 * np.int64(at), columns)
        at += np.uint64(found)
    return int(at), _numbered(sources[: np.int64(at)], marks, origin, count, reached)


@njit(cache=True, nogil=True)
def _numbered(others: Int, marks: Int, origin: int, count: int, reached: Int) -> int:
    """Put rows in the place of nodes; how many are reached now."""
    now = np.uint64(count)
    for i in range(len(others)):
        # No branches on who is new, which nobody foretells.
        at = np.uint64(i)
        other = np.uint64(others[at])
        known = marks[other] - origin
        row = np.int64(now) if known < 0 else known
        marks[other] = origin + row
        reached[now] = other
        now += np.uint64(known < 0)
        others[at] = row
    return int(now)


@njit(cache=True, nogil=True)
def reach_once(
    heads: Int,
    pool: Int,
    until: Int,
    size: int,
    base: int,
    nodes: Int,
    before: int,
    k: int,
    ttl: int,
    strategy: int,
    seed: int,
    fading: Any,
    marks: Int,
    origin: int,
    count: int,
) -> tuple[Int, Int]:
    """`reach` into new arrays."""
    bound, widest = room_for(heads, size, nodes, k)
    out, reached = np.empty((4, bound), np.int64), np.empty(count + bound, np.int64)
    found, now = reach(
        heads,
        pool,
        until,
        size,
        base,
        nodes,
        before,
        k,
        ttl,
        strategy,
        seed,
        fading,
        marks,
        origin,
        count,
        out[0],
        out[1],
        out[2],
        out[3],
        reached,
        np.empty(max(widest, 1), np.int64),
    )
    return out[:, :found], reached[count:now].copy()


@njit(cache=True, nogil=True)
def first_rows(nodes: Int, marks: Int, origin: int) -> tuple[Int, Int]:
    """Every node once, in the order of first coming, and the row of each; both empty where one has no mark."""
    first, rows = np.empty(len(nodes), np.int64), np.empty(len(nodes), np.int64)
    count, nobody = 0, -1
    for i in range(len(nodes)):
        node = nodes[i]
        if node < -1 or node >= len(marks):
            return first[:0], rows[:0]
        row = nobody if node < 0 else marks[node] - origin
        if row < 0:
            row = count
            first[count] = node
            count += 1
            if node < 0:
                nobody = row
            else:
                marks[node] = origin + row
        rows[i] = row
    return first[:count].copy(), rows


@njit(cache=True, nogil=True)
def mark(nodes: Int, marks: Int, origin: int, count: int) -> tuple[Int, Int]:
    """The row of each of `nodes`, of which those not reached yet get the next ones in turn, `count` being reached; and
    these."""
    rows, reached, now = np.empty(len(nodes), np.int64), np.empty(len(nodes), np.int64), 0
    for i in range(len(nodes)):
        if marks[nodes[i]] < origin:
            marks[nodes[i]] = origin + count + now
            reached[now] = nodes[i]
            now += 1
        rows[i] = marks[nodes[i]] - origin
    return rows, reached[:now]

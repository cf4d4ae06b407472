"""Blocks of a stream in native code: the ends of each numbered, looked around, its edges put in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from graph.adjacency import Int, insert
from graph.nodes import intern_ends
from graph.reach import reach, room_for

NODES, EDGE, BEFORE, ORIGIN, END, START, SEEDS, OUT, INTO, HOPS = range(10)
"""What is told of a turn in its row of `spans`: how many nodes there are, its first edge's number, the moment, the
marks' origin, where in the arena it ended (or would have to) and began, how many seeds there are, how many entries were
made in either plane; then of each hop:"""

AT, BOUND, FOUND, REACHED = range(4)
FIELDS = 4
"""Where its four columns begin, each behind the other by how much, how many edges were found, and nodes reached, which
stand behind the columns, and their moments behind them."""


@njit(cache=True, nogil=True)
def _seeds(ends: Int, marks: Int, origin: int, rows: Int, seeds: Int) -> int:
    """The nodes of `ends`, each once, edge by edge, and each end's row (2 × edges); how many."""
    count, n = 0, ends.shape[1]
    for i in range(n):
        for end in range(2):
            node = np.uint64(ends[end, i])
            row = marks[node] - origin
            if row < 0:
                row = count
                marks[node] = origin + row
                seeds[row] = node
                count += 1
            rows[end * n + i] = row
    return count


@njit(cache=True, nogil=True)
def _look(
    planes: Any, until: Int, place: Any, before: int, kinds: Int, taus: Any, marks: Int, arena: Int, told: Int
) -> bool:
    """All hops from the seeds, which end at `told[END]` of the arena; False where that has no room."""
    at, origin = told[END], told[ORIGIN]
    _, base, ttl, _ = place
    frontier, alike = arena[at - 2 * told[SEEDS] : at - told[SEEDS]], np.empty(0)
    for hop in range(len(kinds)):
        k, inward, strategy, seed = kinds[hop, 0], kinds[hop, 1], kinds[hop, 2], kinds[hop, 3]
        heads, pool, _ = planes[1] if inward else planes[0]
        bound, widest = room_for(heads, told[NODES], frontier, k)
        behind = at + 4 * bound
        told[END], told[ORIGIN] = behind + 2 * bound, origin
        if behind + 2 * bound > len(arena):
            return False
        found, reached = reach(
            heads, pool, until, told[NODES], base, frontier, before, k, ttl, strategy, seed, (taus[hop], 0.0, alike),
            marks, origin, 0, arena[at : at + bound], arena[at + bound : at + 2 * bound],
            arena[at + 2 * bound : at + 3 * bound], arena[at + 3 * bound : behind], arena[behind:],
            np.empty(max(widest, 1), np.int64),
        )  # fmt: skip
        origin += reached
        arena[behind + reached : behind + 2 * reached] = before
        frontier = arena[behind : behind + reached]
        of = HOPS + FIELDS * hop
        told[of + AT], told[of + BOUND], told[of + FOUND], told[of + REACHED] = at, bound, found, reached
        at = behind + 2 * reached
    told[END], told[ORIGIN] = at, origin
    return True


@njit(cache=True, nogil=True)
def _turn(
    ids: Any,
    planes: Any,
    columns: Any,
    place: Any,
    block: Any,
    kinds: Int,
    taus: Any,
    marks: Int,
    arena: Int,
    told: Int,
) -> bool:
    """One block: source, target and time. See `turns`."""
    source, target, time = block
    n, at = len(time), told[START]
    ends = np.empty((2, n), np.int64)
    told[NODES] = intern_ends(ids[0], ids[1], told[NODES], source, target, ends)
    before = time.min()
    told[EDGE], told[BEFORE], told[END] = place[0] + place[1], before, at + 6 * n
    if at + 6 * n > len(arena):
        return False
    start = at + 2 * n
    seeds = _seeds(ends, marks, told[ORIGIN], arena[at:start], arena[start:])
    arena[start + seeds : start + 2 * seeds] = before
    told[SEEDS], told[END] = seeds, start + 2 * seeds
    told[ORIGIN] += seeds
    if not _look(planes, columns[3], place, before, kinds, taus, marks, arena, told):
        return False
    edge, _, _, both = place
    for i in range(n):
        columns[0][edge + i], columns[1][edge + i], columns[2][edge + i] = ends[0, i], ends[1, i], time[i]
    heads, pool, control = planes[0]
    told[OUT] = insert(heads, pool, control, ends[0], ends[1], time, edge, both, 0)
    if both:
        told[INTO] = 0
    else:
        heads, pool, control = planes[1]
        told[INTO] = insert(heads, pool, control, ends[1], ends[0], time, edge, False, 0)
    return True


@njit(cache=True, nogil=True)
def turns(
    ids: Any, planes: Any, columns: Any, place: Any, stream: Any, block: int, kinds: Int, taus: Any, marks: Int,
    arena: Int, spans: Int,
) -> tuple[int, int, int]:  # fmt: skip
    """Of the edges of `stream` (source, target, time) block after block: number their ends, look around them by `kinds`
    (k, whether inward, strategy, seed), and put them in; as many blocks as `spans` has rows and the arena room, and
    none behind one whose entries found no room in a pool. How many are done, how many nodes there are, and the origin.

    `ids`: table and keys; `spans[0]` says from where on: NODES, ORIGIN and START. `planes`: the relation's two
    adjacencies, one twice where it is not directed. `columns`: source, target, time and until; `place`: how many edges
    there are, their base, the time to live, and whether the relation is not directed. All but arena and pools have
    room. Of a block that is not done, nothing but nodes may be new.
    """
    source, target, time = stream
    count, base, ttl, both = place
    entries = (2, 0) if both else (1, 1)
    done, largest, nodes, origin = 0, 0, spans[0, NODES], spans[0, ORIGIN]
    while done < len(spans):
        told = spans[done]
        if done > 0:
            told[NODES], told[ORIGIN], told[START] = nodes, origin, spans[done - 1, END]
            if told[START] + largest + largest // 4 > len(arena):
                break
        first = done * block
        last = min(first + block, len(time))
        part = source[first:last], target[first:last], time[first:last]
        here = count + first, base, ttl, both
        whole = _turn(ids, planes, columns, here, part, kinds, taus, marks, arena, told)
        nodes, origin = told[NODES], told[ORIGIN]
        if not whole:
            break
        done += 1
        largest = max(largest, told[END] - told[START])
        if told[OUT] < entries[0] * (last - first) or told[INTO] < entries[1] * (last - first):
            break
    return done, nodes, origin

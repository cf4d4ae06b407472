"""The neighbours of every node in the order of time, in one pool of memory: native code, no Python per edge.

A node's entries stand together in a segment of the pool, sorted by (time, order of coming). A segment that is full
moves to one twice as large; the old one is kept for the next node that needs its size. An entry is two words of 64
bits: the time, and neighbour, edge and marks together, so that what a query reads of it lies in one cache line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graph.columns import Column

Int = NDArray[np.int64]

START, LENGTH, CAPACITY, GONE = 0, 1, 2, 3
"""Columns of `heads`: where a node's segment lies, how much of it is used, its size, how many entries are retracted."""

TIME, WORD = 0, 1
"""Columns of the pool."""

RETRACTED, REVERSED = 1, 2
EDGE_BITS, NODE_BITS = 31, 30
"""A word is neighbour << 33 | edge << 2 | reversed << 1 | retracted."""

MAX_EDGES, MAX_NODES = 1 << EDGE_BITS, 1 << NODE_BITS
MIN_TIME, FOREVER = -(1 << 63), (1 << 63) - 1

_TOP, _FREE = 0, 1
"""Of `control`: where the unused end of the pool begins, and from there on the first free segment of each size."""

_MASK = MAX_EDGES - 1


@njit(cache=True, nogil=True)
def edge_of(word: int) -> int:
    return (word >> 2) & _MASK


@njit(cache=True, nogil=True)
def first_not_before(pool: Int, low: int, high: int, time: int) -> int:
    """The first place in [low, high) whose time is ≥ `time`; `high` where there is none."""
    if low == high or pool[high - 1, TIME] < time:
        return high
    while low < high:
        middle = (low + high) >> 1
        if pool[middle, TIME] < time:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _grown(heads: Int, pool: Int, control: Int, node: int) -> bool:
    """Move a node to a segment twice as large; False, and nothing is changed, where the pool has no room for it."""
    capacity = heads[node, CAPACITY]
    size, power = (2, 1) if capacity == 0 else (capacity * 2, 1)
    while (1 << power) < size:
        power += 1
    free = control[_FREE + power]
    if free >= 0:
        control[_FREE + power] = pool[free, TIME]
    elif control[_TOP] + size <= pool.shape[0]:
        free = control[_TOP]
        control[_TOP] += size
    else:
        return False
    start = heads[node, START]
    for i in range(heads[node, LENGTH]):
        pool[free + i, TIME] = pool[start + i, TIME]
        pool[free + i, WORD] = pool[start + i, WORD]
    if capacity > 0:
        pool[start, TIME] = control[_FREE + power - 1]
        control[_FREE + power - 1] = start
    heads[node, START] = free
    heads[node, CAPACITY] = size
    return True


@njit(cache=True, nogil=True)
def insert(
    heads: Int, pool: Int, control: Int, nodes: Int, others: Int, times: Int, edge: int, both: bool, begin: int
) -> int:
    """Enter neighbour `others[i]` of `nodes[i]` at `times[i]` by edge number `edge + i`, in turn; with `both` also the
    node as neighbour of the other, right behind. Begins at entry `begin`; how many entries are made."""
    entries = len(nodes) * 2 if both else len(nodes)
    for entry in range(begin, entries):
        i = np.uint64(entry >> 1 if both else entry)
        node, other, marks = nodes[i], others[i], 0
        if both and entry & 1:
            if node == other:
                continue
            node, other, marks = other, node, REVERSED
        # Unsigned places: signed ones are looked at first, as they may count from the end.
        time, row = times[i], np.uint64(node)
        length = heads[row, LENGTH]
        if length == heads[row, CAPACITY] and not _grown(heads, pool, control, node):
            return entry
        start = heads[row, START]
        at = np.uint64(start + length)
        if length > 0 and pool[at - np.uint64(1), TIME] > time:
            # It comes late: behind all that have its time or an earlier one.
            place = np.uint64(first_not_before(pool, start, start + length, time + 1))
            while at > place:
                pool[at, TIME] = pool[at - np.uint64(1), TIME]
                pool[at, WORD] = pool[at - np.uint64(1), WORD]
                at -= np.uint64(1)
        pool[at, TIME] = time
        pool[at, WORD] = (other << (EDGE_BITS + 2)) | ((edge + np.int64(i)) << 2) | marks
        heads[row, LENGTH] = length + 1
    return entries


@njit(cache=True, nogil=True)
def mark_retracted(heads: Int, pool: Int, node: int, time: int, edge: int) -> None:
    """Mark the entries of `edge`, which happened at `time`, in the segment of `node`."""
    start = heads[node, START]
    end = start + heads[node, LENGTH]
    at = first_not_before(pool, start, end, time)
    while at < end and pool[at, TIME] == time:
        word = pool[at, WORD]
        if edge_of(word) == edge and not word & RETRACTED:
            pool[at, WORD] = word | RETRACTED
            heads[node, GONE] += 1
        at += 1


@njit(cache=True, nogil=True)
def find_standing(
    heads: Int,
    pool: Int,
    until: Int,
    node: int,
    other: int,
    at: int,
    occurred: int,
    any_time: bool,
    either: bool,
    found: Int,
) -> int:
    """The edges from `node` to `other`, or of `either` direction, that stand at `at`, oldest first: of time `occurred`,
    or of `any_time` before `at`. How many there are; `found` takes as many as it has room for."""
    start = heads[node, START]
    end = first_not_before(pool, start, start + heads[node, LENGTH], at)
    place = start if any_time else first_not_before(pool, start, end, occurred)
    count = 0
    while place < end and (any_time or pool[place, TIME] == occurred):
        word = pool[place, WORD]
        if (word >> (EDGE_BITS + 2)) == other and (either or not word & REVERSED):
            edge = edge_of(word)
            if not (word & RETRACTED and until[edge] <= at):
                if count < found.shape[0]:
                    found[count] = edge
                count += 1
        place += 1
    return count


class Adjacency:
    """One direction of one relation: for every node its entries. `column` makes a growing array of a name."""

    def __init__(self, column: Any) -> None:
        self.heads: Column = column("heads", np.int64, 4)
        self.pool: Column = column("pool", np.int64, 2)
        self.control = np.full(_FREE + 64, -1, np.int64)
        self.control[_TOP] = 0
        self.size = 0

    @property
    def used(self) -> int:
        """Rows of the pool that are or were used."""
        return int(self.control[_TOP])

    def arrays(self) -> tuple[Int, Int, Int]:
        """Heads, pool and control."""
        return self.heads.array, self.pool.array, self.control

    def nodes(self, count: int) -> None:
        """There are `count` nodes now."""
        self.heads.room(count, fill=0)
        self.size = count

    def insert(self, nodes: Int, others: Int, times: Int, edge: int, *, both: bool = False, done: int = 0) -> None:
        """See `insert`; nodes are there already, and `done` entries too."""
        entries = len(nodes) * (1 + both)
        while done < entries:
            arrays = self.heads.array, self.pool.array, self.control
            done = insert(*arrays, nodes, others, times, edge, both, done)
            if done == entries:
                return
            # Twice the largest segment there is, and room for more.
            widest = int(self.heads.array[: self.size, CAPACITY].max(initial=1))
            self.pool.room(len(self.pool) + 2 * widest)

    def parts(self) -> dict[str, Int]:
        """All arrays as they lie in memory."""
        return {"heads": self.heads.array[: self.size], "pool": self.pool.array[: self.used], "control": self.control}

    def take(self, parts: Mapping[str, Int]) -> None:
        """Take up what `parts` gave."""
        self.heads.take(parts["heads"])
        self.pool.take(parts["pool"])
        self.control = parts["control"].copy()
        self.size = len(parts["heads"])

"""Draws that are functions of what they are for: the same alone as among others, now and later."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def mix(x: np.uint64) -> np.uint64:
    """64 even bits of 64, as splitmix64 makes them (Steele, Lea and Flood, *Fast splittable pseudorandom number
    generators*, OOPSLA 2014)."""
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def bits(seed: int, event: int, draw: int) -> np.uint64:
    """64 random bits of an event's draw, the same whatever was drawn before."""
    place = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(event) * np.uint64(0x9E3779B97F4A7C15)
    return mix(place + np.uint64(draw) * np.uint64(0xBF58476D1CE4E5B9))


@njit(cache=True, nogil=True)
def below(key: np.uint64, draw: int, limit: int) -> int:
    """A number in [0, limit), the `draw`-th of `key`; 53 bits, so even to 2⁻²² for a million."""
    return int((mix(key ^ mix(np.uint64(draw))) >> np.uint64(11)) * (1.0 / (1 << 53)) * limit)


_FEW = 32
"""Up to so many numbers a sorted run is quicker than a table."""


@njit(cache=True, nogil=True)
def _few(key: np.uint64, there: int, out: NDArray[np.int64]) -> None:
    count = len(out)
    for i in range(count):
        last = there - count + i
        chosen, at = below(key, i, last + 1), i
        while at > 0 and out[at - 1] > chosen:
            at -= 1
        if at > 0 and out[at - 1] == chosen:
            out[i] = last  # which is larger than all before it
            continue
        for j in range(i, at, -1):
            out[j] = out[j - 1]
        out[at] = chosen


@njit(cache=True, nogil=True)
def draw_distinct(key: np.uint64, there: int, out: NDArray[np.int64]) -> None:
    """Fill `out` with different numbers below `there`, rising; each set of them is as likely as any other (Floyd's
    algorithm: Bentley, *Programming pearls*, CACM 30(9), 1987). Of k numbers it costs O(k) on average.

    The table of who is drawn is open and keeps order (Amble and Knuth, *Ordered hash tables*, 1974): a number's place
    is its share of `there`, and of two that meet the larger moves on. So nothing has to be sorted (Gonnet and Munro,
    *The analysis of linear probing sort*, 1984).
    """
    count = len(out)
    if count <= _FEW:
        _few(key, there, out)
        return
    table = np.full(3 * count, -1, np.int64)
    share = 2.0 * count / there
    for i in range(count):
        last = there - count + i
        chosen = below(key, i, last + 1)
        at = int(chosen * share)
        while 0 <= table[at] < chosen:
            at += 1
        if table[at] == chosen:
            chosen = last
            at = int(chosen * share)
            while table[at] >= 0:
                at += 1
        while table[at] >= 0:
            table[at], chosen = chosen, table[at]
            at += 1
        table[at] = chosen
    filled = 0
    for number in table:
        if number >= 0:
            out[filled] = number
            filled += 1

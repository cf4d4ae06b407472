"""Rows by key in native code: a table of open addressing over an array of keys that others hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graph.draws import mix

Int = NDArray[np.int64]


@njit(cache=True, nogil=True)
def find(table: Int, keys: Int, key: int) -> Any:
    """The row of `key` in `keys` (−1 where there is none), and its place in `table`, whose length is a power of two and
    which holds row + 1 at a key's place, and 0 where none is. At most half of it may be taken."""
    mask = np.uint64(len(table) - 1)
    at = mix(np.uint64(key)) & mask
    while table[at] != 0:
        row = table[at] - 1
        if keys[np.uint64(row)] == key:
            return row, np.int64(at)
        at = (at + np.uint64(1)) & mask
    return np.int64(-1), np.int64(at)


@njit(cache=True, nogil=True)
def index(table: Int, keys: Int, count: int) -> None:
    """Put the first `count` of `keys`, which are different, into an empty table."""
    for row in range(count):
        table[find(table, keys, keys[row])[1]] = row + 1

"""Near-duplicates among many images, without comparing each with each.

Two perceptual hashes (128 bits, `images.likeness`) that differ in at most d bits agree in at least one of d + 1 bands
(the pigeonhole principle), so only those are compared that share a band. The bits of a band are drawn from all over the
image: the margins of many images are alike. What the hash lets through counts where the grey copies differ by at most
`tolerance` of 255 on average. Source: Manku, Jain and Das Sarma, Detecting near-duplicates for web crawling (2007).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BITS = 128
MOST = 2048
"""Hashes of one band that are compared each with each. Of more, each is compared with the `WINDOW` next to it in the
order of the rest of their bits: then what is alike may be missed, and the time stays bounded whatever comes."""
WINDOW = 64
_ROWS = 256
_ORDER = np.random.Generator(np.random.PCG64(20)).permutation(BITS)


def near_groups(
    hashes: NDArray[np.uint64], smalls: NDArray[np.uint8], distance: int = 4, tolerance: float = 6.0
) -> list[list[int]]:
    """Groups of rows that are alike, directly or by way of others; each sorted, the first of each ascending.

    `hashes` (n, 2) and `smalls` (n, any shape of so many pixels).
    """
    n = len(hashes)
    if n < 2:
        return []
    groups = Groups(n)
    flat = smalls.reshape(n, -1)
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(n, 16), axis=1)[:, _ORDER]
    packed = np.ascontiguousarray(np.packbits(bits, axis=1))
    words = packed.view(np.uint64).reshape(n, 2)
    for band in np.array_split(np.arange(BITS), distance + 1):
        rest = np.delete(bits, band, axis=1)
        order = np.lexsort((*_words(rest).T, *_words(bits[:, band]).T))
        keys = _words(bits[:, band])[order]
        starts = np.flatnonzero(np.any(keys[1:] != keys[:-1], axis=1)) + 1
        for bucket in np.split(order, starts):
            if len(bucket) > 1:
                _compare(bucket, words, flat, distance, tolerance, groups)
    return groups.found()


def _words(bits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Rows of bits as rows of 64-bit words, to be sorted and compared by."""
    data = np.packbits(bits, axis=1)
    padded = np.zeros((len(data), -(-data.shape[1] // 8) * 8), np.uint8)
    padded[:, : data.shape[1]] = data
    return padded.view(">u8").astype(np.uint64)


class Groups:
    """Disjoint sets of the rows 0 … n − 1, joined."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def top(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        a, b = self.top(i), self.top(j)
        if a != b:
            self._parent[max(a, b)] = min(a, b)

    def found(self) -> list[list[int]]:
        members: dict[int, list[int]] = {}
        for i in range(len(self._parent)):
            members.setdefault(self.top(i), []).append(i)
        return [rows for rows in members.values() if len(rows) > 1]


def _compare(
    bucket: NDArray[np.intp],
    words: NDArray[np.uint64],
    flat: NDArray[np.uint8],
    distance: int,
    tolerance: float,
    groups: Groups,
) -> None:
    """Join the rows of a bucket that are alike."""
    m = len(bucket)
    mine = words[bucket]
    reach = m if m <= MOST else WINDOW
    for at in range(0, m, _ROWS):
        rows = np.arange(at, min(at + _ROWS, m))
        others = np.arange(at + 1, min(rows[-1] + 1 + reach, m))
        if not len(others):
            continue
        differ = np.bitwise_count(mine[rows][:, None, :] ^ mine[others][None, :, :]).sum(axis=2)
        ahead = others[None, :] - rows[:, None]
        left, right = np.nonzero((differ <= distance) & (ahead > 0) & (ahead <= reach))
        for start in range(0, len(left), 65_536):
            a, b = bucket[rows[left[start : start + 65_536]]], bucket[others[right[start : start + 65_536]]]
            apart = np.abs(flat[a].astype(np.int16) - flat[b]).mean(axis=1)
            for i, j in zip(a[apart <= tolerance].tolist(), b[apart <= tolerance].tolist(), strict=True):
                groups.join(i, j)

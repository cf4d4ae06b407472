"""xxHash64: which group a key belongs to, the same in every engine and language; murmur2: which partition.

Source: the xxHash specification, version 0.1.1 (XXH64).
"""

from __future__ import annotations

from functools import lru_cache

_MASK = (1 << 64) - 1
_P1 = 0x9E3779B185EBCA87
_P2 = 0xC2B2AE3D27D4EB4F
_P3 = 0x165667B19E3779F9
_P4 = 0x85EBCA77C2B2AE63
_P5 = 0x27D4EB2F165667C5


def _rotl(x: int, r: int) -> int:
    return ((x << r) | (x >> (64 - r))) & _MASK


def _round(acc: int, lane: int) -> int:
    return (_rotl((acc + lane * _P2) & _MASK, 31) * _P1) & _MASK


def xxh64(data: bytes, seed: int = 0) -> int:
    """The 64-bit xxHash of `data`."""
    n, i = len(data), 0
    if n >= 32:
        acc = [(seed + _P1 + _P2) & _MASK, (seed + _P2) & _MASK, seed & _MASK, (seed - _P1) & _MASK]
        while i <= n - 32:
            for lane in range(4):
                at = i + 8 * lane
                acc[lane] = _round(acc[lane], int.from_bytes(data[at : at + 8], "little"))
            i += 32
        h = (_rotl(acc[0], 1) + _rotl(acc[1], 7) + _rotl(acc[2], 12) + _rotl(acc[3], 18)) & _MASK
        for lane in range(4):
            h = ((h ^ _round(0, acc[lane])) * _P1 + _P4) & _MASK
    else:
        h = (seed + _P5) & _MASK
    h = (h + n) & _MASK
    while i + 8 <= n:
        h = (_rotl(h ^ _round(0, int.from_bytes(data[i : i + 8], "little")), 27) * _P1 + _P4) & _MASK
        i += 8
    if i + 4 <= n:
        h = (_rotl(h ^ (int.from_bytes(data[i : i + 4], "little") * _P1) & _MASK, 23) * _P2 + _P3) & _MASK
        i += 4
    while i < n:
        h = (_rotl(h ^ (data[i] * _P5) & _MASK, 11) * _P1) & _MASK
        i += 1
    h = ((h ^ (h >> 33)) * _P2) & _MASK
    h = ((h ^ (h >> 29)) * _P3) & _MASK
    return h ^ (h >> 32)


@lru_cache(maxsize=1 << 16)
def group_of(key: str, groups: int) -> int:
    """The group of a key: `xxh64(key as UTF-8) mod groups`."""
    return xxh64(key.encode()) % groups if groups > 1 else 0


def murmur2(data: bytes) -> int:
    """The 32-bit MurmurHash2 that Kafka's clients place keys by (unsigned; seed 0x9747b28c).

    Source: A. Appleby, MurmurHash2; `org.apache.kafka.common.utils.Utils.murmur2` fixes the seed.
    """
    n, m, mask = len(data), 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ n) & mask
    whole = n & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ (k >> 24)) * m & mask)
    if n > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that every Kafka client gives a key: `(murmur2(key) & 0x7fffffff) mod partitions`."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions

"""Near-duplicates among many texts, without comparing each with each: MinHash over pairs of neighbouring words.

A text is the set of its pairs of neighbouring words (the first with none before it), in lower case, digits alike and
signs left out, as text classifiers of ours see it. Two texts are alike where the Jaccard index of their sets,
|A ∩ B| / |A ∪ B|, is at least `threshold`. Candidates share one of `BANDS` bands of `ROWS` MinHashes each: of pairs of
index j a share of 1 − (1 − j^4)^32, at 0.7 all but 2 of 10,000. Those whose MinHashes agree about as often are then
compared exactly.

All draws are fixed, so the same texts give the same groups. Sources: Broder, *On the resemblance and containment of
documents* (1997); Leskovec, Rajaraman and Ullman, *Mining of massive datasets*, chapter 3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from connectors.datasets.near import Groups

ROWS, BANDS = 4, 32
THRESHOLD = 0.7
MOST_WORDS = 10_000
"""Words of a text that are looked at, the first ones."""
WINDOW = 64
"""Texts that agree in a band are compared with so many of those behind them, in the order of all their MinHashes: then
what is alike is near, and the time stays bounded whatever comes."""

SLACK = 0.15
"""So much below the threshold MinHashes may say that a pair is, and it is compared exactly: of 128 of them the standard
deviation is 0.04."""

MOST_EXACT = 2_000_000
"""Pairs that are compared exactly; of any beyond, MinHashes alone say whether they are alike."""

# Languages that part no words by spaces are taken sign by sign.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_DIGIT = re.compile(r"\d")
_DRAWN = np.random.Generator(np.random.PCG64(21)).integers(0, 1 << 63, (2, ROWS * BANDS), dtype=np.uint64)
_CHUNK = 1 << 20


def near_texts(texts: Sequence[str], threshold: float = THRESHOLD) -> list[list[int]]:
    """Groups of texts that are alike, directly or by way of others; each sorted, the first of each ascending. A text
    without a word is like no other."""
    groups = Groups(len(texts))
    first: dict[bytes, int] = {}
    sets = []
    for i, one in enumerate(_shingles(texts)):
        if len(one) and (at := first.setdefault(one.tobytes(), i)) != i:
            groups.join(at, i)
        elif len(one):
            sets.append(one)
    rows = list(first.values())
    if len(rows) > 1:
        _join_alike(rows, sets, threshold, groups)
    return groups.found()


def _join_alike(rows: list[int], sets: list[NDArray[np.uint64]], threshold: float, groups: Groups) -> None:
    """Join the rows whose sets, one for each and no two the same, are alike."""
    signatures = _signatures(sets)
    whole = np.lexsort(signatures.T)
    left = MOST_EXACT
    for band in range(0, ROWS * BANDS, ROWS):
        order = whole[np.lexsort(signatures[whole, band : band + ROWS].T)]  # stable: by the whole within a band
        keys = signatures[order, band : band + ROWS]
        bucket = np.concatenate([[0], np.cumsum(np.any(keys[1:] != keys[:-1], axis=1))])
        tops = np.array([groups.top(i) for i in rows])
        for ahead in range(1, min(WINDOW, len(rows) - 1) + 1):
            together = np.flatnonzero(bucket[:-ahead] == bucket[ahead:])
            if not len(together):
                break
            a, b = order[together], order[together + ahead]
            apart = tops[a] != tops[b]
            a, b = a[apart], b[apart]
            said = (signatures[a] == signatures[b]).mean(axis=1)
            likely = said >= threshold - SLACK * (left > 0)
            for i, j, index in zip(a[likely].tolist(), b[likely].tolist(), said[likely].tolist(), strict=True):
                if groups.top(rows[i]) == groups.top(rows[j]):
                    continue
                left -= 1
                if (jaccard(sets[i], sets[j]) if left >= 0 else index) >= threshold:
                    groups.join(rows[i], rows[j])


def jaccard(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    """|A ∩ B| / |A ∪ B| of two sets, each as sorted numbers [n], n ≥ 1."""
    at = np.searchsorted(a, b)
    both = int((a[np.minimum(at, len(a) - 1)] == b).sum())
    return both / (len(a) + len(b) - both)


def _shingles(texts: Sequence[str]) -> list[NDArray[np.uint64]]:
    """Of each text its pairs of neighbouring words, as sorted hashes without doubles."""
    known: dict[str, int] = {}
    found = []
    for text in texts:
        words = _WORD.findall(_DIGIT.sub("0", text.lower()))[:MOST_WORDS]
        numbers = np.array([known.get(w) or known.setdefault(w, _hash(w)) for w in words], np.uint64)
        before = np.concatenate([np.zeros(1, np.uint64), numbers[:-1]]) if len(numbers) else numbers
        found.append(np.unique(_mixed(before * np.uint64(0x9E3779B97F4A7C15) + numbers)))
    return found


def _hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _signatures(sets: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint32]:
    """MinHashes [n, ROWS · BANDS]: of each set the least value of a · x + b, the upper 32 bits, for each drawn a, b."""
    out = np.empty((len(sets), ROWS * BANDS), np.uint32)
    first = 0
    while first < len(sets):
        last, size = first, 0
        while last < len(sets) and (last == first or size + len(sets[last]) <= _CHUNK):
            size += len(sets[last])
            last += 1
        every = np.concatenate(sets[first:last])
        starts = np.concatenate([[0], np.cumsum([len(one) for one in sets[first : last - 1]])]).astype(np.intp)
        for k, (a, b) in enumerate(_DRAWN.T):
            hashed = ((every * (a | np.uint64(1)) + b) >> np.uint64(32)).astype(np.uint32)
            out[first:last, k] = np.minimum.reduceat(hashed, starts)
        first = last
    return out

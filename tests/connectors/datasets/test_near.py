"""Near-duplicates are those that comparing each with each would find."""

import numpy as np
import pytest

from connectors.datasets import near
from connectors.datasets.near import near_groups


def by_brute_force(hashes, smalls, distance, tolerance):
    n = len(hashes)
    top = list(range(n))
    for i in range(n):
        for j in range(i + 1, n):
            close = int(np.bitwise_count(hashes[i] ^ hashes[j]).sum()) <= distance
            if close and np.abs(smalls[i].astype(int) - smalls[j]).mean() <= tolerance:
                a, b = top[i], top[j]
                top = [min(a, b) if t in (a, b) else t for t in top]
    groups = {}
    for i, t in enumerate(top):
        groups.setdefault(t, []).append(i)
    return [rows for rows in groups.values() if len(rows) > 1]


def clustered(n, seed):
    """Hashes of which many differ in a few bits, and grey copies of which some are apart."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2, (8, 128), dtype=np.uint8)
    bits = centres[rng.integers(0, 8, n)] ^ (rng.random((n, 128)) < 0.02)
    hashes = np.packbits(bits.astype(np.uint8), axis=1).view(">u8").astype(np.uint64)
    return hashes, rng.choice([100, 101, 180], (n, 1, 1)).astype(np.uint8) * np.ones((1, 16, 16), np.uint8)


@pytest.mark.parametrize("distance", [0, 1, 4, 7])
def test_bands_find_what_comparing_each_with_each_finds(distance):
    for seed in range(4):
        hashes, smalls = clustered(150, seed)
        found = near_groups(hashes, smalls, distance)
        assert found == by_brute_force(hashes, smalls, distance, 6.0)
        assert distance < 4 or found


def test_few_are_none():
    for n in (0, 1):
        assert near_groups(np.zeros((n, 2), np.uint64), np.zeros((n, 16, 16), np.uint8)) == []
    assert near_groups(np.zeros((2, 2), np.uint64), np.zeros((2, 16, 16), np.uint8)) == [[0, 1]]


def test_a_bucket_that_is_too_full_costs_a_window_and_still_finds_the_same(monkeypatch):
    compared = []
    monkeypatch.setattr(near, "MOST", 50)
    monkeypatch.setattr(near, "WINDOW", 8)
    count = np.bitwise_count
    monkeypatch.setattr(np, "bitwise_count", lambda x: compared.append(x.size // 2) or count(x))
    n = 2000
    hashes, smalls = np.zeros((n, 2), np.uint64), np.zeros((n, 16, 16), np.uint8)
    assert near_groups(hashes, smalls) == [list(range(n))]
    assert 0 < sum(compared) < 5 * n * (near._ROWS + 8) < n * n

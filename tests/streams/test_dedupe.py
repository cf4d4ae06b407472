"""Duplicates are the same for every split, and after being saved and restored."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.dedupe import Dedupe, Seen
from tidemill import state as states
from tidemill.block import Block, column


def block(rows, stream="s"):
    n = len(rows)
    zeros = np.zeros(n, np.int32)
    return Block(
        stream,
        "data.s",
        np.array([t for t, _, _ in rows], np.int64),
        column([id for _, _, id in rows], np.object_),
        column([source for _, source, _ in rows], np.object_),
        zeros,
        np.arange(n),
        zeros,
        {},
    )


def naive(rows, window, groups=None):
    kept, out = {}, []
    for (t, source, id), group in zip(rows, groups or [0] * len(rows), strict=True):
        name = (source, id, group)
        new = name not in kept or kept[name] < t - window
        if new:
            kept[name] = t
        out.append(new)
    return out


def groups_of(rows, seed):
    return np.random.default_rng(seed).integers(0, 3, size=len(rows))


ROWS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab"), st.sampled_from("xyz")), max_size=40).map(sorted)


@given(
    ROWS, st.integers(0, 12), st.lists(st.integers(0, 40), max_size=5), st.booleans(), st.none() | st.integers(0, 99)
)
def test_any_split_drops_the_same(rows, window, cuts, saved, seed):
    dedupe, got = Dedupe(window), []
    groups = None if seed is None else groups_of(rows, seed)
    edges = [0, *sorted(min(c, len(rows)) for c in cuts), len(rows)]
    for a, b in itertools.pairwise(edges):
        part = block(rows[a:b])
        mask = dedupe.admit(part, part.time, None if groups is None else groups[a:b])
        got += [True] * (b - a) if mask is None else mask.tolist()
        if saved:
            data = states.encode(dedupe.snapshot())
            dedupe = Dedupe(window)
            dedupe.restore(states.decode(data, list[Seen]))
    assert got == naive(rows, window, None if groups is None else groups.tolist())


@given(ROWS, st.none() | st.integers(0, 99))
def test_without_lateness_only_ties_can_repeat(rows, seed):
    groups = None if seed is None else groups_of(rows, seed)
    mask = Dedupe(0, ties_only=True).admit(block(rows), block(rows).time, groups) if rows else None
    got = [True] * len(rows) if mask is None else mask.tolist()
    assert got == naive(rows, 0, None if groups is None else groups.tolist())


def test_streams_are_judged_apart():
    dedupe = Dedupe(10)
    for stream in ("flights", "labels.flights"):
        part = block([(1, "/me", "1")], stream)
        assert dedupe.admit(part, part.time) is None


def test_memory_is_bounded_by_the_window():
    dedupe = Dedupe(100)
    for at in range(0, 100_000, 500):
        part = block([(at + i, "/s", f"e{at + i}") for i in range(500)])
        assert dedupe.admit(part, part.time) is None
        assert len(dedupe) <= 1200


def test_many_sources_cost_no_more_than_one():
    """Work and memory go by events, not by sources: each of these has a source of its own."""
    dedupe = Dedupe(1_000)
    for at in range(0, 100_000, 5_000):
        part = block([(at + i, f"/device/{at + i}", "1") for i in range(5_000)])
        assert dedupe.admit(part, part.time) is None
        again = block([(at + 5_000, f"/device/{at + 4_999}", "1")])
        assert dedupe.admit(again, again.time) is not None
        assert len(dedupe) <= 11_000
    (seen,) = dedupe.snapshot()
    assert len(seen.sources) == len(seen.ids) <= 11_000

"""Order: lateness is a function of the log, and release order of its contents only."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidemill.block import Block, column
from tidemill.order import Batch, PartitionClock, watermark
from tidemill.time import MAX_TIME, MIN_TIME


def block(stream: str, times: list[int], partition: int = 0, ids: list[str] | None = None) -> Block:
    n = len(times)
    return Block(
        stream,
        f"data.{stream}",
        np.array(times, dtype=np.int64),
        column(ids or [f"{stream}{partition}/{i}" for i in range(n)], np.object_),
        column([f"/{stream}"] * n, np.object_),
        np.full(n, partition, np.int32),
        np.arange(n, dtype=np.int64),
        np.zeros(n, np.int32),
        {"x": np.arange(n, dtype=np.float64)},
    )


def reference(times: list[int], lateness: int, max_ahead: int, first: int) -> tuple[list[bool], list[bool], int]:
    clock, late, early = MIN_TIME, [], []
    for t in times:
        is_early = t > (first if clock == MIN_TIME else clock) + max_ahead
        is_late = not is_early and clock != MIN_TIME and t < clock - lateness
        late.append(is_late)
        early.append(is_early)
        if not is_early:
            clock = max(clock, t)
    return late, early, clock


@given(
    st.lists(st.integers(0, 100), max_size=40),
    st.integers(0, 30),
    st.integers(0, 50),
    st.lists(st.integers(0, 40), max_size=4),
    st.integers(1, 50),
)
def test_lateness_is_the_same_for_every_split(times, lateness, max_ahead, cuts, appended):
    late, early, clock = reference(times, lateness, max_ahead, appended)
    got = PartitionClock()
    edges = [0, *sorted(min(c, len(times)) for c in cuts), len(times)]
    got_late: list[bool] = []
    got_early: list[bool] = []
    for a, b in itertools.pairwise(edges):
        x, y = got.admit(np.array(times[a:b], dtype=np.int64), lateness, max_ahead, appended)
        got_late += x.tolist()
        got_early += y.tolist()
    assert (got_late, got_early, got.largest) == (late, early, clock)


def test_an_unknown_append_time_makes_no_first_event_early():
    for unknown in (0, -1000):
        _, early = PartitionClock().admit(np.array([1 << 50], np.int64), 0, 5, unknown)
        assert not early.any()


def test_a_clock_may_be_set_as_far_as_either_clock_knows_of():
    clock = PartitionClock(largest=100)
    assert clock.may_advance(110, appended=50, max_ahead=10)
    assert not clock.may_advance(111, appended=50, max_ahead=10)
    assert clock.may_advance(1_010, appended=1_000, max_ahead=10)
    assert not clock.may_advance(1_011, appended=1_000, max_ahead=10)
    assert PartitionClock().may_advance(1 << 60, appended=0, max_ahead=10)


def test_a_promise_is_a_floor_and_an_advance_is_an_event():
    clock = PartitionClock()
    clock.admit(np.array([100], np.int64), 10, 1000)
    assert clock.floor(10) == 90
    clock.advance(120, promise=False)
    assert clock.floor(10) == 110
    clock.advance(121, promise=True)
    assert clock.floor(10) == 121
    late, _ = clock.admit(np.array([120, 121], np.int64), 10, 1000)
    assert late.tolist() == [True, False]


def test_the_watermark_waits_for_the_slowest_partition():
    a, b = PartitionClock(largest=50), PartitionClock()
    assert watermark([a, b], 5) == MIN_TIME
    b.advance(20, promise=False)
    assert watermark([a, b], 5) == 15
    assert watermark([], 5) == MAX_TIME


@given(st.lists(st.integers(0, 8), max_size=30), st.lists(st.integers(0, 8), max_size=30), st.randoms())
def test_sorting_does_not_depend_on_interleaving(left, right, random):
    blocks = [block("a", [t], i, [f"a{i}"]) for i, t in enumerate(left)]
    blocks += [block("b", [t], i, [f"b{i}"]) for i, t in enumerate(right)]
    shuffled = blocks[:]
    random.shuffle(shuffled)

    def listed(batch: Batch) -> list[tuple[int, str]]:
        return [
            (int(t), batch.blocks[batch.streams[k]].ids[r])
            for t, k, r in zip(batch.time, batch.kind, batch.row, strict=True)
        ]

    assert listed(Batch.sort(blocks)) == listed(Batch.sort(shuffled))
    assert listed(Batch.sort(blocks)) == sorted(listed(Batch.sort(blocks)))


def test_take_and_cut_keep_rows_aligned():
    batch = Batch.sort([block("a", [1, 5, 9]), block("b", [2, 5, 7])], wake=9)
    pieces = batch.cut([2, 4])
    assert [p.time.tolist() for p in pieces] == [[1, 2], [5, 5], [7, 9]]
    assert [p.wake for p in pieces] == [None, None, 9]
    for piece in pieces:
        for k, r, t in zip(piece.kind, piece.row, piece.time, strict=True):
            assert piece.blocks[piece.streams[k]].time[r] == t

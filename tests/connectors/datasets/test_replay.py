"""Replays keep event-time order among streams, lose no row, and hand each over when it is due."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.datasets.replay import Slice, merge, pace
from tidemill.errors import ConfigError

STREAMS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.lists(st.integers(-50, 50), max_size=30).map(lambda v: np.sort(np.array(v, dtype=np.int64))),
)


def rows(slices):
    return [(s.stream, i) for s in slices for i in range(s.start, s.stop)]


@given(STREAMS, st.integers(1, 5))
def test_exact_order_is_by_time_then_stream(streams, max_rows):
    slices = list(merge(streams, max_rows=max_rows))
    expected = sorted((int(t), name, i) for name, times in streams.items() for i, t in enumerate(times))
    assert rows(slices) == [(name, i) for _, name, i in expected]
    assert all(0 < s.stop - s.start <= max_rows and s.time == streams[s.stream][s.stop - 1] for s in slices)


@given(STREAMS, st.integers(1, 40))
def test_a_window_loses_nothing_and_keeps_streams_within_it(streams, window):
    seen = rows(merge(streams, window=window))
    assert sorted(seen) == sorted((name, i) for name, times in streams.items() for i in range(len(times)))
    for name in streams:
        assert [i for n, i in seen if n == name] == list(range(len(streams[name])))
    latest = -(10**9)
    for name, i in seen:
        time = int(streams[name][i])
        assert time > latest - window
        latest = max(latest, time)


def test_a_stream_out_of_order_is_refused():
    with pytest.raises(ConfigError, match="flights"):
        list(merge({"flights": np.array([2, 1])}))


class Clock:
    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


SLICES = [Slice("a", 0, 10, 0), Slice("b", 0, 5, 60_000_000), Slice("a", 10, 20, 120_000_000)]


@pytest.mark.parametrize(
    ("pacing", "due"),
    [({}, [0, 0, 0]), ({"speed": 60}, [0, 1, 2]), ({"rate": 10}, [0, 1, 1.5])],
)
def test_slices_come_when_due(pacing, due):
    clock = Clock()
    got = [(s, clock.time - 100) for s in pace(SLICES, **pacing, now=clock.now, sleep=clock.sleep)]
    assert got == list(zip(SLICES, due, strict=True))


def test_a_slow_taker_catches_up():
    clock, got = Clock(), []
    for _ in pace(SLICES, speed=60, now=clock.now, sleep=clock.sleep):
        got.append(clock.time - 100)
        clock.time += 1.5 if len(got) == 1 else 0
    assert got == [0, 1.5, 2]


@pytest.mark.parametrize("pacing", [{"speed": 0}, {"rate": -1}, {"speed": float("nan")}, {"speed": 1, "rate": 1}])
def test_no_such_pace(pacing):
    with pytest.raises(ConfigError):
        list(pace(SLICES, **pacing))

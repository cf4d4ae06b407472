"""Running statistics against the sums written out."""

from __future__ import annotations

import numpy as np
import pytest

from streams.stats import Running, count, fading, key_maker, rate, row_key
from tidemill.time import HOUR


def test_counts_and_means_are_those_of_the_values() -> None:
    spec = Running("r", ("k",))
    table = spec.table()
    values = np.random.default_rng(1).integers(0, 2, size=200).astype(float)
    for t, value in enumerate(values.tolist()):
        spec.adder(table)("x", t, value)
    row = table.get("x")
    assert row is not None and row["count"] == 200 and row["last"] == 199
    assert row["mean"] == pytest.approx(values.mean(), abs=1e-12)


def test_fading_counts_are_the_weighted_sums() -> None:
    spec = Running("r", ("k",), half_life=3600.0)
    table = spec.table()
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.integers(0, HOUR, size=50)).tolist()
    values = rng.random(50).tolist()
    for t, value in zip(times, values, strict=True):
        spec.adder(table)("x", t, value)
    row = table.get("x")
    weights = [0.5 ** ((times[-1] - t) / HOUR) for t in times]
    assert row is not None and row["count"] == pytest.approx(sum(weights), rel=1e-12)
    assert row["mean"] == pytest.approx(np.average(values, weights=weights), rel=1e-12)
    later = times[-1] + 2 * HOUR
    assert count(row, later, 3600.0) == pytest.approx(sum(weights) / 4, rel=1e-12)
    smoothed = (sum(weights) / 4 * row["mean"] + 5 * 0.2) / (sum(weights) / 4 + 5)
    assert rate(row, 0.2, 5.0, later, 3600.0) == pytest.approx(smoothed, rel=1e-12)


def test_a_value_out_of_order_neither_fades_nor_turns_time_back() -> None:
    spec = Running("r", half_life=3600.0)
    table = spec.table()
    spec.adder(table)("all", 10 * HOUR, 1.0)
    spec.adder(table)("all", HOUR, 0.0)
    assert table.get("all") == {"count": 2.0, "mean": 0.5, "last": 10 * HOUR}


def test_keys() -> None:
    assert key_maker(("a", "b"))({"a": 1, "b": "x", "c": 0}) == "1/x"
    assert key_maker(("a", "b"))({"a": 1, "b": None}) is None
    assert key_maker(("a",))({"a": None}) is None and key_maker(("a",))({"a": 7}) == "7"
    assert key_maker(())({}) == "all" == row_key()
    assert row_key("a", None) is None
    assert rate(None, 0.3, 5.0) == 0.3 and count(None) == 0.0
    assert fading(HOUR, 3600.0) == 0.5

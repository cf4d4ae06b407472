"""Local wall clocks to UTC: equal to the standard library's, one time at a time, also where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.localtime import day_number, to_utc, transitions

ZONES = (
    "America/New_York",
    "America/Phoenix",
    "America/Puerto_Rico",
    "Pacific/Honolulu",
    "Europe/Dublin",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Apia",  # skipped 2011-12-30 altogether
    "Asia/Kathmandu",
)
EPOCH = datetime(1970, 1, 1)


def expected(zone: str, local: int, fold: int) -> int:
    wall = (EPOCH + timedelta(minutes=local)).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int((wall.astimezone(UTC) - EPOCH.replace(tzinfo=UTC)) / timedelta(minutes=1))


def minute_of(*parts: int) -> int:
    return int((datetime(*parts) - EPOCH) / timedelta(minutes=1))


@given(
    zone=st.sampled_from(ZONES),
    fold=st.integers(0, 1),
    minutes=st.lists(st.integers(minute_of(2005, 1, 1), minute_of(2025, 1, 1)), min_size=1, max_size=5),
)
def test_equals_the_standard_library_at_any_time(zone: str, fold: int, minutes: list[int]) -> None:
    got = to_utc(zone, np.array(minutes, dtype=np.int64), fold)
    assert got.tolist() == [expected(zone, m, fold) for m in minutes]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("fold", [0, 1])
def test_equals_the_standard_library_at_every_minute_around_changes(zone: str, fold: int) -> None:
    at, offset = transitions(zone, minute_of(2011, 1, 1) // 1440, minute_of(2014, 1, 1) // 1440)
    for change, before in zip(at.tolist(), offset.tolist(), strict=False):
        reach = 25 * 60 if zone == "Pacific/Apia" else 150
        local = np.arange(change + before - reach, change + before + reach, dtype=np.int64)
        assert to_utc(zone, local, fold).tolist() == [expected(zone, m, fold) for m in local.tolist()]


def test_new_york_changes_twice_a_year_and_phoenix_never() -> None:
    first, last = minute_of(2013, 1, 1) // 1440, minute_of(2013, 12, 31) // 1440
    at, offset = transitions("America/New_York", first, last)
    assert at.tolist() == [minute_of(2013, 3, 10, 7), minute_of(2013, 11, 3, 6)]
    assert offset.tolist() == [-300, -240, -300]
    assert len(transitions("America/Phoenix", first, last)[0]) == 0


def test_empty_and_unknown() -> None:
    assert len(to_utc("America/New_York", np.empty(0, dtype=np.int64))) == 0
    with pytest.raises(ZoneInfoNotFoundError):
        to_utc("America/Gotham", np.zeros(1, dtype=np.int64))


@given(st.dates())
def test_day_number(date: object) -> None:
    def one(name: str) -> np.ndarray:
        return np.array([getattr(date, name)], dtype=np.int64)

    got = day_number(one("year"), one("month"), one("day"))
    assert got.tolist() == [(date - EPOCH.date()).days]  # type: ignore[operator]

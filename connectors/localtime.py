"""Local wall-clock times to UTC, for whole columns at once, with summer time right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Minutes = NDArray[np.int64]

MINUTE = 60_000_000
"""Microseconds in a minute."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=256)
def transitions(zone: str, first_day: int, last_day: int) -> tuple[Minutes, Minutes]:
    """The changes of a zone's UTC offset between two days (counted from 1970-01-01, both included).

    Returns (`at`, `offset`): `at[i]` is the UTC minute since the epoch at which the offset (in minutes) changes from
    `offset[i]` to `offset[i + 1]`. Offsets are whole minutes, which all zones have kept since 1972. A change and its
    reversal within one day would be missed; no zone has made one.

    Raises `zoneinfo.ZoneInfoNotFoundError` for an unknown zone.
    """
    tz = ZoneInfo(zone)

    def offset(minute: int) -> int:
        found = (_EPOCH + timedelta(minutes=minute)).astimezone(tz).utcoffset()
        assert found is not None
        return int(found.total_seconds() // 60)

    at: list[int] = []
    offsets = [offset(first_day * 1440)]
    for day in range(first_day, last_day + 1):
        low, high = day * 1440, (day + 1) * 1440
        after = offset(high)
        if after == offsets[-1]:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            if offset(middle) == offsets[-1]:
                low = middle
            else:
                high = middle
        at.append(high)
        offsets.append(after)
    return np.array(at, dtype=np.int64), np.array(offsets, dtype=np.int64)


def to_utc(zone: str, local: Minutes, fold: int = 0) -> Minutes:
    """UTC minutes since the epoch of local wall-clock minutes since 1970-01-01 00:00 *local*.

    With an offset change at UTC minute T from a to b, wall clocks in [T + b, T + a) happen twice where b < a, and those
    in [T + a, T + b) never where b > a. `fold` means what it does in PEP 495: 0 takes the offset before the change in
    both cases (the first of two, and past the gap for a time that never was), 1 takes the one after. So the boundary
    between the two offsets stands at T + max(a, b) on the wall clock for fold 0, and at T + min(a, b) for fold 1.
    """
    if len(local) == 0:
        return np.empty(0, dtype=np.int64)
    at, offset = transitions(zone, int(local.min()) // 1440 - 2, int(local.max()) // 1440 + 2)
    pick = np.minimum if fold else np.maximum
    boundary = at + pick(offset[:-1], offset[1:])
    utc: Minutes = local - offset[np.searchsorted(boundary, local, side="right")]
    return utc


def day_number(year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]) -> NDArray[np.int64]:
    """Days since 1970-01-01 of calendar dates."""
    months = (year - 1970) * 12 + (month - 1)
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + (day - 1)

"""Event time: UTC microseconds since the Unix epoch, and the clocks that tell the time of day."""

from __future__ import annotations

import time as _time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

from tidemill.errors import WrongTypeError

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

MIN_TIME = -(1 << 62)
"""Before every event."""
MAX_TIME = 1 << 62
"""After every event."""

FIRST_TIME = -62_135_596_800 * SECOND
"""The first moment of year 1, the earliest that an event can have."""
END_OF_TIME = 253_402_300_800 * SECOND
"""The moment after year 9999."""

_EPOCH = datetime(1970, 1, 1)  # without a zone, so that isoformat adds none
_FACTORS = {"us": 1, "ms": 1_000, "s": SECOND}


class Clock(Protocol):
    """What tells the time of day. Job steps never see one; engines, doors and tools are given one."""

    def now(self) -> int:
        """UTC microseconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return _time.time_ns() // 1_000


class ManualClock:
    """A clock that moves only when told, for tests and simulations."""

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def advance(self, micros: int) -> None:
        self._now += micros


def from_rfc3339(text: str) -> int:
    """Microseconds of an RFC 3339 timestamp; digits beyond are cut off. A missing offset means UTC.

    Raises `WrongTypeError` where the text is no timestamp, or one outside the years 1 to 9999 in UTC.
    """
    try:
        moment = datetime.fromisoformat(text.upper() if text.endswith("z") or "t" in text else text)
        micros = round_micros(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)
    except ValueError:
        micros = END_OF_TIME
    if not FIRST_TIME <= micros < END_OF_TIME:
        raise WrongTypeError("not a timestamp", wanted="RFC 3339, as 2013-01-01T05:15:00Z", got=repr(text)[:80])
    return micros


def round_micros(moment: datetime) -> int:
    """Exact microseconds of an aware datetime (no float on the way)."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def to_rfc3339(micros: int) -> str:
    """RFC 3339 text in UTC, with as many fractional digits as it needs (none, or six).

    Raises `OverflowError` outside the years 1 to 9999.
    """
    days, rest = divmod(micros, DAY)  # split so, timedelta has nothing left to normalise
    return (_EPOCH + timedelta(days, *divmod(rest, SECOND))).isoformat() + "Z"


def show_span(micros: int) -> str:
    """A stretch of time for a person, exactly: 5,400,000,000 is `1 h 30 min`, 250,000 is `0.25 s`, 0 is `0 s`."""
    sign, rest = "-" if micros < 0 else "", abs(micros)
    parts = []
    for unit, size in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        count, rest = divmod(rest, size)
        parts += [f"{count} {unit}"] if count else []
    if rest or not parts:
        whole, fraction = divmod(rest, SECOND)
        parts.append(f"{whole}.{fraction:06}".rstrip("0").rstrip(".") + " s")
    return sign + " ".join(parts)


def parse_time(value: object, unit: str) -> int:
    """Event time from a payload value: a text is RFC 3339; a number counts `unit` (`us`, `ms` or `s`) since the epoch.

    Raises `WrongTypeError` where the value is neither, is not finite, or lies outside the years 1 to 9999.
    """
    if isinstance(value, str):
        return from_rfc3339(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and unit in _FACTORS:
        try:
            micros = value * _FACTORS[unit] if isinstance(value, int) else round(value * _FACTORS[unit])
        except (OverflowError, ValueError):
            micros = MAX_TIME
        if FIRST_TIME <= micros < END_OF_TIME:
            return micros
    raise WrongTypeError("not an event time", wanted=f"a time in {unit}", got=repr(value)[:80])


def parse_times(values: Sequence[object], unit: str) -> Sequence[int]:
    """`parse_time` of each; of plain integers, the most frequent kind, without a call for each."""
    if set(map(type, values)) == {int}:
        whole = cast(Sequence[int], values)
        for end in (min(whole), max(whole)):
            parse_time(end, unit)
        factor = _FACTORS[unit]
        return whole if factor == 1 else [v * factor for v in whole]
    return [parse_time(v, unit) for v in values]

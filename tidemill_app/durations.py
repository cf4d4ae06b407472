"""Stretches of time as people write them: `90s`, `15m`, `12h`, `7d`, `2w`, or `forever`."""

from __future__ import annotations

import re

from tidemill.errors import ConfigError

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_FORM = re.compile(r"(\d+)\s*(ms|s|m|h|d|w)")


def parse_millis(text: str) -> int:
    """Milliseconds; −1 for `forever`. Raises `ConfigError`."""
    if text.strip().lower() in ("forever", "-1"):
        return -1
    if not (found := _FORM.fullmatch(text.strip().lower())) or int(found[1]) == 0:
        raise ConfigError("not a stretch of time", wanted="as 90s, 15m, 12h, 7d, 2w or forever", got=repr(text))
    return int(found[1]) * _UNITS[found[2]]


def show_millis(millis: int) -> str:
    """The shortest of those forms: 604,800,000 is `1w`, −1 `forever`."""
    if millis < 0:
        return "forever"
    unit = next(u for u in reversed(_UNITS) if millis % _UNITS[u] == 0)
    return f"{millis // _UNITS[unit]}{unit}"

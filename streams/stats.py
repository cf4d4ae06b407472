"""Running statistics by key: what is known of a carrier, a route, a user before this moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp2
from typing import Any, Literal

from streams.table import Table
from tidemill.time import SECOND

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Running:
    """A table of count, mean and time of last change per key, over labels or over events.

    `key` names the payload fields that make the key (joined by `/`); no field makes one row, `all`. An event that lacks
    one of them (null) counts nowhere. With `of="label"`, the values are the labels (0 or 1), counted when the label
    comes, under the key of the event it is about; with `of="event"`, the values of field `field` of each event of the
    job's stream (1 without a field), counted after that event's own features were made. Either way a row holds what
    happened before, in the job's order, and nothing else.

    With a `half_life` in seconds of event time, older values fade: with $d = 2^{-\\Delta t / h}$,

    $$c \\leftarrow d c + 1, \\qquad \\mu \\leftarrow \\mu + (v - \\mu) / c.$$

    A value that comes out of order fades nothing and counts in full.
    """

    name: str
    key: tuple[str, ...] = ()
    half_life: float | None = None
    of: Literal["label", "event"] = "label"
    field: str | None = None

    def table(self) -> Table:
        return Table(("count", "mean", "last"))

    def adder(self, table: Table) -> Callable[[str, int, float], None]:
        """The function `(key, time, value)` that counts a value in `table`."""
        rows, half_life, touch = table.rows, self.half_life, table.touch
        faster = None if half_life is None else -1.0 / (half_life * SECOND)

        def add(key: str, time: int, value: float) -> None:
            row = rows.get(key)
            if row is None:
                rows[key] = {"count": 1.0, "mean": value, "last": time}
            else:
                seen: float = row["count"]
                passed = time - row["last"]
                if passed > 0:
                    if faster is not None:
                        seen *= exp2(passed * faster)
                    row["last"] = time
                row["count"] = seen = seen + 1.0
                row["mean"] += (value - row["mean"]) / seen
            touch(key)

        return add


def key_maker(fields: tuple[str, ...]) -> Callable[[Row], str | None]:
    """The function that makes a payload's row key of these fields; None where one is null."""
    if len(fields) == 1:
        (name,) = fields

        def of_one(event: Row) -> str | None:
            value = event[name]
            return value if value is None or type(value) is str else str(value)

        return of_one
    if len(fields) == 2:
        first, second = fields

        def of_two(event: Row) -> str | None:
            a, b = event[first], event[second]
            return None if a is None or b is None else f"{a}/{b}"

        return of_two
    return lambda event: row_key(*[event[name] for name in fields])


def row_key(*values: Any) -> str | None:
    """The row key of these values: joined by `/`, `all` for none; None where one is None."""
    if not values:
        return "all"
    return None if None in values else "/".join([v if type(v) is str else str(v) for v in values])


def fading(micros: int, half_life: float) -> float:
    """What is left after `micros` microseconds of a weight that halves every `half_life` seconds."""
    return exp2(micros * (-1.0 / (half_life * SECOND)))


def rate(
    row: Row | None, prior: float, weight: float, time: int | None = None, half_life: float | None = None
) -> float:
    """The mean of a row drawn towards `prior` as if `weight` values of it had been seen: $(c\\mu + wp) / (c + w)$.

    With `time` and `half_life`, the row's count first fades to that time. No row gives the prior.
    """
    if row is None:
        return prior
    count = row["count"]
    if time is not None and half_life is not None and time > row["last"]:
        count *= fading(time - row["last"], half_life)
    return float((count * row["mean"] + weight * prior) / (count + weight))


def count(row: Row | None, time: int | None = None, half_life: float | None = None) -> float:
    """The count of a row, faded to `time` where given; 0 for no row."""
    if row is None:
        return 0.0
    seen = float(row["count"])
    if time is not None and half_life is not None and time > row["last"]:
        seen *= fading(time - row["last"], half_life)
    return seen

"""Running statistics by key: what is known of a carrier, a route, a user before this moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from streams.table import ColumnType, Table
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
        types: dict[str, ColumnType] = {"count": "float", "mean": "float", "last": "int"}
        return Table(types)

    def key_of(self, event: Row) -> str | None:
        """The row key of an event's payload, or None where a part is missing."""
        if len(self.key) == 1:
            value = event[self.key[0]]
            return None if value is None else str(value)
        return row_key(*[event[name] for name in self.key])

    def add(self, table: Table, key: str, time: int, value: float) -> None:
        """Count one value."""
        at = table.slot(key)
        columns = table.columns
        counts, means, lasts = columns["count"], columns["mean"], columns["last"]
        count = counts.item(at)
        if count != count:
            counts[at], means[at], lasts[at] = 1.0, value, time
        else:
            last = lasts.item(at)
            if self.half_life is not None and time > last:
                count *= fading(time - last, self.half_life)
            count += 1.0
            mean = means.item(at)
            counts[at] = count
            means[at] = mean + (value - mean) / count
            if time > last:
                lasts[at] = time
        table.touch(at)


def row_key(*values: Any) -> str | None:
    """The row key of these values: joined by `/`, `all` for none; None where one is None."""
    if not values:
        return "all"
    return None if None in values else "/".join(map(str, values))


def fading(micros: int, half_life: float) -> float:
    """What is left after `micros` microseconds of a weight that halves every `half_life` seconds."""
    return float(2.0 ** (-micros / (half_life * SECOND)))


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

"""What a stream's declaration would be, judged by a sample of its rows.

Types: whole numbers `int`, other numbers `float`, true and false `bool`, ISO 8601 dates and times `time`, objects and
lists `json`, everything else `string`. A field that is missing or null anywhere in the sample is nullable. Which field
is the event time, the id and the key is proposed only where one answer is obvious; where several fields could be the
event time, that is an error that names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from connectors.text import NULLS
from tidemill.errors import BadEvent, DeclarationError
from tidemill.stream import RECORD_TIME, Field, FieldType, StreamSpec, TimeUnit
from tidemill.time import SECOND, from_rfc3339
from tidemill_app.rows import Row

SAMPLE = 10_000
"""Rows looked at."""

_INT = re.compile(r"[+-]?(0|[1-9]\d{0,17})")  # 007 is a name, not a number
_FLOAT = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_OFFSET = re.compile(r"[zZ]$|[tT ].*[+-]\d\d(:?\d\d)*$")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME_NAMES = re.compile(
    r"(event_?)?(time|timestamp|ts|datetime|epoch)(_?(us|ms|s|utc))?|.*_(at|time|ts|timestamp)", re.I
)
_ID_NAMES = ("id", "event_id", "eventid", "uuid", "guid")

_UNITS: dict[TimeUnit, int] = {"s": SECOND, "ms": 1_000, "us": 1}
_YEAR_1980, _YEAR_2100 = 315_532_800 * SECOND, 4_102_444_800 * SECOND


@dataclass
class _Column:
    """What was seen of one field."""

    name: str
    seen: int = 0
    types: set[FieldType] = field(default_factory=set)
    values: set[Any] = field(default_factory=set)
    repeated: bool = False
    low: float = float("inf")
    high: float = float("-inf")

    def add(self, value: Any, text: bool) -> None:
        if value is None or (text and value in NULLS):
            return
        self.seen += 1
        kind = _kind(value, text)
        self.types.add(kind)
        if kind in ("int", "float"):
            self.low, self.high = min(self.low, float(value)), max(self.high, float(value))
        if not isinstance(value, (dict, list)):
            self.repeated = self.repeated or value in self.values
            self.values.add(value)

    def type(self, text: bool) -> FieldType:
        if len(self.types) == 1:
            return next(iter(self.types))
        if self.types == {"int", "float"}:
            return "float"
        if not self.types or text or self.types == {"string", "time"}:
            return "string"
        return "json"

    def unit(self) -> TimeUnit | None:
        """The unit in which the numbers lie between the years 1980 and 2100."""
        if self.types <= {"int", "float"} and self.types:
            for unit, factor in _UNITS.items():
                if self.low * factor >= _YEAR_1980 and self.high * factor < _YEAR_2100:
                    return unit
        return None


@dataclass(frozen=True)
class Inference:
    """A declaration judged by `rows` rows, and in `notes` what the reader should know of how it came about."""

    spec: StreamSpec
    rows: int
    notes: tuple[str, ...]


def infer(
    name: str,
    rows: Iterable[Row],
    *,
    text: bool,
    time: str | None = None,
    id: str | None = None,
    key: str | None = None,
    time_unit: TimeUnit | None = None,
    **settings: Any,
) -> Inference:
    """The declaration of stream `name`; `text` says that all cells came as text (a CSV).

    `time`, `id`, `key` and `time_unit` settle what the sample need not say; `settings` go into the declaration as they
    are. Raises `DeclarationError` where the sample is empty, a named field is not in it, or the event time is not
    obvious; it names the choices.
    """
    columns, count, problem = _look(rows, text)
    if not count:
        raise DeclarationError(
            "the sample holds no rows that can be read",
            where=f"stream {name}",
            wanted="at least one " + ("row" if text else "JSON object"),
            got=problem,
        )
    for role, chosen in (("time", time), ("id", id), ("key", key), ("label", settings.get("label"))):
        if chosen is not None and chosen != RECORD_TIME and chosen not in columns:
            raise DeclarationError(
                f"no field {chosen!r} for the {role}", where=f"stream {name}", wanted=f"one of {', '.join(columns)}"
            )
    notes: list[str] = []
    types = {c.name: c.type(text) for c in columns.values()}
    if time is None:
        time = _propose_time(name, columns, types, count)
        notes.append(f"event time is {time!r}")
    if time != RECORD_TIME:
        unit = time_unit or _unit_of(name, columns[time], types[time])
        types[time] = "time"
    else:
        unit = time_unit or "rfc3339"
    if unit != "rfc3339":
        # One unit for the whole stream: texts that look like times are still read as such.
        notes.append(f"numbers in {time!r} count {unit} since 1970")
    elif time != RECORD_TIME and text and any(not _OFFSET.search(v) for v in _some(columns[time])):
        notes.append(f"times without an offset, as in {time!r}, are UTC")
    if id is None and (id := _propose_id(columns, types, count, time)) is not None:
        notes.append(f"id is {id!r}: different in every row")
    if key is None and (key := _propose_key(columns, id)) is not None:
        notes.append(f"key is {key!r}")
    made = tuple(
        Field(c.name, types[c.name], nullable=c.seen < count and c.name not in (time, id)) for c in columns.values()
    )
    spec = StreamSpec(name=name, fields=made, time=time, id=id, key=key, time_unit=unit, **settings)
    return Inference(spec, count, tuple(notes))


def _look(rows: Iterable[Row], text: bool) -> tuple[dict[str, _Column], int, str]:
    """The columns, how many rows they were made of, and what was wrong with the first that was left out."""
    columns: dict[str, _Column] = {}
    count, problem = 0, ""
    for row in islice(rows, SAMPLE):
        if row.data is None:
            problem = problem or row.problem
            continue
        count += 1
        for name, value in row.data.items():
            columns.setdefault(name, _Column(name)).add(value, text)
    return columns, count, problem


def _some(column: _Column) -> list[str]:
    return [str(v) for v in list(column.values)[:20]]


def _kind(value: Any, text: bool) -> FieldType:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    if not isinstance(value, str):
        return "json"
    if text:
        if _INT.fullmatch(value):
            return "int"
        if _FLOAT.fullmatch(value):
            return "float"
        if value.strip().lower() in ("true", "false"):
            return "bool"
    return "time" if _is_time(value) else "string"


def _is_time(value: str) -> bool:
    if not _DATE.match(value):
        return False
    try:
        from_rfc3339(value)
    except BadEvent:
        return False
    return True


def _propose_time(name: str, columns: dict[str, _Column], types: dict[str, FieldType], count: int) -> str:
    full = [c for c in columns.values() if c.seen == count]
    choices = [c.name for c in full if types[c.name] == "time"]
    choices = choices or [c.name for c in full if _TIME_NAMES.fullmatch(c.name) and c.unit() is not None]
    if len(choices) == 1:
        return choices[0]
    if choices:
        raise DeclarationError(
            "several fields could be the event time",
            where=f"stream {name}",
            wanted="one of them",
            got=", ".join(choices),
            fix=f"Say which: --time {choices[0]}",
        )
    raise DeclarationError(
        "no field looks like the event time",
        where=f"stream {name}",
        got=", ".join(columns),
        fix=f"Name it with --time FIELD, or take the time of arrival: --time {RECORD_TIME}",
    )


def _unit_of(name: str, column: _Column, type: FieldType) -> TimeUnit:
    if type == "time":
        return "rfc3339"
    if (unit := column.unit()) is not None:
        return unit
    raise DeclarationError(
        f"field {column.name!r} does not look like a time",
        where=f"stream {name}",
        wanted="ISO 8601, or a number of s, ms or us since 1970",
        got=", ".join(_some(column)[:3]),
        fix=f"Name another with --time, say --time-unit, or take the time of arrival: --time {RECORD_TIME}",
    )


def _propose_id(columns: dict[str, _Column], types: dict[str, FieldType], count: int, time: str) -> str | None:
    unique = [
        c.name for c in columns.values() if c.seen == count and not c.repeated and types[c.name] in ("int", "string")
    ]
    for name in _ID_NAMES:
        for candidate in unique:
            if candidate.lower() == name:
                return candidate
    named = [c for c in unique if c.lower().endswith("_id") and c != time]
    return named[0] if len(named) == 1 else None


def _propose_key(columns: dict[str, _Column], id: str | None) -> str | None:
    named = [c.name for c in columns.values() if c.name.lower().endswith("_id") and c.name != id and c.repeated]
    return named[0] if len(named) == 1 else None

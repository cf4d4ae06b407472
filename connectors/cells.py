"""From a file's columns to a stream's fields: whole columns at once where they fit, value by value where they do not.

Cells of a CSV are text (see `connectors.text`). No value becomes the field's default, or null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.arrow import to_arrow, to_numpy
from connectors.text import BOOLS, NULLS
from tidemill.errors import BadEvent
from tidemill.stream import Field, FieldType, TimeUnit
from tidemill.time import END_OF_TIME, FIRST_TIME, from_rfc3339, parse_time, round_micros

Mask = NDArray[np.bool_]

TYPES: dict[FieldType, pa.DataType] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "time": pa.timestamp("us"),
    "json": pa.string(),
}
"""The Arrow type of a field's column; JSON values are written as text."""

_FACTORS = {"s": 1_000_000, "ms": 1_000, "us": 1}


def convert(values: pa.Array, field: Field, unit: TimeUnit, *, text: bool) -> tuple[pa.Array, Mask]:
    """The column of a field, and which rows hold a value that the declaration takes.

    `values` are a file's column, `text` says that they are cells of a CSV. Rows that do not fit are null in the
    result.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if text:
        none = pa.array(sorted(NULLS) if field.type != "string" else [""])
        values = pc.if_else(pc.is_in(values, none), pa.scalar(None, pa.string()), values)
    given = to_numpy(values.is_valid())
    try:
        out = _column(values, field.type, unit, text)
    except (pa.ArrowException, OverflowError):
        out = _values(values, field.type, unit, text)
    if field.type == "float":
        out = pc.if_else(pc.is_finite(out), out, pa.scalar(None, pa.float64()))
        if field.nullable and pa.types.is_floating(values.type):
            given = given & ~to_numpy(pc.fill_null(pc.is_nan(values), False))  # NaN is null there
    fits = to_numpy(out.is_valid()) | ~given
    if field.default is not None:
        default = to_arrow([field.default])[0] if field.type == "json" else pa.array([field.default])
        out = pc.if_else(pa.array(~given), default.cast(TYPES[field.type])[0], out)
    elif not field.nullable:
        fits &= given
    return out, fits


def _column(values: pa.Array, kind: FieldType, unit: TimeUnit, text: bool) -> pa.Array:
    """All values at once. Raises `ArrowInvalid` where any does not fit."""
    have = values.type
    if kind == "time":
        return _times(values, unit, text)
    if kind == "json" or (kind == "bool" and text):
        raise pa.ArrowInvalid("value by value")
    number = pa.types.is_integer(have) or pa.types.is_floating(have)
    if not text and not (
        (kind in ("int", "float") and number)
        or (kind == "bool" and pa.types.is_boolean(have))
        or (kind == "string" and (pa.types.is_string(have) or pa.types.is_large_string(have)))
        or pa.types.is_null(have)
    ):
        raise pa.ArrowInvalid("another type")
    return values.cast(TYPES[kind])


def _times(values: pa.Array, unit: TimeUnit, text: bool) -> pa.Array:
    have = values.type
    if pa.types.is_timestamp(have) or pa.types.is_date(have):
        micros = values.cast(pa.timestamp("us", getattr(have, "tz", None)), safe=False).cast(pa.int64())
    elif unit != "rfc3339" and (text or pa.types.is_integer(have)):
        micros = pc.multiply_checked(values.cast(pa.int64()), pa.scalar(_FACTORS[unit], pa.int64()))
    elif pa.types.is_string(have):
        zoned = pc.any(pc.match_substring_regex(values, r"(Z|[+-]\d\d:?\d\d)$")).as_py()
        micros = values.cast(pa.timestamp("us", "UTC" if zoned else None)).cast(pa.int64())
    else:
        raise pa.ArrowInvalid("value by value")
    inside = pc.and_(pc.greater_equal(micros, FIRST_TIME), pc.less(micros, END_OF_TIME))
    return pc.if_else(inside, micros, pa.scalar(None, pa.int64())).cast(pa.timestamp("us"))


def _values(values: pa.Array, kind: FieldType, unit: TimeUnit, text: bool) -> pa.Array:
    """Each value by itself; null for one that does not fit."""
    one = _FROM_TEXT.get(kind) if text else _FROM_VALUE.get(kind)
    if kind == "time":
        one = _time_of(unit)
    assert one is not None
    out: list[Any] = []
    for value in values.to_pylist():
        try:
            out.append(None if value is None else one(value))
        except (ValueError, TypeError, OverflowError, BadEvent):
            out.append(None)
    return pa.array(out, pa.int64() if kind == "time" else TYPES[kind]).cast(TYPES[kind])


def _time_of(unit: TimeUnit) -> Callable[[Any], int]:
    def time(value: Any) -> int:
        if isinstance(value, datetime):
            return round_micros(value if value.tzinfo else value.replace(tzinfo=UTC))
        if isinstance(value, str):
            try:
                number = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
            except ValueError:
                return from_rfc3339(value)
            return parse_time(number, unit)
        return parse_time(value, unit)

    return time


def _int(value: Any) -> int:
    number = int(value)
    if isinstance(value, bool) or number != (value if not isinstance(value, str) else number):
        raise ValueError("not a whole number")
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError("too large")
    return number


def _float(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise ValueError("not a finite number")
    return number


def _strictly(kind: type) -> Callable[[Any], Any]:
    def same(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"not {kind}")
        return value

    return same


def _number(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def number(value: Any) -> Any:
        if isinstance(value, str | bytes):
            raise TypeError("a text")
        return kind(value)

    return number


def _bool(cell: str) -> bool:
    try:
        return BOOLS[cell.strip().lower()]
    except KeyError:
        raise ValueError("not a bool") from None


def _json(cell: str) -> str:
    try:
        return json.dumps(json.loads(cell, parse_constant=_refuse))
    except ValueError:
        return json.dumps(cell)


def _refuse(text: str) -> Any:
    raise ValueError(text)


def plain(value: Any) -> Any:
    """A file's value as JSON has it: dates and times as RFC 3339, bytes as text."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)


_FROM_TEXT: dict[FieldType, Callable[[Any], Any]] = {
    "int": _int,
    "float": _float,
    "bool": _bool,
    "string": str,
    "json": _json,
}
_FROM_VALUE: dict[FieldType, Callable[[Any], Any]] = {
    "int": _number(_int),
    "float": _number(_float),
    "bool": _strictly(bool),
    "string": _strictly(str),
    "json": lambda value: json.dumps(value, default=plain, allow_nan=False),
}

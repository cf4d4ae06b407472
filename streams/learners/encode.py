"""Rows from events: numbers as they are, categories as a dictionary of columns or hashed into a few."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tidemill.errors import ConfigError, NotFiniteError, WrongTypeError
from tidemill.learner import Float


class RowEncoder:
    """Makes dense rows for the block learners from mappings with numbers and categories.

    Each field of `numbers` is one column. Each field of `categories` is one column per known value, 1 where the event
    has it, and one column `field=*` for every value not in the list. Each field of `hashed` (field → number of
    columns) is spread by CRC-32 of `field=value`: the column from the low bits, the sign ±1 from the highest, so that
    values that collide do not add up; it needs no dictionary, so new values cost nothing, and it is the same in every
    process. An encoder learns nothing: the same event gives the same row for ever.

    A category may be a string, integer, boolean, or absent (None counts as a value of its own, `field=`). A number
    must be there and finite; missing ones raise `WrongTypeError` or `NotFiniteError` naming the field, unless
    `missing` gives a value to use.

    Source: Weinberger et al., *Feature hashing for large scale multitask learning*, ICML 2009.
    """

    def __init__(
        self,
        *,
        numbers: Sequence[str] = (),
        categories: Mapping[str, Sequence[str | int | bool]] | None = None,
        hashed: Mapping[str, int] | None = None,
        missing: Mapping[str, float] | None = None,
    ) -> None:
        self.numbers = tuple(numbers)
        self.categories = {field: tuple(values) for field, values in (categories or {}).items()}
        self.hashed = dict(hashed or {})
        self.missing = dict(missing or {})
        for field, width in self.hashed.items():
            if isinstance(width, bool) or not isinstance(width, int) or width < 2:
                raise ConfigError(f"hashed field {field!r} needs columns", wanted="an integer ≥ 2", got=repr(width))
        if unknown := set(self.missing) - set(self.numbers):
            raise ConfigError("values for missing numbers that are no numbers", got=str(sorted(unknown)))
        names = list(self.numbers)
        self._columns: dict[str, dict[str, int]] = {}
        for field, values in self.categories.items():
            texts = [_text(field, value) for value in values]
            self._columns[field] = {text: len(names) + i for i, text in enumerate(texts)}
            names += [f"{field}={text}" for text in texts] + [f"{field}=*"]
        self._starts: dict[str, int] = {}
        for field, width in self.hashed.items():
            self._starts[field] = len(names)
            names += [f"{field}#{i}" for i in range(width)]
        self.features = tuple(names)
        """Names of the columns, in order: the learner's `features`."""
        if not names or len(set(names)) != len(names):
            raise ConfigError("columns must be named once each, and at least one", got=str(names))

    def row(self, event: Mapping[str, Any]) -> Float:
        """The row of one event, shape (features,)."""
        out = np.zeros(len(self.features))
        self._fill(out, event)
        return out

    def block(self, events: Iterable[Mapping[str, Any]]) -> Float:
        """The rows of many events, shape (n, features)."""
        listed = list(events)
        out = np.zeros((len(listed), len(self.features)))
        for row, event in zip(out, listed, strict=True):
            self._fill(row, event)
        return out

    def params(self) -> dict[str, Any]:
        """The plain values that rebuild it."""
        return {
            "numbers": list(self.numbers),
            "categories": {field: list(values) for field, values in self.categories.items()},
            "hashed": dict(self.hashed),
            "missing": dict(self.missing),
        }

    def _fill(self, row: Float, event: Mapping[str, Any]) -> None:
        for i, field in enumerate(self.numbers):
            row[i] = self._number(field, event.get(field))
        for field, columns in self._columns.items():
            other = next(iter(columns.values())) + len(columns) if columns else self.features.index(f"{field}=*")
            row[columns.get(_text(field, event.get(field)), other)] = 1.0
        for field, start in self._starts.items():
            code = zlib.crc32(f"{field}={_text(field, event.get(field))}".encode())
            row[start + (code & 0x7FFFFFFF) % self.hashed[field]] = -1.0 if code >> 31 else 1.0

    def _number(self, field: str, value: Any) -> float:
        if value is None or value != value:  # NaN alone differs from itself
            if field in self.missing:
                return self.missing[field]
            if value is None:
                raise WrongTypeError(f"{field!r} is missing", wanted="a number", field=field)
        if not isinstance(value, (int, float, np.integer, np.floating)):
            raise WrongTypeError(f"{field!r} is no number", wanted="a number", got=repr(value), field=field)
        number = float(value)
        if not np.isfinite(number):
            raise NotFiniteError(f"{field!r} is not finite", wanted="a finite number", got=repr(value), field=field)
        return number


def _text(field: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (str, int, np.integer, np.bool_)):  # bool is an int
        return str(value)
    raise WrongTypeError(f"{field!r} is no category", wanted="a string or integer", got=repr(value), field=field)

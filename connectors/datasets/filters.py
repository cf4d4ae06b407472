"""Filters of examples: `FIELD = VALUE` and the like."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from connectors.datasets.examples import Example
from tidemill.errors import ConfigError

_SHAPE = re.compile(r"\s*(@?[^\s=!<>]+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}
_OWN = ("label", "confidence", "group", "media_type", "id")


class Filter:
    """`FIELD OP VALUE` with OP one of `=`, `!=`, `<`, `<=`, `>`, `>=`; VALUE is JSON, or else a text.

    FIELD is a declared field, or one of the example's own: `@label`, `@confidence`, `@group`, `@media_type`, `@id`.
    What is missing, or of a type that does not compare, equals nothing and fits no order. Raises `ConfigError`.
    """

    def __init__(self, text: str, fields: Iterable[str]) -> None:
        found = _SHAPE.fullmatch(text)
        known = {*fields, *(f"@{name}" for name in _OWN)}
        if found is None:
            raise ConfigError("not a filter", wanted="FIELD OP VALUE with one of = != < <= > >=", got=repr(text))
        self.field, self.op, value = found.groups()
        if self.field not in known:
            raise ConfigError("a filter names no field", wanted=f"one of {', '.join(sorted(known))}", got=self.field)
        try:
            self.value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            self.value = value
        self.text = value

    def __call__(self, example: Example) -> bool:
        own = self.field.startswith("@")
        value = getattr(example, self.field[1:]) if own else example.payload.get(self.field)
        if self.op in ("=", "!="):
            # What was typed without quotes may look like a number and be meant as the text that the field holds.
            return (value == self.value or (isinstance(value, str) and value == self.text)) is (self.op == "=")
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (value, self.value))
        if numbers:
            return _ORDER[self.op](value, self.value)
        return isinstance(value, str) and _ORDER[self.op](value, self.text)

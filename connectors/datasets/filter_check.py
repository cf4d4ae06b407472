"""Filters that can never mean what was typed: refused where a version is made, and not where an old one is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.datasets.filters import Filter
from tidemill.errors import ConfigError
from tidemill.label_events import LabelSchema

_CATEGORICAL = ("single", "multi", "boxes")


def check_filter(text: str, fields: Mapping[str, str], schema: LabelSchema | None) -> None:
    """Raises `ConfigError` for what is no filter (as `Filter` does), a value that the field's type (`fields`: declared
    types by name) cannot have, an order of what has none, and a label that names no class which labels can have."""
    made = Filter(text, fields)
    if made.field == "@label":
        if schema is not None:
            _label(made, schema, text)
        return
    kind = "float" if made.field == "@confidence" else fields.get(made.field, "string")
    ordered = made.op not in ("=", "!=")
    if made.value is None and not ordered:
        return
    if kind in ("int", "float", "time") and not _number(made.value):
        wanted = "a number" if kind != "time" else "a number: microseconds since 1970, UTC"
        raise ConfigError(f"{made.field} is a number, and is compared with none", wanted=wanted, got=repr(text))
    if kind == "bool" and (ordered or not isinstance(made.value, bool)):
        raise ConfigError(f"{made.field} is true or false", wanted="= or != true or false", got=repr(text))


def _label(made: Filter, schema: LabelSchema, text: str) -> None:
    if made.value is None and made.op in ("=", "!="):
        return
    if schema.kind == "rating":
        if not _number(made.value):
            low, high = schema.rating
            raise ConfigError("the label is a rating", wanted=f"a number from {low} to {high}", got=repr(text))
        return
    if schema.kind not in _CATEGORICAL:
        return
    if made.op not in ("=", "!="):
        raise ConfigError("classes have no order", wanted="= or !=", got=repr(text))
    live = {c.id for c in schema.classes if not c.into}
    given = made.value if isinstance(made.value, list) else [made.value]
    named = [v[0] if isinstance(v, list) and v else None for v in given] if schema.kind == "boxes" else given
    if schema.kind == "single" and isinstance(made.value, list):
        raise ConfigError("the label is one class", wanted=_some(live), got=repr(text))
    if schema.kind != "single" and not isinstance(made.value, list):
        raise ConfigError(
            f"the label is a list ({schema.kind})", wanted="a JSON list, as [] or what one label says", got=repr(text)
        )
    for one in named:
        # An id may look like a number or a word of JSON: what was typed counts then.
        if not (isinstance(one, str) and one in live) and made.text not in live:
            into = next((c.into for c in schema.classes if one == c.id), "")
            by_name = next((c.id for c in schema.classes if one == c.name and not c.into), "")
            raise ConfigError(
                "a filter names no class" if not into else "a filter names a class that was merged",
                wanted=_some(live),
                got=str(one),
                fix=f"Say {into or by_name}." if into or by_name else "",
            )


def _some(classes: set[str]) -> str:
    shown = sorted(classes)
    return f"one of {', '.join(shown[:20])}" + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

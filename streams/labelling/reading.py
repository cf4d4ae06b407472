"""What people send, checked: schemas that can be, and values that a schema allows.

A class that was merged goes on being an answer, to be counted as the class it was merged into; one that was taken out
of the schema too, and counts nowhere. So an answer means what it meant when it was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tidemill.errors import NotFiniteError, WrongTypeError
from tidemill.label_events import LabelSchema

MAX_BOXES, MAX_TEXT, MAX_CLASSES = 2_000, 100_000, 1_000
"""What one answer holds at most: boxes, characters; and classes a schema."""

LARGEST = 1e9
"""No corner of a box lies further out, in pixels."""


def _wrong(message: str, wanted: str, got: Any, field: str = "value") -> WrongTypeError:
    return WrongTypeError(message, wanted=wanted, got=repr(got)[:80], field=field)


def read_schema(data: Any) -> LabelSchema:
    """The schema behind plain data. Raises `WrongTypeError` where it is none, or its classes lead nowhere."""
    try:
        schema = msgspec.convert(data, LabelSchema)
    except msgspec.ValidationError as error:
        raise _wrong("not a label schema", str(error), data, "schema") from None
    names = [c.id for c in schema.classes]
    into = {c.id: c.into for c in schema.classes if c.into}
    if len(set(names)) < len(names) or not all(names) or len(names) > MAX_CLASSES:
        raise _wrong("classes cannot be told apart", f"at most {MAX_CLASSES} ids, each once", names, "schema")
    if lost := [c for c in into.values() if c not in names]:
        raise _wrong("a class is merged into none", f"one of {names}", lost[0], "schema")
    for name in into:
        merged(into, name)
    if schema.kind in ("single", "multi", "boxes") and not any(not c.into for c in schema.classes):
        raise _wrong("a schema without classes", "at least one that is in use", names, "schema")
    if schema.version < 1 or not schema.rating[0] < schema.rating[1]:
        raise _wrong("a schema that cannot be", "version ≥ 1, rating from low to high", schema.rating, "schema")
    return schema


def merged(into: Mapping[str, str], name: str) -> str:
    """The class that `name` counts as. Raises `WrongTypeError` where merges go round in a circle."""
    seen = {name}
    while name in into:
        name = into[name]
        if name in seen:
            raise _wrong("classes are merged in a circle", "an end", name, "schema")
        seen.add(name)
    return name


def read_value(schema: LabelSchema, since: Mapping[str, int], version: int, value: Any) -> Any:
    """`value` as an answer under `version` of the schema; lists of classes are sorted, numbers of boxes floats.

    `since` says in which version each class ever declared came first. Raises `WrongTypeError` or `NotFiniteError`.
    """
    if schema.kind == "single":
        if type(value) is str and since.get(value, version + 1) <= version:
            return value
        return _class(since, version, value)
    if schema.kind == "multi":
        if not isinstance(value, list) or len(value) > MAX_CLASSES:
            raise _wrong("not an answer to which classes there are", "a list of class ids", value)
        found = sorted({_class(since, version, one) for one in value})
        if len(found) < len(value):
            raise _wrong("a class is named twice", "each once", value)
        return found
    if schema.kind == "boxes":
        if not isinstance(value, list) or len(value) > MAX_BOXES:
            raise _wrong("not boxes", f"a list of at most {MAX_BOXES} [class, x, y, width, height]", value)
        return [_box(since, version, one) for one in value]
    if schema.kind == "transcription":
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise _wrong("not a transcription", f"a text of at most {MAX_TEXT} characters", value)
        return value
    low, high = schema.rating
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _wrong("not a rating", f"a whole number from {low} to {high}", value)
    return value


def _class(since: Mapping[str, int], version: int, value: Any) -> str:
    if not isinstance(value, str) or since.get(value, version + 1) > version:
        known = ", ".join(sorted(name for name, first in since.items() if first <= version)[:20])
        raise _wrong("no class of this schema", f"one of {known} (version {version})", value)
    return value


def _box(since: Mapping[str, int], version: int, box: Any) -> list[Any]:
    if not isinstance(box, list) or len(box) != 5:
        raise _wrong("not a box", "[class, x, y, width, height]", box)
    numbers = box[1:]
    if any(not isinstance(v, (int, float)) or isinstance(v, bool) for v in numbers):
        raise _wrong("not a box", "numbers of pixels", box)
    if not all(abs(v) <= LARGEST for v in numbers):  # not a number is no less than anything
        raise NotFiniteError("a box ends nowhere", wanted="finite numbers of pixels", got=repr(box)[:80], field="value")
    x, y, width, height = map(float, numbers)
    if width <= 0 or height <= 0:
        raise _wrong("a box without an inside", "width and height > 0", box)
    return [_class(since, version, box[0]), x, y, width, height]


def read_version(newest: int, value: Any) -> int:
    """The schema version that an answer names (null: 1). Raises `WrongTypeError` for one that there is not."""
    if value is None:
        return 1
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= newest:
        raise _wrong("no version of the schema", f"1 to {newest}", value, "schema")
    return value


def read_overlap(value: Any) -> tuple[int, int]:
    """`[least, most]` answers of an item. Raises `WrongTypeError`."""
    good = isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value)
    if not good or not 1 <= value[0] <= value[1] <= 10_000:
        raise _wrong("not an overlap", "[least, most], 1 ≤ least ≤ most ≤ 10000", value, "overlap")
    return value[0], value[1]


def read_sure(value: Any) -> float:
    """The posterior from which an item is sure. Raises `WrongTypeError`."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 1:
        raise _wrong("not a probability", "a number in (0, 1]", value, "sure")
    return float(value)


def read_name(field: str, value: Any) -> str:
    """An id of an item or a person. Raises `WrongTypeError` where there is none."""
    if not isinstance(value, str) or not value:
        raise _wrong(f"field {field!r} is missing", "an id", value, field)
    return value

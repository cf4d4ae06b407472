"""What an answer may be, by the kind of its project, how large, and which class one counts as.

The labelling service, the consensus job and data sets all read the same log, so they all ask here: what one of them
takes for an answer the others do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from tidemill.errors import BadEvent, NotFiniteError, WrongTypeError
from tidemill.label_events import LabelSchema

MAX_BOXES, MAX_TEXT, MAX_CLASSES, MAX_OVERLAP = 500, 20_000, 1_000, 10_000
"""What one answer holds at most: boxes, characters; classes of a schema; answers to an item."""

LARGEST = 1e9
"""No corner of a box lies further out, in pixels."""

Meaning = Callable[[str], str | None]
"""What the id of a class is to be written as; None where an answer cannot name it."""


def wrong(message: str, wanted: str, got: Any, field: str = "value") -> WrongTypeError:
    """The error that says so, with what came in part only."""
    text = f"{len(got)} parts" if isinstance(got, (list, dict)) and len(got) >= 20 else ascii(got)
    return WrongTypeError(message, wanted=wanted, got=text if len(text) <= 80 else text[:77] + "...", field=field)


def ends(schema: LabelSchema) -> dict[str, str]:
    """For the id of every class, that of the class in use it counts as, through all merges. One whose merges end
    nowhere, or go round in a circle, is left out."""
    into = {c.id: c.into for c in schema.classes}
    found: dict[str, str] = {}
    for name in into:
        end, passed = name, 0
        while passed <= len(into) and into.get(end):
            end, passed = into[end], passed + 1
        if into.get(end) == "":
            found[name] = end
    return found


def merged(value: Any, into: Mapping[str, str]) -> Any:
    """A value with every class that `into` knows as the one it counts as; of a list of classes each stands once. What
    has another form stays as it is."""
    if isinstance(value, str):
        return into.get(value, value)
    if not isinstance(value, list):
        return value
    if value and all(isinstance(v, str) for v in value):
        return list(dict.fromkeys(into.get(v, v) for v in value))
    return [[into.get(v[0], v[0]), *v[1:]] if isinstance(v, list) and v and isinstance(v[0], str) else v for v in value]


def read_answer(schema: LabelSchema, value: Any, means: Meaning, size: tuple[float, float] | None = None) -> Any:
    """`value` in its one form, where it can be an answer: lists of classes sorted, each once; numbers of boxes floats.

    `size` is width and height of the image, which boxes lie in, where they are known. Raises `WrongTypeError` or
    `NotFiniteError`, whose `field` names the part.
    """
    if schema.kind == "single":
        return _class(value, means, "value", schema)
    if schema.kind == "multi":
        if not isinstance(value, list) or len(value) > MAX_CLASSES:
            raise wrong("not a list of classes", "each class once", value)
        if len({v for v in value if isinstance(v, str)}) < sum(isinstance(v, str) for v in value):
            raise wrong("a class is named twice", "each once", value)
        return sorted({_class(v, means, f"value[{i}]", schema) for i, v in enumerate(value)})
    if schema.kind == "boxes":
        if not isinstance(value, list) or len(value) > MAX_BOXES:
            raise wrong("not a list of boxes", f"at most {MAX_BOXES} [class, x, y, width, height]", value)
        return [_box(box, means, size, f"value[{i}]", schema) for i, box in enumerate(value)]
    if schema.kind == "transcription":
        return _text(value)
    low, high = schema.rating
    if type(value) is not int or not low <= value <= high:
        raise wrong("no such rating", f"a whole number from {low} to {high}", value)
    return value


def _class(value: Any, means: Meaning, field: str, schema: LabelSchema) -> str:
    found = means(value) if isinstance(value, str) else None
    if found is None:
        known = ", ".join(c.id for c in schema.classes if means(c.id) == c.id and not c.into)[:200]
        raise wrong("no such class", f"one of {known}", value, field)
    return found


def _box(box: Any, means: Meaning, size: tuple[float, float] | None, field: str, schema: LabelSchema) -> list[Any]:
    if not isinstance(box, list) or len(box) != 5:
        raise wrong("not a box", "[class, x, y, width, height]", box, field)
    if not all(type(v) in (int, float) for v in box[1:]):
        raise wrong("not a box", "numbers of pixels after the class", box, field)
    # A whole number too large for a float is no less than the largest either.
    if not all(abs(v) <= LARGEST for v in box[1:]):
        error = NotFiniteError if any(isinstance(v, float) and not isfinite(v) for v in box[1:]) else WrongTypeError
        raise error("a box ends nowhere", wanted="finite numbers of pixels", got=ascii(box)[:80], field=field)
    x, y, width, height = map(float, box[1:])
    if width <= 0 or height <= 0:
        raise wrong("a box without an inside", "width and height > 0", box, field)
    if size is not None and not (x >= 0 and y >= 0 and x + width <= size[0] + 0.5 and y + height <= size[1] + 0.5):
        raise wrong("the box is not in the image", f"an area within {size[0]:g} x {size[1]:g} pixels", box, field)
    return [_class(box[0], means, f"{field}[0]", schema), x, y, width, height]


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise wrong("not a text", f"at most {MAX_TEXT} characters", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise wrong("not a text", "whole characters", "half of one") from None
    if bad := next((c for c in value if ord(c) < 32 and c not in "\n\t"), None):
        raise wrong("not a text", "no control characters", bad)
    return value


def is_name(value: Any) -> bool:
    """Whether this can be the id of an item or of a person."""
    return isinstance(value, str) and bool(value)


def read_name(field: str, value: Any) -> str:
    """An id of an item or a person. Raises `WrongTypeError` where there is none."""
    if not is_name(value):
        raise wrong(f"field {field!r} is missing", "an id", value, field)
    return str(value)


def read_version(newest: int, value: Any) -> int:
    """The schema version that an answer names (null: 1). Raises `WrongTypeError` for one that there is not."""
    if value is None:
        return 1
    if type(value) is not int or not 1 <= value <= newest:
        raise wrong("no version of the schema", f"1 to {newest}", value, "schema")
    return value


def fits(schema: LabelSchema, since: Mapping[str, int], value: Any, version: int | None = None) -> bool:
    """Whether a value can be an answer under that version of the schema (None: this one): what cannot is passed over by
    every reader. `since` says in which version each class came first."""
    try:
        asked = schema.version if version is None else read_version(schema.version, version)
        read_answer(schema, value, lambda name: name if since.get(name, asked + 1) <= asked else None)
    except BadEvent:
        return False
    return True


def is_overlap(value: Any) -> bool:
    """Whether this can be `[least, most]` answers of an item."""
    good = isinstance(value, (list, tuple)) and len(value) == 2 and all(type(n) is int for n in value)
    return good and 1 <= value[0] <= value[1] <= MAX_OVERLAP


def read_overlap(value: Any) -> tuple[int, int]:
    """`[least, most]` answers of an item. Raises `WrongTypeError`."""
    if not is_overlap(value):
        raise wrong("not an overlap", f"[least, most], 1 ≤ least ≤ most ≤ {MAX_OVERLAP}", value, "overlap")
    return value[0], value[1]


def read_sure(value: Any) -> float:
    """The posterior from which an item is sure. Raises `WrongTypeError`."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 1:
        raise wrong("not a probability", "a number above 0, at most 1", value, "sure")
    return float(value)

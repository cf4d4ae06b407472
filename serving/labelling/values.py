"""What an answer may be, by the kind of its project, and when two answers say the same.

A class is named by its `id`, which no rename changes; one that was merged into another counts as that other.
"""

from __future__ import annotations

import math
from typing import Any

from tidemill.errors import RequestError
from tidemill.label_events import LabelSchema

MAX_BOXES = 500
MAX_TEXT = 20_000
MAX_SIDE = 100_000.0
SAME_BOX = 0.5
"""Boxes of one class are the same from this intersection over union on."""


def resolve(schema: LabelSchema, name: str) -> str | None:
    """The class in use that `name` (an id) stands for, through any merges; None where there is none."""
    classes = {c.id: c for c in schema.classes}
    for _ in range(len(classes) + 1):
        found = classes.get(name)
        if found is None or not found.into:
            return found.id if found is not None else None
        name = found.into
    return None


def check(schema: LabelSchema, value: Any, size: tuple[int, int] | None = None) -> Any:
    """`value` in its one form, where it can be an answer under `schema`; `size` is that of an image, in pixels.

    Raises `RequestError` that names the part which is wrong.
    """
    if schema.kind == "single":
        return _class(schema, value, "value")
    if schema.kind == "multi":
        return _classes(schema, value)
    if schema.kind == "boxes":
        return _boxes(schema, value, size)
    if schema.kind == "transcription":
        return _text(value)
    low, high = schema.rating
    if type(value) is not int or not low <= value <= high:
        raise RequestError(
            "no such rating", wanted=f"a whole number, {low} to {high}", got=_shown(value), field="value"
        )
    return value


def _class(schema: LabelSchema, value: Any, field: str) -> str:
    found = resolve(schema, value) if isinstance(value, str) else None
    if found is None:
        known = ", ".join(c.id for c in schema.classes if not c.into)[:200]
        raise RequestError("no such class", wanted=f"one of {known}", got=_shown(value), field=field)
    return found


def _classes(schema: LabelSchema, value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > len(schema.classes):
        raise RequestError("not a list of classes", wanted="each class once", got=_shown(value), field="value")
    found = {_class(schema, name, f"value[{i}]") for i, name in enumerate(value)}
    return [c.id for c in schema.classes if c.id in found]


def _boxes(schema: LabelSchema, value: Any, size: tuple[int, int] | None) -> list[list[Any]]:
    if not isinstance(value, list) or len(value) > MAX_BOXES:
        raise RequestError("not a list of boxes", wanted=f"at most {MAX_BOXES}", got=_shown(value), field="value")
    width, height = size or (MAX_SIDE, MAX_SIDE)
    made = []
    for i, box in enumerate(value):
        field = f"value[{i}]"
        if not isinstance(box, list) or len(box) != 5:
            raise RequestError("not a box", wanted="[class, x, y, width, height]", got=_shown(box), field=field)
        numbers = box[1:]
        if not all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
            raise RequestError("not a box", wanted="finite numbers after the class", got=_shown(box), field=field)
        x, y, w, h = (float(n) for n in numbers)
        inside = x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width + 0.5 and y + h <= height + 0.5
        if not inside:
            wanted = f"an area within {width:g} x {height:g} pixels"
            raise RequestError("the box is not in the image", wanted=wanted, got=_shown(box), field=field)
        made.append([_class(schema, box[0], f"{field}[0]"), x, y, w, h])
    return made


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise RequestError("not a text", wanted=f"at most {MAX_TEXT} characters", got=_shown(value), field="value")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RequestError("not a text", wanted="whole characters", got="half of one", field="value") from None
    if bad := next((c for c in value if ord(c) < 32 and c not in "\n\t"), None):
        raise RequestError("not a text", wanted="no control characters", got=repr(bad), field="value")
    return value


def _shown(value: Any) -> str:
    text = ascii(value) if not isinstance(value, (list, dict)) or len(value) < 20 else f"{len(value)} parts"
    return text if len(text) <= 80 else text[:77] + "..."


def same(kind: str, a: Any, b: Any) -> bool:
    """Whether two answers say the same thing: for boxes, that they pair off one to one (`SAME_BOX`); for texts, case
    and spaces aside."""
    return distance(kind, a, b) < 1e-9


def distance(kind: str, a: Any, b: Any) -> float:
    """How far two answers are apart, in [0, 1]: 0 or 1 for a class or rating, Jaccard's distance for sets of classes,
    1 - F1 of paired boxes, and equality for texts, case and spaces aside."""
    if a is None or b is None:
        return float(a is not b)
    if kind == "multi":
        one, other = set(a), set(b)
        return 1 - len(one & other) / len(one | other) if one | other else 0.0
    if kind == "boxes":
        return 1 - 2 * _paired(a, b) / (len(a) + len(b)) if len(a) + len(b) else 0.0
    if kind == "transcription":
        return float(" ".join(str(a).casefold().split()) != " ".join(str(b).casefold().split()))
    return float(a != b)


def _paired(a: list[Any], b: list[Any]) -> int:
    """How many boxes pair off, the best overlap first."""
    overlaps = sorted(
        ((o, i, j) for i, p in enumerate(a) for j, q in enumerate(b) if (o := overlap(p, q)) >= SAME_BOX), reverse=True
    )
    left, right = set(range(len(a))), set(range(len(b)))
    for _, i, j in overlaps:
        if i in left and j in right:
            left.discard(i)
            right.discard(j)
    return len(a) - len(left)


def overlap(p: list[Any], q: list[Any]) -> float:
    """Intersection over union of two boxes; 0 for boxes of two classes."""
    if p[0] != q[0]:
        return 0.0
    width = min(p[1] + p[3], q[1] + q[3]) - max(p[1], q[1])
    height = min(p[2] + p[4], q[2] + q[4]) - max(p[2], q[2])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return float(common / (p[3] * p[4] + q[3] * q[4] - common))

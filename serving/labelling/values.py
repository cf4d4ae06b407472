"""What an answer may be, by the kind of its project, and when two answers say the same.

A class is named by its `id`, which no rename changes; one that was merged into another counts as that other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tidemill.errors import BadEvent, RequestError
from tidemill.label_events import LabelSchema
from tidemill.label_values import ends, read_answer

MAX_SIDE = 100_000.0
"""Of an image whose size is not known."""
SAME_BOX = 0.5
"""Boxes of one class are the same from this intersection over union on."""

_FEW = 30
"""So many pairs are looked at one by one."""


def resolve(schema: LabelSchema, name: str) -> str | None:
    """The class in use that `name` (an id) stands for, through any merges; None where there is none."""
    return ends(schema).get(name)


def check(schema: LabelSchema, value: Any, size: tuple[int, int] | None = None) -> Any:
    """`value` in its one form, where it can be an answer under `schema`; `size` is that of an image, in pixels.

    Raises `RequestError` that names the part which is wrong.
    """
    try:
        return read_answer(schema, value, ends(schema).get, size or (MAX_SIDE, MAX_SIDE))
    except BadEvent as error:
        raise RequestError(error.message, wanted=error.wanted, got=error.got, field=error.field) from None


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
        return 1 - 2 * len(paired(a, b)) / (len(a) + len(b)) if len(a) + len(b) else 0.0
    if kind == "transcription":
        return float(" ".join(str(a).casefold().split()) != " ".join(str(b).casefold().split()))
    return float(a != b)


def paired(a: list[Any], b: list[Any]) -> list[tuple[int, int]]:
    """Which boxes pair off (`SAME_BOX`), the best overlap first."""
    near = _near(a, b) if len(a) * len(b) > _FEW else ((i, j) for i in range(len(a)) for j in range(len(b)))
    overlaps = sorted(((o, i, j) for i, j in near if (o := overlap(a[i], b[j])) >= SAME_BOX), reverse=True)
    left, right = set(range(len(a))), set(range(len(b)))
    found = []
    for _, i, j in overlaps:
        if i in left and j in right:
            left.discard(i)
            right.discard(j)
            found.append((i, j))
    return found


def _near(a: list[Any], b: list[Any]) -> Iterator[tuple[int, int]]:
    """Pairs of boxes that meet at all, found in one go."""
    p, q = (np.array([box[1:] for box in boxes], np.float64) for boxes in (a, b))
    low = np.maximum(p[:, None, :2], q[None, :, :2])
    high = np.minimum((p[:, :2] + p[:, 2:])[:, None], (q[:, :2] + q[:, 2:])[None])
    yield from zip(*(axis.tolist() for axis in np.nonzero((low < high).all(2))), strict=True)


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

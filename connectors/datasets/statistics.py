"""What is in a version of a data set: counts, sizes, what breaks the schema, and what leaks between splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from connectors import sounds
from connectors.datasets.examples import Example
from connectors.datasets.formats.item import classes_in
from tidemill.label_events import LabelSchema
from tidemill.state import digest as digest_of
from tidemill.state import encode

_EXTENT = 1e-6


def statistics(examples: Sequence[Example], schema: LabelSchema | None) -> dict[str, Any]:
    """Counts of splits, of classes by split (by name), of media types and groups; sizes of images, boxes of an image,
    lengths of texts, and how sure the consensus was, as `{least, median, most}`."""
    names = {c.id: c.name for c in schema.classes} if schema is not None else {}
    kind = schema.kind if schema is not None else "single"
    classes: dict[str, Counter[str]] = {names[c.id]: Counter() for c in schema.classes if not c.into} if schema else {}
    for e in examples:
        for one in classes_in(e.label, kind):
            classes.setdefault(names.get(one, one), Counter())[e.split] += 1
    sizes = [(e.payload.get("width"), e.payload.get("height")) for e in examples]
    known = [(w, h) for w, h in sizes if isinstance(w, int) and isinstance(h, int) and w > 0 and h > 0]
    sure = [e.confidence for e in examples if e.confidence is not None]
    texts = [len(t) for e in examples if isinstance(t := e.payload.get("text"), str)]
    boxes = [len(e.label) for e in examples if kind == "boxes" and e.label is not None]
    return {
        "examples": len(examples),
        "splits": dict(sorted(Counter(e.split for e in examples).items())),
        "unlabelled": sum(e.label is None for e in examples),
        "classes": {name: dict(sorted(count.items())) for name, count in classes.items()},
        "media_types": dict(sorted(Counter(e.media_type or "none" for e in examples).items())),
        "groups": len({e.group for e in examples if e.group}),
        "width": _spread([w for w, _ in known]),
        "height": _spread([h for _, h in known]),
        "text_length": _spread(texts),
        "boxes": _spread(boxes),
        "confidence": _spread(sure) | ({"below_0.8": sum(c < 0.8 for c in sure)} if sure else {}),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {"least": min(values), "median": float(np.median(values)), "most": max(values), "of": len(values)}


def violations(examples: Iterable[Example], schema: LabelSchema | None) -> list[dict[str, str]]:
    """What does not fit the schema or the medium, as `{id, what}`, in the examples' order."""
    if schema is None:
        return []
    in_use = {c.id for c in schema.classes if not c.into}
    out = []
    for e in examples:
        wrong = None if e.label is None else _wrong(e, schema, in_use)
        if wrong is None and schema.medium in ("image", "audio") and not e.media_type.startswith(schema.medium):
            wrong = f"{e.media_type or 'no media'} in a project of {schema.medium}s"
        if wrong is None and unheard(e):
            wrong = f"{e.media_type}: training and serving decode none of these"
        if wrong is not None:
            out.append({"id": e.id, "what": wrong})
    return out


def unheard(e: Example) -> bool:
    """Whether it is a sound that people can label, and neither training nor a served model decodes."""
    return e.media_type.startswith("audio/") and e.media_type not in sounds.TYPES


def _wrong(e: Example, schema: LabelSchema, in_use: set[str]) -> str | None:
    """Why a label cannot be, or None."""
    label, kind = e.label, schema.kind
    if kind == "single":
        return None if isinstance(label, str) and label in in_use else f"{label!r} is no class in use"
    if kind == "transcription":
        return None if isinstance(label, str) else "not a text"
    if kind == "rating":
        least, most = schema.rating
        fits = isinstance(label, int) and not isinstance(label, bool) and least <= label <= most
        return None if fits else f"{label!r} is not between {least} and {most}"
    if not isinstance(label, list):
        return "not a list"
    if kind == "multi":
        odd = [c for c in label if not isinstance(c, str) or c not in in_use]
        return f"{odd[0]!r} is no class in use" if odd else None
    for box in label:
        if not (isinstance(box, list) and len(box) == 5 and all(isinstance(v, (int, float)) for v in box[1:])):
            return "not a box"
        name, x, y, width, height = box
        if not isinstance(name, str) or name not in in_use:
            return f"{name!r} is no class in use"
        if width <= 0 or height <= 0:
            return "an empty box"
        wide, high = e.payload.get("width"), e.payload.get("height")
        inside = x >= -_EXTENT and y >= -_EXTENT
        for end, side in ((x + width, wide), (y + height, high)):  # 0: a project that does not know
            inside &= not isinstance(side, int) or side <= 0 or end <= side + _EXTENT
        if not inside:
            return "a box that reaches out of the image"
    return None


def same(examples: Sequence[Example]) -> list[list[int]]:
    """Groups of rows whose bytes are the same, or, without bytes, whose fields are but for names and times."""
    found: dict[str, list[int]] = {}
    for i, e in enumerate(examples):
        found.setdefault(e.media or _content(e), []).append(i)
    return [rows for rows in found.values() if len(rows) > 1]


_NAMES = ("id", "time", "name", "split", "group")


def _content(e: Example) -> str:
    return digest_of(encode({k: v for k, v in e.payload.items() if k not in _NAMES}))


def leaks(examples: Sequence[Example], alike: Iterable[Sequence[int]]) -> list[list[str]]:
    """Of groups of rows, those that stand in more than one split, as ids."""
    return [[examples[i].id for i in rows] for rows in alike if len({examples[i].split for i in rows}) > 1]


def group_leaks(examples: Iterable[Example]) -> list[str]:
    """Groups (scene, patient, camera) that stand in more than one split."""
    splits: dict[str, set[str]] = {}
    for e in examples:
        if e.group:
            splits.setdefault(e.group, set()).add(e.split)
    return sorted(group for group, of in splits.items() if len(of) > 1)

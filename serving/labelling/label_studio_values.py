"""Answers as Label Studio writes them, and as we do.

Label Studio's result is a list of regions of one control. A box there is in per cent of the image, from the upper left
corner, turned clockwise about that corner by `rotation` degrees; here it is in pixels and upright, so that a turned one
becomes the upright box around it, cut to the image. Source: Label Studio's task format, `rectanglelabels`.
"""

from __future__ import annotations

import math
from typing import Any

from serving.labelling.label_config import Control
from serving.labelling.values import check
from tidemill.errors import RequestError
from tidemill.label_events import LabelSchema

MAX_REGIONS = 2000
Size = tuple[int, int]


def results(control: Control, schema: LabelSchema, value: Any, size: Size | None, score: float | None) -> list[Any]:
    """The regions that say `value`. What the configuration has no label for is left out. Raises `RequestError` for
    boxes on an image of unknown size."""
    base: dict[str, Any] = {"from_name": control.name, "to_name": control.to, "type": control.type}
    if score is not None:
        base["score"] = score
    if schema.kind == "boxes":
        if size is None and value:
            raise RequestError("the size of the image is not known", wanted="an item with width and height")
        return [
            {"id": f"box-{i}", **base, **_rectangle(box, size, control.told[box[0]])}
            for i, box in enumerate(value)
            if size is not None and box[0] in control.told
        ]
    if schema.kind in ("single", "multi"):
        named = [control.told[name] for name in ([value] if schema.kind == "single" else value) if name in control.told]
        said: dict[str, Any] = {"choices": named}
        if not named:
            return []
    elif schema.kind == "transcription":
        said = {"text": [value]}
    else:
        said = {"rating": value}
    return [{"id": "answer", **base, "value": said}]


def _rectangle(box: list[Any], size: Size, called: str) -> dict[str, Any]:
    width, height = size
    _, x, y, w, h = box
    return {
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {
            "x": 100 * x / width,
            "y": 100 * y / height,
            "width": 100 * w / width,
            "height": 100 * h / height,
            "rotation": 0,
            "rectanglelabels": [called],
        },
    }


def says_nothing(control: Control, schema: LabelSchema, result: Any) -> bool:
    """Whether an annotation's `result` holds nothing of the control. Label Studio takes such a one by default
    (`enable_empty_annotation`). No boxes and no classes of several are an answer."""
    if schema.kind in ("boxes", "multi") or not isinstance(result, list):
        return False
    if not all(isinstance(region, dict) and isinstance(region.get("from_name"), str) for region in result):
        return False
    return all(r.get("value") == {"choices": []} for r in result if r["from_name"] == control.name)


def value_of(control: Control, schema: LabelSchema, result: Any, size: Size | None) -> Any:
    """What an annotation's `result` says, as an answer of ours. `size` is the image's where it is known; else the
    regions say it. Raises `RequestError` that names the region which is wrong."""
    if not isinstance(result, list) or len(result) > MAX_REGIONS:
        raise RequestError("not a result", wanted=f"a list of at most {MAX_REGIONS} regions", field="annotation.result")
    regions = [
        (i, region)
        for i, region in enumerate(result)
        if isinstance(region, dict) and region.get("from_name") == control.name and region.get("type") == control.type
    ]
    if schema.kind == "boxes":
        made = [_box(control, region, size, f"annotation.result[{i}]") for i, region in regions]
        return check(schema, made, size)
    if schema.kind in ("single", "multi"):
        named = [n for i, region in regions for n in _said(region, "choices", list, f"annotation.result[{i}]")]
        ids = [_meant(control, name, "annotation.result") for name in named]
        if schema.kind == "multi":
            return check(schema, list(dict.fromkeys(ids)))
        if len(set(ids)) != 1:
            raise RequestError("not one class", wanted="one choice", got=f"{len(set(ids))}", field="annotation.result")
        return check(schema, ids[0])
    if not regions:
        raise RequestError("no answer", wanted=f"a region of {control.name!r}", field="annotation.result")
    i, region = regions[0]
    if schema.kind == "rating":
        return check(schema, _said(region, "rating", int, f"annotation.result[{i}]"))
    text = region.get("value", {}).get("text") if isinstance(region.get("value"), dict) else None
    lines = [text] if isinstance(text, str) else text
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise RequestError("not a text", wanted="value.text", field=f"annotation.result[{i}]")
    return check(schema, "\n".join(lines))


def _said(region: dict[str, Any], name: str, kind: type, field: str) -> Any:
    value = region.get("value")
    found = value.get(name) if isinstance(value, dict) else None
    if type(found) is not kind:
        raise RequestError("not a result of its control", wanted=f"value.{name}", got=ascii(found)[:80], field=field)
    return found


def _meant(control: Control, name: Any, field: str) -> str:
    if not isinstance(name, str) or name not in control.meant:
        known = ", ".join(control.meant)[:200]
        raise RequestError("no class of the project", wanted=f"one of {known}", got=ascii(name)[:80], field=field)
    return control.meant[name]


def _box(control: Control, region: dict[str, Any], size: Size | None, field: str) -> list[Any]:
    named = _said(region, "rectanglelabels", list, field)
    if len(named) != 1:
        raise RequestError("a box has one class", got=f"{len(named)}", field=field)
    value = region["value"]
    numbers = [value.get(k) for k in ("x", "y", "width", "height")] + [value.get("rotation", 0)]
    whole: list[Any] = list(size or (region.get("original_width"), region.get("original_height")))
    if not all(type(n) in (int, float) and math.isfinite(n) for n in (*numbers, *whole)) or min(whole) <= 0:
        raise RequestError("not a box", wanted="x, y, width, height, original_width, original_height", field=field)
    width, height = whole
    x, y, w, h = (n * side / 100 for n, side in zip(numbers, (width, height) * 2, strict=False))
    angle = math.radians(numbers[4])
    corners = [
        (x + a * math.cos(angle) - b * math.sin(angle), y + a * math.sin(angle) + b * math.cos(angle))
        for a, b in ((0, 0), (w, 0), (w, h), (0, h))
    ]
    left, right = (min(max(p(c[0] for c in corners), 0.0), float(width)) for p in (min, max))
    top, bottom = (min(max(p(c[1] for c in corners), 0.0), float(height)) for p in (min, max))
    made = [_meant(control, named[0], field), *(round(n, 3) for n in (left, top, right - left, bottom - top))]
    if made[3] <= 0 or made[4] <= 0:
        raise RequestError("the box is not in the image", got=ascii(value)[:80], field=field)
    return made

"""Label Studio: `tasks.json` (its JSON export, or a list of tasks), the files beside it, and `config.xml`.

Rectangles are in per cent of the image there, in pixels here. Which annotations of a task count, and as what, is said
in `annotators`; predictions never do. Written are the label, as ground truth where there are answers beside it, and
everybody's answers; the answer of one person to an item without a label is not, for it would come back as its label.
Media are files beside the tasks, also as `/data/local-files/?d=PATH`: an address is refused, for nothing is ever
fetched. `id`, `group` and `split` of a task's data are ours. Source: Label Studio's task format and labelling
configuration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import msgspec

from connectors.datasets.examples import Example
from connectors.datasets.formats.annotators import LABEL, Annotation, Region, Taken, taken, written_as
from connectors.datasets.formats.files import MAX_TEXT, Root, json_of
from connectors.datasets.formats.item import Incoming, Outgoing, RawItem, Said
from connectors.datasets.formats.plain_xml import MAX_BYTES, parse
from connectors.datasets.images import probe
from tidemill.errors import UserError
from tidemill.label_events import Kind, Medium
from tidemill.time import to_rfc3339

_LOCAL = "/data/local-files/?d="
_UPLOADED = "/data/upload/"
"""Of a file that was uploaded there: it lies in `upload/` of Label Studio's folder `media`."""
_KINDS: dict[str, Kind] = {
    "rectanglelabels": "boxes",
    "choices": "single",
    "textarea": "transcription",
    "rating": "rating",
}
_CONTROLS: dict[str, Kind] = {
    "RectangleLabels": "boxes",
    "Choices": "single",
    "TextArea": "transcription",
    "Rating": "rating",
}
_MEDIA: tuple[Medium, ...] = ("image", "audio")
_OURS = ("id", "group", "split")


class _Task(msgspec.Struct):
    data: dict[str, Any]
    id: int | str | None = None
    annotations: list[Annotation] = []


def read(folder: Path) -> Incoming:
    """Raises `UserError` where there are no tasks, or one is not what it should be."""
    root = Root(folder)
    files = [n for n in root.names() if n.endswith(".json")]
    if not files:
        raise UserError("no Label Studio tasks", where=str(folder), wanted="a file tasks.json")
    tasks: list[_Task] = []
    for name in files:
        found = json_of(root.read(name, MAX_TEXT), name, list[_Task])
        assert isinstance(found, list)
        tasks += found
    used = [annotation for of in _taken(tasks, lambda one: bool(one.result)) for annotation in of.used]
    kinds = {_KINDS[r.type] for a in used for r in a.result if r.type in _KINDS}
    config = _config(root)
    if len(kinds) > 1:
        raise UserError("annotations of several kinds", where=str(folder), got=", ".join(sorted(kinds)))
    kind: Kind = next(iter(kinds)) if kinds else config[0] if config else "single"
    if kind == "single" and (_several(used) or (config is not None and config[0] == "multi")):
        kind = "multi"
    # No boxes and no classes are an answer.
    found_of = _taken(tasks, lambda one: kind in ("boxes", "multi") or _label(one, kind, (0, 0), "") is not None)
    used = [annotation for of in found_of for annotation in of.used]
    medium: Medium = next((m for m in _MEDIA if any(m in t.data for t in tasks)), "row")
    if medium == "row" and any("text" in t.data for t in tasks):
        medium = "text"
    named = sorted({c for a in used for r in a.result for c in _classes(r)})
    classes = config[1] + tuple(c for c in named if c not in config[1]) if config else tuple(named)
    fields = _fields(tasks, medium)
    several = [len(of.answers) + (of.label is not None) for of in found_of if of.answers]
    items = _items(root, tasks, found_of, kind, medium, fields)
    return Incoming(kind, medium, classes, items, fields, _passed_over(found_of), min(several, default=0), True)


def _taken(tasks: list[_Task], says: Callable[[Annotation], bool]) -> list[Taken]:
    return [taken(task.annotations, f"task {i}", says) for i, task in enumerate(tasks, 1)]


def _passed_over(found_of: list[Taken]) -> list[str]:
    counts = {
        "that was cancelled|that were cancelled": sum(of.cancelled for of in found_of),
        "that says nothing|that say nothing": sum(of.silent for of in found_of),
        "in whose place its annotator gave a later one|in whose place their annotator gave a later one": sum(
            of.replaced for of in found_of
        ),
    }
    return [_counted(n, *words.split("|")) for words, n in counts.items() if n]


def _counted(n: int, one: str, several: str) -> str:
    return f"1 annotation {one}" if n == 1 else f"{n:,} annotations {several}"


def _several(used: list[Annotation]) -> bool:
    return any(len(r.value.get("choices") or []) > 1 for a in used for r in a.result)


def _classes(result: Region) -> list[str]:
    found = result.value.get("choices") or result.value.get("rectanglelabels") or []
    return [c for c in found if isinstance(c, str)] if isinstance(found, list) else []


def _fields(tasks: list[_Task], medium: str) -> dict[str, str]:
    """Declared types of what tasks' data hold beside media and what is ours."""
    types: dict[str, str] = {}
    for task in tasks:
        for name, value in task.data.items():
            if name in _OURS or (name == medium and medium in _MEDIA) or value is None:
                continue
            kind = {bool: "bool", int: "int", float: "float", str: "string"}.get(type(value), "json")
            before = types.setdefault(name, kind)
            if before != kind:
                types[name] = "float" if {before, kind} == {"int", "float"} else "json"
    return types


def _items(
    root: Root,
    tasks: list[_Task],
    found_of: list[Taken],
    kind: Kind,
    medium: Medium,
    fields: dict[str, str],
) -> Iterator[RawItem]:
    for i, (task, of) in enumerate(zip(tasks, found_of, strict=True), 1):
        data, file = None, ""
        if medium in _MEDIA:
            file = _file(task.data.get(medium), i)
            data = root.read(file)
        id, known = _own(task.data), None
        if not id and file:
            id = PurePosixPath(file).stem
        elif not id:
            known = (i if task.id is None else task.id, task.data)
        payload = {name: task.data.get(name) for name in fields}
        if file:
            payload.setdefault("name", PurePosixPath(file).name)
        size = (0, 0)
        if of.used and kind == "boxes" and data is not None:
            found = probe(data, file)
            size = (found.width, found.height)
        label = None if of.label is None else _label(of.label, kind, size, id)
        answers = tuple(_said(by, one, _label(one, kind, size, id)) for by, one in of.answers)
        alone = None if of.label is None or answers or not of.by else _said(of.by, of.label, label)
        group, split = str(task.data.get("group") or ""), str(task.data.get("split") or "")
        decided = of.by if answers else ""
        yield RawItem(
            id, data, "", payload, label, group, split, answers=answers, decided=decided, said=alone, task=known
        )


def _said(by: str, one: Annotation, value: Any) -> Said:
    return Said(by, value, one.name, one.stamp, one.seconds)


def _own(data: dict[str, Any]) -> str:
    """The id of ours in a task's data; empty where it has none. Label Studio reads a column of numbers as numbers."""
    id = data.get("id")
    return str(id) if type(id) is int or isinstance(id, str) else ""


def _file(value: Any, at: int) -> str:
    if not isinstance(value, str) or not value:
        raise UserError("a task names no file", where=f"task {at}", got=repr(value)[:80])
    name = value
    if value.startswith(_LOCAL):
        name = unquote(value.removeprefix(_LOCAL)).lstrip("/")
    elif value.startswith(_UPLOADED):
        name = unquote(value.removeprefix("/data/"))
    if "://" in name or name.startswith(("//", "data:")):
        raise UserError(
            "a task's media is an address",
            where=f"task {at}",
            wanted="a file beside it",
            got=value[:80],
            fix="Download the files yourself, and name them by path.",
        )
    return name


def _label(annotation: Annotation, kind: Kind, size: tuple[int, int], where: str) -> Any:
    of_kind = [r for r in annotation.result if _KINDS.get(r.type) in (kind, "single" if kind == "multi" else kind)]
    if kind == "boxes":
        return [_box(r, size, where) for r in of_kind]
    if kind == "multi":
        return list(dict.fromkeys(c for r in of_kind for c in _classes(r)))
    for result in of_kind:
        value = result.value
        if kind == "single" and (found := _classes(result)):
            return found[0]
        if kind == "transcription" and (text := value.get("text")) is not None:
            first = text[0] if isinstance(text, list) and text else text
            return first if isinstance(first, str) else None
        if kind == "rating" and isinstance(value.get("rating"), int):
            return value["rating"]
    return None


def _box(result: Region, size: tuple[int, int], where: str) -> list[Any]:
    classes = _classes(result)
    try:
        x, y, width, height = (float(result.value[side]) for side in ("x", "y", "width", "height"))
    except (KeyError, TypeError, ValueError):
        raise UserError("a rectangle without its sides", where=where, got=str(result.value)[:120]) from None
    if not classes or not all(0 <= v <= 100.000001 for v in (x, y, width, height)):
        raise UserError(
            "a rectangle that cannot be", where=where, wanted="a class, and per cents", got=str(result.value)[:120]
        )
    return [classes[0], *(_pixels(p, s) for p, s in zip((x, y, width, height), size * 2, strict=True))]


def _pixels(per_cent: float, side: int) -> float:
    """A whole pixel where it is one but for rounding."""
    exact = per_cent * side / 100
    return float(round(exact)) if abs(exact - round(exact)) < 1e-6 else round(exact, 6)


def _config(root: Root) -> tuple[Kind, tuple[str, ...]] | None:
    """The kind and the classes, in order, of a labelling configuration."""
    if not root.has("config.xml"):
        return None
    top = parse(root.read("config.xml", MAX_BYTES + 1), "config.xml")
    for tag, kind in _CONTROLS.items():
        found = top.find(f".//{tag}")
        if found is not None:
            classes = tuple(v for child in found if (v := child.get("alias") or child.get("value")))
            if kind == "single" and found.get("choice") == "multiple":
                return "multi", classes
            return kind, classes
    return None


def write(out: Outgoing, folder: Path) -> None:
    """Write tasks with their annotations, the configuration, and the files. Raises `UserError` for boxes on what is no
    image."""
    folder.mkdir(parents=True, exist_ok=True)
    with_files = out.medium in _MEDIA
    names = out.files() if with_files else [""] * len(out.examples)
    tasks = []
    for i, (example, file) in enumerate(zip(out.examples, names, strict=True), 1):
        data: dict[str, Any] = {"id": example.id}
        if with_files:
            target = folder / f"{out.medium}s" / file
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(out.bytes_of(example))
            data[out.medium] = _LOCAL + quote(f"{out.medium}s/{file}")
        data |= {k: v for k, v in example.payload.items() if v is not None and _kept(k, example)}
        data |= {"group": example.group} if example.group else {}
        data["split"] = example.split
        task: dict[str, Any] = {"id": i, "data": data}
        if found := _annotations(out, example):
            task["annotations"] = found
        tasks.append(task)
    (folder / "tasks.json").write_bytes(msgspec.json.format(msgspec.json.encode(tasks), indent=1))
    (folder / "config.xml").write_bytes(_configuration(out))


def _annotations(out: Outgoing, example: Example) -> list[dict[str, Any]]:
    """The label, and what everybody said. A user whom another Label Studio does not have would end its import, so that
    annotators' names stand in a field of ours."""
    answers = out.answers.get(example.id, ())
    if example.label is None and len(answers) < 2:
        return []
    found = probe(out.bytes_of(example), example.id) if out.kind == "boxes" else None
    size = (found.width, found.height) if found else (0, 0)
    made: list[dict[str, Any]] = []
    if example.label is not None:
        # Label Studio takes what is imported for ground truth unless it is told that it is none.
        whose = {"annotator": LABEL} if answers else {}
        made.append(whose | {"result": _results(out, example.label, size), "ground_truth": bool(answers)})
    for one in sorted(answers, key=lambda a: written_as(a.by)):
        told: dict[str, Any] = {"annotator": written_as(one.by), "ground_truth": False}
        told |= {"updated_at": to_rfc3339(one.time)} | ({} if one.seconds is None else {"lead_time": one.seconds})
        made.append(told | {"result": _results(out, one.value, size)})
    return made


_KEPT_ELSEWHERE = ("id", "time", "media", "media_type", "group", "split", "width", "height")


def _kept(name: str, example: Any) -> bool:
    return name not in _KEPT_ELSEWHERE and not (name == "name" and not example.payload["name"])


def _shown(out: Outgoing) -> list[str]:
    """The fields that every example has, of those whose names stand in a configuration as they are."""
    first = out.examples[0].payload if out.examples else {}
    names = [n for n in first if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", n) and n not in _KEPT_ELSEWHERE]
    return [n for n in names if all(e.payload.get(n) is not None and _kept(n, e) for e in out.examples)]


def _results(out: Outgoing, label: Any, size: tuple[int, int]) -> list[dict[str, Any]]:
    named = out.named(label)
    ends = {"from_name": "label", "to_name": "item"}
    if out.kind == "boxes":
        return [
            {
                "id": f"box-{i}",
                **ends,
                "type": "rectanglelabels",
                "original_width": size[0],
                "original_height": size[1],
                "value": {
                    **{s: v * 100 / of for s, v, of in zip(("x", "y", "width", "height"), box, size * 2, strict=True)},
                    "rectanglelabels": [name],
                },
            }
            for i, (name, *box) in enumerate(named)
        ]
    value: dict[str, dict[str, Any]] = {
        "single": {"choices": [named]},
        "multi": {"choices": named},
        "transcription": {"text": [named]},
        "rating": {"rating": named},
    }
    types = {kind: name for name, kind in _KINDS.items()} | {"multi": "choices"}
    return [{"id": "answer", **ends, "type": types[out.kind], "value": value[out.kind]}]


def _configuration(out: Outgoing) -> bytes:
    """The labelling configuration. A row is shown by its id and by the fields that all of them have: Label Studio
    refuses tasks without a field that it is to show."""
    top = Element("View")
    tag = {"image": "Image", "audio": "Audio", "text": "Text", "row": "Text"}[out.medium]
    SubElement(top, tag, {"name": "item", "value": "$id" if out.medium == "row" else f"${out.medium}"})
    for i, name in enumerate(_shown(out) if out.medium == "row" else ()):
        SubElement(top, "Header", {"value": name})
        SubElement(top, "Text", {"name": f"field-{i}", "value": f"${name}"})
    control = {"boxes": "RectangleLabels", "transcription": "TextArea", "rating": "Rating"}.get(out.kind, "Choices")
    choice = {"choice": "multiple" if out.kind == "multi" else "single"} if control == "Choices" else {}
    of = SubElement(top, control, {"name": "label", "toName": "item", **choice})
    for name in out.classes:
        SubElement(of, "Label" if out.kind == "boxes" else "Choice", {"value": name})
    indent(top)
    return tostring(top) + b"\n"

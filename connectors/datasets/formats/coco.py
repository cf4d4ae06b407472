"""COCO: `annotations/instances_SPLIT.json`, and the images beside it.

A box is `[x, y, width, height]` in pixels, as ours. An annotation without `bbox` is a class of the whole image, for
which COCO has no other form. Of an image, `group` is kept, and `unlabelled` where it has no label (an image without
annotations is one without objects); both are ours, and other tools pass over them. Crowds, masks and key points are
passed over and counted. Source: the COCO data format (Lin and others, 2014).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from connectors.datasets.formats.files import MAX_TEXT, Root, json_of
from connectors.datasets.formats.item import Incoming, Outgoing, RawItem, file_stem, split_name
from connectors.datasets.images import probe, upright_boxes
from tidemill.errors import NotFoundError, UserError
from tidemill.label_events import Kind


class _Image(msgspec.Struct):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None
    group: str = ""
    unlabelled: bool = False


class _Annotation(msgspec.Struct):
    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float] | None = None
    iscrowd: int = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _File(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] = []


def read(folder: Path) -> Incoming:
    """Raises `UserError` where no file of annotations is found, or one is not what it should be."""
    root = Root(folder)
    files: dict[str, _File] = {}
    for name in [n for n in root.names() if n.endswith(".json")]:
        split = split_name(re.sub(r"^(instances|annotations?|_annotations\.coco)_?", "", Path(name).stem))
        found = json_of(root.read(name, MAX_TEXT), name, _File)
        assert isinstance(found, _File)
        _check(found, name)
        files[split if split not in files else name] = found
    if not files:
        raise UserError("no COCO annotations", where=str(folder), wanted="a file annotations/instances_SPLIT.json")
    names: dict[int, str] = {}
    for found in files.values():
        for c in found.categories:
            if names.setdefault(c.id, c.name) != c.name:
                raise UserError("two categories have one id", where=str(folder), got=f"{c.id}: {names[c.id]}, {c.name}")
    kind = _kind([a for found in files.values() for a in found.annotations], list(files.values()))
    crowds = sum(a.iscrowd for found in files.values() for a in found.annotations)
    over = [f"{crowds} crowds"] if crowds else []
    ordered = tuple(dict.fromkeys(names[i] for i in sorted(names)))
    return Incoming(kind, "image", ordered, _items(root, files, names, kind), {}, over)


def _check(found: _File, name: str) -> None:
    known = {c.id for c in found.categories}
    images = {i.id for i in found.images}
    if len(images) < len(found.images):
        raise UserError("two images have one id", where=name)
    for a in found.annotations:
        if a.category_id not in known or a.image_id not in images:
            raise UserError(
                "an annotation names no image or no category", where=name, got=f"{a.image_id}, {a.category_id}"
            )
        if a.bbox is not None and (a.bbox[2] < 0 or a.bbox[3] < 0):
            raise UserError("a box is smaller than nothing", where=name, got=str(a.bbox))


def _kind(annotations: list[_Annotation], files: list[_File]) -> Kind:
    if any(a.bbox is not None for a in annotations) or not annotations:
        return "boxes"
    for found in files:
        seen: set[int | str] = set()
        for a in found.annotations:
            if a.image_id in seen:
                return "multi"
            seen.add(a.image_id)
    return "single"


def _items(root: Root, files: dict[str, _File], names: dict[int, str], kind: Kind) -> Iterator[RawItem]:
    for split, found in sorted(files.items()):
        of: dict[int | str, list[_Annotation]] = {}
        for a in found.annotations:
            if not a.iscrowd:
                of.setdefault(a.image_id, []).append(a)
        for image in found.images:
            mine = of.get(image.id, [])
            label: Any = [[names[a.category_id], *a.bbox] for a in mine if a.bbox is not None]
            if kind != "boxes":
                classes = list(dict.fromkeys(names[a.category_id] for a in mine))
                label = classes if kind == "multi" else classes[0] if classes else None
            if image.unlabelled:
                label = None
            path = _place(root, split, image.file_name)
            id = "-".join(PurePosixPath(image.file_name).with_suffix("").parts)
            fields = {"name": PurePosixPath(image.file_name).name}
            data = root.read(path)
            if kind == "boxes" and label and image.width and image.height:
                label = upright_boxes(data, label, (image.width, image.height), path)
            yield RawItem(id, data, "", fields, label, image.group, split)


def _place(root: Root, split: str, name: str) -> str:
    for at in (*_folders(root, split), "images/", ""):
        if root.has(at + name):
            return at + name
    raise NotFoundError("an image that is named is not there", where=str(root.folder), got=name[:200])


@functools.lru_cache(64)
def _folders(root: Root, split: str) -> tuple[str, ...]:
    """Folders of a split's images: `images/train/`, `val2017/` and the like."""
    tops = [root.folder, root.folder / "images"]
    found = [p for top in tops if top.is_dir() for p in sorted(top.iterdir()) if p.is_dir()]
    mine = [p.relative_to(root.folder).as_posix() + "/" for p in found if split_name(p.name) == split]
    return (f"images/{split}/", *mine)


def write(out: Outgoing, folder: Path) -> None:
    """Write boxes, or classes of whole images, of examples that are images. Raises `UserError` for others."""
    if out.kind not in ("boxes", "single", "multi"):
        raise UserError("COCO holds boxes and classes", got=out.kind, fix="Export to parquet or labelstudio.")
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    number = {name: i for i, name in enumerate(out.classes, 1)}
    categories = [{"id": i, "name": name} for name, i in number.items()]
    files: dict[str, dict[str, list[dict[str, Any]]]] = {}
    annotations = 0
    for i, (example, file) in enumerate(zip(out.examples, out.files(), strict=True), 1):
        split = file_stem(example.split)
        data = out.bytes_of(example)
        target = folder / "images" / split / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        found = probe(data, file)
        mine = files.setdefault(split, {"images": [], "annotations": [], "categories": categories})
        image: dict[str, Any] = {"id": i, "file_name": file, "width": found.width, "height": found.height}
        image |= {"group": example.group} if example.group else {}
        image |= {"unlabelled": True} if example.label is None else {}
        mine["images"].append(image)
        for name, *box in _annotations(out, example.label):
            annotations += 1
            one: dict[str, Any] = {"id": annotations, "image_id": i, "category_id": _known(number, name, example.id)}
            if box:
                one |= {"bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            mine["annotations"].append(one)
    for split, content in files.items():
        (folder / "annotations" / f"instances_{split}.json").write_bytes(msgspec.json.encode(content))


def _known(number: dict[str, int], name: str, id: str) -> int:
    if name not in number:
        raise UserError("a label names no class of the schema", where=id, wanted=", ".join(number), got=name)
    return number[name]


def _annotations(out: Outgoing, label: Any) -> list[list[Any]]:
    named = out.named(label)
    if named is None:
        return []
    if out.kind == "boxes":
        return [list(box) for box in named]
    return [[named]] if isinstance(named, str) else [[name] for name in named]

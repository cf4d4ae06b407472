"""Pascal VOC: `JPEGImages/`, `Annotations/NAME.xml` with boxes, `ImageSets/Main/SPLIT.txt` with names.

A box `xmin ymin xmax ymax` counts pixels from 1, the last in it; ours is `[class, xmin - 1, ymin - 1, xmax - xmin + 1,
ymax - ymin + 1]`. Classes of whole images stand in `ImageSets/Main/CLASS_SPLIT.txt`, lines `NAME 1` or `NAME -1`.
An image without a file in `Annotations/` has no label. `trainval` is no split of its own. Groups are not kept by VOC.
Source: the PASCAL VOC development kit (Everingham and others, 2012).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from connectors.datasets.formats.files import Root
from connectors.datasets.formats.item import Incoming, Outgoing, RawItem, split_name
from connectors.datasets.formats.plain_xml import MAX_BYTES, parse
from connectors.datasets.images import probe, upright_boxes
from connectors.images import orientation
from tidemill.errors import UserError

_UNIONS = ("trainval", "all")
_IMAGES = "JPEGImages"
_SETS = "ImageSets/Main"


def read(folder: Path) -> Incoming:
    """Raises `UserError` where there is no VOC folder, or a file of it is not what it should be."""
    root = _root(folder)
    images = {Path(name).stem: name for name in root.names(_IMAGES)}
    splits, classes = _sets(root)
    boxed = sorted(Path(n).stem for n in root.names("Annotations") if n.endswith(".xml"))
    if boxed:
        names = sorted({c for name in boxed for c, *_ in _boxes(root, name)})
        return Incoming("boxes", "image", tuple(names), _boxed(root, images, splits, set(boxed)))
    members: dict[str, list[str]] = {}
    for one, of in sorted(classes.items()):
        for name in of:
            members.setdefault(name, []).append(one)
    several = any(len(of) > 1 for of in members.values())

    def items() -> Iterator[RawItem]:
        for name, file in sorted(images.items()):
            mine = members.get(name)
            label = None if mine is None else mine if several else mine[0]
            yield RawItem(name, root.read(file), "", {"name": Path(file).name}, label, "", splits.get(name, ""))

    return Incoming("multi" if several else "single", "image", tuple(sorted(classes)), items())


def write(out: Outgoing, folder: Path) -> None:
    """Write boxes, or classes of whole images, of examples that are images. Raises `UserError` for others."""
    if out.kind not in ("boxes", "single", "multi"):
        raise UserError("VOC holds boxes and classes", got=out.kind, fix="Export to parquet or labelstudio.")
    for name in (_IMAGES, _SETS, *(["Annotations"] if out.kind == "boxes" else [])):
        (folder / name).mkdir(parents=True, exist_ok=True)
    sets: dict[str, list[str]] = {}
    members: dict[str, dict[str, list[str]]] = {}
    for example, file in zip(out.examples, out.files(), strict=True):
        data, stem = out.bytes_of(example), Path(file).stem
        (folder / _IMAGES / file).write_bytes(data)
        split = "val" if example.split == "valid" else example.split
        sets.setdefault(split, []).append(stem)
        label = out.named(example.label)
        if label is None:
            continue
        if out.kind == "boxes":
            (folder / "Annotations" / f"{stem}.xml").write_bytes(_annotation(file, data, label))
        else:
            members.setdefault(split, {})[stem] = [label] if isinstance(label, str) else label
    for split, stems in sorted(sets.items()):
        _lines(folder / _SETS / f"{split}.txt", sorted(stems))
        for one in out.classes if out.kind != "boxes" else ():
            mine = members.get(split, {})
            rows = [f"{stem} {' 1' if one in mine[stem] else '-1'}" for stem in sorted(stems) if stem in mine]
            _lines(folder / _SETS / f"{_file_of(one)}_{split}.txt", rows)


def _file_of(name: str) -> str:
    """A class as the beginning of a file's name: other characters than letters, digits and `-._~` as in a URL."""
    plain = quote(name, safe="")
    return "%2E" + plain[1:] if plain.startswith(".") else plain


def _lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def _root(folder: Path) -> Root:
    """The folder with the images: this one, or one under it (`VOCdevkit/VOC2012`)."""
    for at in (folder, *sorted(p for p in folder.rglob("*") if p.is_dir() and not p.is_symlink())):
        if (at / _IMAGES).is_dir():
            return Root(at)
    raise UserError("no VOC folder", where=str(folder), wanted=f"a folder {_IMAGES}")


def _sets(root: Root) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The split of each image, and the images of each class."""
    splits: dict[str, str] = {}
    classes: dict[str, list[str]] = {}
    for file in root.names(_SETS):
        if not file.endswith(".txt"):
            continue
        stem, rows = Path(file).stem, [line.split() for line in _text(root, file).splitlines() if line.strip()]
        if rows and all(len(row) == 2 for row in rows):
            one, _, split = stem.rpartition("_")
            one = unquote(one)
            if split not in _UNIONS:
                classes.setdefault(one or stem, []).extend(name for name, is_in in rows if is_in == "1")
        elif stem not in _UNIONS and "_" not in stem:
            splits |= {row[0]: split_name(stem) for row in rows}
        elif not rows and "_" in stem:
            classes.setdefault(unquote(stem.rpartition("_")[0]), [])
    return splits, classes


def _text(root: Root, file: str) -> str:
    try:
        return root.read(file).decode()
    except UnicodeDecodeError:
        raise UserError("a list of images is no text", where=file) from None


def _boxed(root: Root, images: dict[str, str], splits: dict[str, str], boxed: set[str]) -> Iterator[RawItem]:
    for lacking in sorted(boxed - images.keys()):
        raise UserError("an annotation has no image", where=f"Annotations/{lacking}.xml", wanted=f"{_IMAGES}/{lacking}")
    for name, file in sorted(images.items()):
        data = root.read(file)
        label = [[c, *box] for c, *box in _boxes(root, name)] if name in boxed else None
        if label and orientation(data) >= 5:
            label = upright_boxes(data, label, _size(root, name), file)
        yield RawItem(name, data, "", {"name": Path(file).name}, label, "", splits.get(name, ""))


def _boxes(root: Root, name: str) -> list[tuple[str, float, float, float, float]]:
    where = f"Annotations/{name}.xml"
    out = []
    for found in parse(root.read(where, MAX_BYTES + 1), where).iter("object"):
        label, box = (found.findtext("name") or "").strip(), found.find("bndbox")
        if not label or box is None:
            raise UserError("an object without a name or a box", where=where)
        x0, y0, x1, y1 = (_number(box, side, where) for side in ("xmin", "ymin", "xmax", "ymax"))
        if x1 < x0 or y1 < y0:
            raise UserError("a box ends before it begins", where=where, got=f"{x0:g} {y0:g} {x1:g} {y1:g}")
        out.append((label, x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1))
    return out


def _size(root: Root, name: str) -> tuple[int, int]:
    """Width and height as an annotation says them; zeros where it does not."""
    where = f"Annotations/{name}.xml"
    found = parse(root.read(where, MAX_BYTES + 1), where).find("size")
    texts = ["" if found is None else (found.findtext(side) or "").strip() for side in ("width", "height")]
    width, height = (int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0 for text in texts)
    return width, height


def _number(box: Element, side: str, where: str) -> float:
    text = (box.findtext(side) or "").strip()
    if not re.fullmatch(r"-?\d{1,9}(\.\d{1,9})?", text):
        raise UserError(f"a box without {side}", where=where, wanted="a number", got=repr(text[:40]))
    return float(text)


def _annotation(file: str, data: bytes, boxes: list[list[object]]) -> bytes:
    top = Element("annotation")
    SubElement(top, "folder").text = _IMAGES
    SubElement(top, "filename").text = file
    size = SubElement(top, "size")
    found = probe(data, file)
    for side, count in (("width", found.width), ("height", found.height), ("depth", found.channels)):
        SubElement(size, side).text = str(count)
    SubElement(top, "segmented").text = "0"
    for name, x, y, width, height in boxes:
        one = SubElement(top, "object")
        SubElement(one, "name").text = str(name)
        SubElement(one, "difficult").text = "0"
        box = SubElement(one, "bndbox")
        ends = (x + 1, y + 1, x + width, y + height)  # type: ignore[operator]
        for side, at in zip(("xmin", "ymin", "xmax", "ymax"), ends, strict=True):
            SubElement(box, side).text = number(at)
    indent(top)
    return tostring(top) + b"\n"


def number(value: float) -> str:
    """A number without a needless fraction, at most six digits of one."""
    return f"{value:.6f}".rstrip("0").rstrip(".")

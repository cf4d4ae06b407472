"""A folder for each class, images in it: `CLASS/NAME.png`, or `SPLIT/CLASS/NAME.png`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from connectors.datasets.formats.files import Root
from connectors.datasets.formats.item import EXTENSIONS, Incoming, RawItem, split_name
from tidemill.errors import UserError

_SPLITS = ("train", "valid", "test")
_ENDINGS = {*EXTENSIONS.values(), ".jpeg"}


def read(folder: Path) -> Incoming:
    """Raises `UserError` where there are no images, or one lies in no class's folder."""
    root = Root(folder)
    placed: list[tuple[str, str, str]] = []
    over = 0
    for name in root.names():
        path = PurePosixPath(name)
        if path.suffix.lower() not in _ENDINGS:
            over += 1
            continue
        folders = list(path.parent.parts)
        split = split_name(folders[0]) if len(folders) > 1 and split_name(folders[0]) in _SPLITS else ""
        inner = folders[1:] if split else folders
        if not inner:
            raise UserError("an image lies in no class's folder", where=str(folder), wanted="CLASS/NAME", got=name)
        placed.append((name, "/".join(inner), split))
    if not placed:
        raise UserError("no images", where=str(folder), wanted=f"files {', '.join(sorted(_ENDINGS))}")

    def items() -> Iterator[RawItem]:
        for name, label, split in placed:
            path = PurePosixPath(name)
            id = "-".join(path.with_suffix("").parts)
            yield RawItem(id, root.read(name), "", {"name": path.name}, label, "", split)

    classes = tuple(sorted({label for _, label, _ in placed}))
    return Incoming("single", "image", classes, items(), {}, [f"{over} files that are no images"] if over else [])

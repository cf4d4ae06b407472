"""A folder for each class, images or sounds in it: `CLASS/NAME.png`, or `SPLIT/CLASS/NAME.wav`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from connectors.datasets.formats.files import Root
from connectors.datasets.formats.item import EXTENSIONS, Incoming, RawItem, split_name
from tidemill.errors import UserError
from tidemill.label_events import Medium

_SPLITS = ("train", "valid", "test")
_TYPES = {ending: kind for kind, ending in EXTENSIONS.items() if not kind.startswith("text/")}
_TYPES |= {".jpeg": "image/jpeg", ".oga": "audio/ogg", ".opus": "audio/ogg"}


def read(folder: Path) -> Incoming:
    """Raises `UserError` where there are no images or sounds, or both, or one lies in no class's folder."""
    root = Root(folder)
    placed: list[tuple[str, str, str]] = []
    over, sounds = 0, 0
    for name in root.names():
        path = PurePosixPath(name)
        if path.suffix.lower() not in _TYPES:
            over += 1
            continue
        sounds += _sound(path)
        folders = list(path.parent.parts)
        split = split_name(folders[0]) if len(folders) > 1 and split_name(folders[0]) in _SPLITS else ""
        inner = folders[1:] if split else folders
        if not inner:
            raise UserError("a file lies in no class's folder", where=str(folder), wanted="CLASS/NAME", got=name)
        placed.append((name, "/".join(inner), split))
    if not placed:
        raise UserError("no images or sounds", where=str(folder), wanted=f"files {', '.join(sorted(_TYPES))}")
    if sounds not in (0, len(placed)):
        raise UserError("images and sounds in one source", where=str(folder), wanted="one kind", got=f"{sounds} sounds")

    def items() -> Iterator[RawItem]:
        for name, label, split in placed:
            path = PurePosixPath(name)
            id = "-".join(path.with_suffix("").parts)
            # An image says by its bytes what it is.
            media_type = _TYPES[path.suffix.lower()] if sounds else ""
            yield RawItem(id, root.read(name), media_type, {"name": path.name}, label, "", split)

    classes = tuple(sorted({label for _, label, _ in placed}))
    medium: Medium = "audio" if sounds else "image"
    fields = {"name": "string"} if sounds else {}
    passed_over = [f"{over} files that are no {'sounds' if sounds else 'images'}"] if over else []
    return Incoming("single", medium, classes, items(), fields, passed_over)


def _sound(path: PurePosixPath) -> bool:
    return _TYPES[path.suffix.lower()].startswith("audio/")

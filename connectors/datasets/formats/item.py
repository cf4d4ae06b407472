"""What every format is read into and written from. Labels name classes by name here, as files do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from connectors.datasets.examples import Example
from connectors.datasets.images import kept
from tidemill.errors import UserError
from tidemill.label_events import AnswerGiven, Kind, LabelSchema, Medium

EXTENSIONS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "audio/wav": ".wav",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg",
    "audio/mpeg": ".mp3",
    "text/plain": ".txt",
}
"""The media types that are read and written, and the ending of their files."""

MAX_NAME = 100
"""Characters of a class's name, as where people label (`serving.labelling.schema`)."""

_SPLITS = {"val": "valid", "validation": "valid", "dev": "valid"}


@dataclass(frozen=True)
class Said:
    """An answer about an item by one of several annotators, as a format holds it: `by` names the annotator within the
    source, `name` the answer wherever it comes from (empty: nothing does), `time` is UTC microseconds (None: unknown).
    """

    by: str
    value: Any
    name: str = ""
    time: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class RawItem:
    """An item as a format holds it. `id` names it within its source; `data` are its bytes (None: it is a row), of type
    `media_type` (empty: to be found out); `fields` the rest of its payload. `label` is in the forms of
    `tidemill.label_events` with names of classes, None where there is none. `answers` are those of several annotators,
    each once; a label beside them was decided, by `decided` (empty: nobody is named). `said` is the label as its
    annotator said it, where it is one's alone. `original`: see `kept`. `task` is the Label Studio task, number and
    data, of what Label Studio alone knows: its name depends on what is there (`connectors.label_studio.item_name`).
    """

    id: str
    data: bytes | None = None
    media_type: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    label: Any = None
    group: str = ""
    split: str = ""
    original: str = ""
    answers: tuple[Said, ...] = ()
    decided: str = ""
    said: Said | None = None
    task: tuple[int | str, dict[str, Any]] | None = None

    def kept(self) -> RawItem:
        """The item with the bytes that an import keeps (`connectors.datasets.images.kept`); `original` is the digest of
        those that it came with, where they are others."""
        if self.data is None or (self.media_type and not self.media_type.startswith("image/")):
            return self
        data = kept(self.data, self.id)
        return self if data is self.data else replace(self, data=data, original=hashlib.sha256(self.data).hexdigest())


@dataclass(frozen=True)
class Incoming:
    """A source that was opened: its kind of label, its classes in their order, and its items, read as they are taken.

    `fields` are further fields that items have, as declared types by name (`tidemill.stream.FieldType`). `fewest` is
    how many said something of an item that several did, at the least (0: there is none such), `people` whether the
    format holds who said what.
    """

    kind: Kind
    medium: Medium
    classes: tuple[str, ...]
    items: Iterator[RawItem]
    fields: dict[str, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)
    fewest: int = 0
    people: bool = False


@dataclass(frozen=True)
class Outgoing:
    """Examples to be written: `classes` are names in the schema's order, `name_of` the name of each class id, `answers`
    what annotators said of an example by its id, as of the version."""

    kind: Kind
    medium: Medium
    classes: tuple[str, ...]
    name_of: dict[str, str]
    examples: Sequence[Example]
    bytes_of: Callable[[Example], bytes]
    answers: Mapping[str, Sequence[AnswerGiven]] = field(default_factory=dict)

    def named(self, value: Any) -> Any:
        """A label with names for ids."""
        if isinstance(value, str) and self.kind == "single":
            return self.name_of.get(value, value)
        if self.kind == "multi" and isinstance(value, list):
            return [self.name_of.get(v, v) for v in value]
        if self.kind == "boxes" and isinstance(value, list):
            return [[self.name_of.get(v[0], v[0]), *v[1:]] for v in value]
        return value

    def files(self) -> list[str]:
        """A file name for each example: its id where that can be a file's, else made fit, and told apart by a digest.

        Raises `UserError` for an example without bytes, or of a type that has no ending.
        """
        names = []
        for e in self.examples:
            if not e.media or e.media_type not in EXTENSIONS:
                raise UserError(
                    "an example is no file of a known type", where=e.id, wanted=", ".join(EXTENSIONS), got=e.media_type
                )
            names.append(file_stem(e.id) + EXTENSIONS[e.media_type])
        return names


def check_classes(classes: Sequence[str], where: str) -> None:
    """Raises `UserError` for names that no project of people's takes: they are shown on pages and in terminals."""
    for name in classes:
        if not name or len(name) > MAX_NAME or not name.isprintable() or name != name.strip():
            wanted = f"1 to {MAX_NAME} printable characters"
            raise UserError("not a usable name of a class", where=where, wanted=wanted, got=ascii(name)[:120])


def file_stem(id: str) -> str:
    """`id` where it can be a file's name, else one made of it and of its digest: different for different ids."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+=-]{0,150}", id):
        return id
    plain = re.sub(r"[^A-Za-z0-9._+=-]", "_", id)[:80].lstrip(".-") or "x"
    return f"{plain}-{hashlib.sha256(id.encode()).hexdigest()[:12]}"


def split_name(text: str) -> str:
    """The name of a split as we say it: `val2017` is `valid`."""
    plain = re.sub(r"\d+$", "", text.strip().lower()).strip("_-")
    return _SPLITS.get(plain, plain)


def outgoing(
    schema: LabelSchema | None,
    examples: Sequence[Example],
    bytes_of: Callable[[Example], bytes],
    answers: Mapping[str, Sequence[AnswerGiven]] | None = None,
) -> Outgoing:
    """What a version's examples are to a writer of files. Without a schema the labels themselves say of what kind they
    are, and classes come in alphabetical order. Raises `UserError` where they are of several kinds."""
    if schema is not None:
        classes = tuple(c.name for c in schema.classes if not c.into)
        names = {c.id: c.name for c in schema.classes}
        return Outgoing(schema.kind, schema.medium, classes, names, examples, bytes_of, answers or {})
    kinds = {one for e in examples if (one := kind_of(e.label)) is not None}
    if len(kinds) > 1:
        raise UserError("labels of several kinds", got=", ".join(sorted(map(str, kinds))))
    kind: Kind = next(iter(kinds)) if kinds else "single"
    found = {c for e in examples for c in classes_in(e.label, kind)}
    medium: Medium = "row"
    kinds_of_media: tuple[Medium, ...] = ("image", "audio", "text")
    for prefix in kinds_of_media:
        if any(e.media_type.startswith(prefix) for e in examples):
            medium = prefix
            break
    return Outgoing(kind, medium, tuple(sorted(found)), {}, examples, bytes_of)


def kind_of(label: Any) -> Kind | None:
    """The kind of a label by its form; None for the empty list, which is of two."""
    if isinstance(label, str):
        return "single"
    if isinstance(label, int):
        return "rating"
    if isinstance(label, list) and label:
        return "boxes" if isinstance(label[0], list) else "multi"
    return None


def classes_in(label: Any, kind: Kind) -> list[str]:
    """The classes that a label names."""
    if kind == "single":
        return [label] if isinstance(label, str) else []
    if kind not in ("multi", "boxes") or not isinstance(label, list):
        return []
    named = label if kind == "multi" else [box[0] if isinstance(box, list) and box else None for box in label]
    return [name for name in named if isinstance(name, str)]

"""Label Studio's labelling configuration: which control of it gives a project's answers, and what that is about.

The configuration is XML of strangers: it is bounded, and a document type, the one thing by which XML grows or reaches
out, is refused. Source: Label Studio's tag reference (Choices, RectangleLabels, TextArea, Rating; `toName`, `alias`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn
from xml.parsers import expat

import msgspec

from serving.labelling.values import resolve
from tidemill.errors import RequestError
from tidemill.label_events import Kind, LabelSchema

MAX_CONFIG = 256 << 10
MAX_DEPTH = 64
MAX_TAGS = 20_000

CONTROLS: dict[Kind, str] = {
    "single": "choices",
    "multi": "choices",
    "boxes": "rectanglelabels",
    "transcription": "textarea",
    "rating": "rating",
}
"""The control that gives answers of a kind, in lower case, which is also the type of its results."""

_LABELS = {"choices": "choice", "rectanglelabels": "label"}


class Tag(msgspec.Struct, frozen=True):
    """An element: its name in lower case, its attributes, and its place, the indices of its ancestors and its own."""

    name: str
    attributes: Mapping[str, str]
    place: tuple[int, ...]


class Control(msgspec.Struct, frozen=True):
    """The control that gives a project's answers. `to` names the object that it is about, `source` the field of a
    task's data which that shows; `told` is what results call a class, by its id, `meant` the id by what is told."""

    name: str
    to: str
    type: str
    source: str
    told: Mapping[str, str]
    meant: Mapping[str, str]


def tags(text: str) -> list[Tag]:
    """All elements in the order of the text. Raises `RequestError` for what is no such XML."""

    def refuse(what: str, wanted: str = "elements alone") -> NoReturn:
        raise RequestError(f"the labelling configuration {what}", wanted=wanted, field="label_config")

    if len(text) > MAX_CONFIG:
        refuse("is too large", f"at most {MAX_CONFIG} characters")
    found: list[Tag] = []
    path: list[int] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        path.append(len(found))
        if len(path) > MAX_DEPTH or len(found) >= MAX_TAGS:
            refuse("has too many elements", f"{MAX_TAGS}, and {MAX_DEPTH} in one another")
        found.append(Tag(name.lower(), {key.lower(): value for key, value in attributes.items()}, tuple(path)))

    parser = expat.ParserCreate("utf-8")
    parser.StartDoctypeDeclHandler = lambda *_: refuse("has a document type")
    parser.EntityDeclHandler = lambda *_: refuse("declares an entity")
    parser.ExternalEntityRefHandler = lambda *_: refuse("names an external entity")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: path.pop()
    try:
        parser.Parse(text.encode("utf-8", "strict"), True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise RequestError("the labelling configuration is no XML", got=str(error), field="label_config") from None
    return found


def control(text: str, schema: LabelSchema) -> Control:
    """The first control that gives answers of the schema's kind. Raises `RequestError` where there is none, or its
    classes are not the project's."""
    found = tags(text)
    wanted = CONTROLS[schema.kind]
    own = next((tag for tag in found if tag.name == wanted and tag.attributes.get("name")), None)
    if own is None:
        raise RequestError(
            "the labelling configuration has no control for this project",
            wanted=f"<{_SPELT[wanted]} name= toName=>, for the project's kind is {schema.kind}",
            got=", ".join(sorted({tag.name for tag in found}))[:200],
            field="label_config",
        )
    to = own.attributes.get("toname", "").split(",")[0].strip()
    about = next((tag for tag in found if tag.attributes.get("name") == to and tag is not own), None)
    if about is None:
        raise RequestError("the control is about nothing", wanted="toName of an object", got=ascii(to)[:80])
    source = about.attributes.get("value", about.attributes.get("valuelist", "")).removeprefix("$")
    told, meant = _classes(found, own, schema)
    return Control(own.attributes["name"], to, wanted, source, told, meant)


_SPELT = {"choices": "Choices", "rectanglelabels": "RectangleLabels", "textarea": "TextArea", "rating": "Rating"}


def _classes(found: list[Tag], own: Tag, schema: LabelSchema) -> tuple[dict[str, str], dict[str, str]]:
    """What results call the project's classes, and what they mean by it: a label's alias, else its value, is the id or
    else the name of a class."""
    inner = _LABELS.get(own.name)
    if inner is None:
        return {}, {}
    by_name = {c.name: c.id for c in schema.classes if not c.into}
    told: dict[str, str] = {}
    meant: dict[str, str] = {}
    for tag in found:
        if tag.name != inner or tag.place[: len(own.place)] != own.place:
            continue
        value = tag.attributes.get("value", "")
        called = tag.attributes.get("alias") or value
        id = next((i for n in (called, value) if (i := resolve(schema, n) or by_name.get(n)) is not None), None)
        if id is not None:
            told.setdefault(id, called)
            meant[called] = id
    if not meant:
        raise RequestError(
            "no label of the labelling configuration is a class of the project",
            wanted=", ".join(c.name for c in schema.classes if not c.into)[:200],
            field="label_config",
        )
    return told, meant

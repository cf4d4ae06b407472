"""The label schema of a project: what a usable one is, and how its classes are changed while people label.

A change makes the next version, whole, in a new event. A class keeps its `id` for good: renaming changes its name, and
merging says `into` which class it counts from then on, so that answers under every earlier version keep their meaning.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from serving.labelling.values import resolve
from tidemill.errors import RequestError
from tidemill.label_events import LabelClass, LabelSchema
from tidemill.label_values import MAX_CLASSES

MAX_NAME = 100
MAX_INSTRUCTIONS = 20_000
RESERVED = frozenset("afhnrsu")
"""Keys that mean something else on the pages: accept, fit, move, new box, play again, skip, undo."""

_LAST_DIGIT = re.compile(r"(?:^|[^0-9])([0-9])$")


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of the classes: `add` a class (`id`, and `name`, `color`, `hotkey` where wanted), `rename` the class
    `id` to `name`, or `merge` it `into` another."""

    op: Literal["add", "rename", "merge"]
    id: str
    name: str = ""
    color: str = ""
    hotkey: str = ""
    into: str = ""


def checked(schema: LabelSchema) -> LabelSchema:
    """The schema of a new project. Raises `RequestError`."""
    needs = schema.kind in ("single", "multi", "boxes")
    if needs != bool(schema.classes):
        wanted = "classes" if needs else "no classes"
        raise RequestError("the schema does not fit its kind", wanted=wanted, got=schema.kind, field="schema.classes")
    if schema.kind == "boxes" and schema.medium != "image":
        raise RequestError("boxes are drawn on images", got=schema.medium, field="schema.medium")
    if len(schema.classes) > MAX_CLASSES:
        raise RequestError("too many classes", wanted=f"at most {MAX_CLASSES}", field="schema.classes")
    low, high = schema.rating
    if not -1000 <= low < high <= 1000:
        raise RequestError("no such range", wanted="two whole numbers, the lower first", field="schema.rating")
    if len(schema.instructions) > MAX_INSTRUCTIONS:
        raise RequestError("too long", wanted=f"at most {MAX_INSTRUCTIONS} characters", field="schema.instructions")
    for i, one in enumerate(schema.classes):
        _usable(one, f"schema.classes[{i}]")
        if one.into:
            raise RequestError("a new project has nothing merged", field=f"schema.classes[{i}].into")
        _bindable(one.hotkey, f"schema.classes[{i}]")
    _distinct(schema.classes)
    return msgspec.structs.replace(schema, version=1)


def changed(schema: LabelSchema, changes: list[Change]) -> LabelSchema:
    """The next version. Raises `RequestError`, and then none of the changes is made."""
    if not changes or schema.kind not in ("single", "multi", "boxes"):
        raise RequestError("nothing to change", wanted="a change of classes", field="changes")
    classes = list(schema.classes)
    for i, change in enumerate(changes):
        field = f"changes[{i}]"
        # Of a change alone: a class of before that has such a key can still be renamed.
        _bindable(change.hotkey, field)
        at = next((n for n, c in enumerate(classes) if c.id == change.id), None)
        if change.op == "add":
            if at is not None:
                raise RequestError("the class exists", got=ascii(change.id), field=f"{field}.id")
            classes.append(LabelClass(change.id, change.name or change.id, change.color, change.hotkey))
            _usable(classes[-1], field)
            continue
        if at is None:
            raise RequestError("no such class", got=ascii(change.id)[:80], field=f"{field}.id")
        if change.op == "rename":
            made = {"name": change.name, "color": change.color, "hotkey": change.hotkey}
            classes[at] = msgspec.structs.replace(classes[at], **{k: v for k, v in made.items() if v})
            _usable(classes[at], field)
            continue
        target = resolve(msgspec.structs.replace(schema, classes=tuple(classes)), change.into)
        if target is None or target == change.id or classes[at].into:
            wanted = "another class in use, and one that is not merged yet"
            raise RequestError("cannot be merged", wanted=wanted, got=ascii(change.into)[:80], field=f"{field}.into")
        classes[at] = msgspec.structs.replace(classes[at], into=target)
    if len(classes) > MAX_CLASSES:
        raise RequestError("too many classes", wanted=f"at most {MAX_CLASSES}", field="changes")
    _distinct(tuple(classes))
    return msgspec.structs.replace(schema, classes=tuple(classes), version=schema.version + 1)


def hotkeys(schema: LabelSchema) -> dict[str, str]:
    """The key of each class in use, which the pages bind (empty: there is none left): its own, else the digit that its
    name ends with, so that 0 is 0, else the first of 1 to 9, 0 and the letters that are not `RESERVED`. No two classes
    have one; a key of its own that is reserved, or another's before it, is passed over."""
    live = [c for c in schema.classes if not c.into]
    keys: dict[str, str] = {}
    own = [(c.id, c.hotkey.lower()) for c in live]
    named = [(c.id, found[1]) for c in live if (found := _LAST_DIGIT.search(c.name))]
    plain = [key for key in "1234567890abcdefghijklmnopqrstuvwxyz" if key not in RESERVED]
    for id, key in own + named:
        if id not in keys and key in plain:
            plain.remove(key)
            keys[id] = key
    return {c.id: keys.get(c.id) or (plain.pop(0) if plain else "") for c in live}


def _usable(one: LabelClass, field: str) -> None:
    for name in ("id", "name"):
        text = getattr(one, name)
        if not text or len(text) > MAX_NAME or not text.isprintable() or text != text.strip():
            wanted = f"1 to {MAX_NAME} printable characters"
            raise RequestError("not a usable name", wanted=wanted, got=ascii(text)[:80], field=f"{field}.{name}")
    if len(one.hotkey) > 1 or (one.hotkey and not (one.hotkey.isascii() and one.hotkey.isalnum())):
        raise RequestError("no such key", wanted="one letter or digit", got=ascii(one.hotkey), field=f"{field}.hotkey")
    # It ends in a style of the page.
    hexadecimal = set(one.color[1:]) <= set("0123456789abcdefABCDEF")
    if one.color and not (one.color[0] == "#" and len(one.color) in (4, 7) and hexadecimal):
        raise RequestError(
            "no such colour", wanted="#rgb or #rrggbb", got=ascii(one.color)[:80], field=f"{field}.color"
        )


def _bindable(hotkey: str, field: str) -> None:
    """Raises `RequestError` for a key that would never choose the class."""
    if hotkey.lower() in RESERVED:
        raise RequestError(
            "the key means something else on the page",
            wanted=f"a digit, or a letter but {', '.join(sorted(RESERVED))}",
            got=hotkey,
            field=f"{field}.hotkey",
        )


def _distinct(classes: tuple[LabelClass, ...]) -> None:
    live = [c for c in classes if not c.into]
    for what, names in (
        ("id", [c.id for c in classes]),
        ("name", [c.name for c in live]),
        ("hotkey", [c.hotkey.lower() for c in live if c.hotkey]),
    ):
        if doubled := sorted({n for n in names if names.count(n) > 1}):
            raise RequestError(f"two classes have one {what}", got=", ".join(doubled)[:80], field="schema.classes")

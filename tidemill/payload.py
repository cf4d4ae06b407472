"""The JSON payload of a declared stream: the type it decodes to, and what is wrong with one that does not."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

import msgspec

from tidemill.errors import BadEvent, MalformedError, NotFiniteError, UnknownTagError, WrongTypeError
from tidemill.stream import StreamSpec

PLAIN: dict[str, Any] = {"int": int, "float": float, "bool": bool, "string": str, "time": int | float | str}
"""The Python types of a declared field's value; `json` is any."""

_INT64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


def row_type(spec: StreamSpec, *, tagged: bool = False) -> type[msgspec.Struct]:
    """The Struct that a JSON payload of the declared stream decodes to; unknown fields are passed over.

    Its attributes are `f0`, `f1`, … in the order of the fields, whose names need not be identifiers: see `payload_of`.
    With `tagged`, nothing decodes to it whose `type` is not the stream's tag.
    """
    fields: list[Any] = []
    for i, f in enumerate(spec.fields):
        kind = Any if f.type == "json" else _INT64 if f.type == "int" else PLAIN[f.type]
        if f.nullable and f.type != "json":
            kind = kind | None
        if f.nullable or f.default is not None:
            fields.append((f"f{i}", kind, f.default))
        else:
            fields.append((f"f{i}", kind))
    names = {f"f{i}": f.name for i, f in enumerate(spec.fields)}
    if tagged:
        fields.append(("tag", Literal[spec.tag]))
        names["tag"] = "type"
    return msgspec.defstruct(spec.name.replace(".", "_").replace("-", "_"), fields, kw_only=True, rename=names)


def payload_of(row: msgspec.Struct) -> dict[str, Any]:
    """A row of `row_type` as the payload it was, by the fields' names."""
    return dict(zip(row.__struct_encode_fields__, msgspec.structs.astuple(row), strict=True))


def check_tag(value: bytes, tag: str) -> None:
    """Raises `UnknownTagError` where a JSON payload does not carry `tag` in its `type` field, and what `explain` says
    where it cannot be read."""
    try:
        got = _tag.decode(value).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise explain(value, error) from None
    if got != tag:
        raise UnknownTagError("unknown event type", wanted=tag, got=repr(got))


class _Tag(msgspec.Struct):
    type: str


_tag = msgspec.json.Decoder(_Tag)


def explain(data: bytes, error: Exception) -> BadEvent:
    """Which `BadEvent` a payload is that msgspec refused with `error`."""
    try:
        text = data.decode()
    except UnicodeDecodeError as wrong:
        return MalformedError("not UTF-8", got=str(wrong))
    try:
        value = json.loads(text)
        if not _finite(value):
            names = [n for n, v in value.items() if not _finite(v)] if isinstance(value, dict) else []
            return NotFiniteError("NaN or an infinite number", wanted="finite numbers", field=names[0] if names else "")
    except (ValueError, RecursionError):
        return MalformedError("not JSON", got=str(error))
    if isinstance(error, msgspec.ValidationError):
        said = str(error)
        missing = said.partition("missing required field `")[2].partition("`")[0]
        field = said.rpartition("`$.")[2].rstrip("`") if "`$." in said else missing
        return WrongTypeError("does not fit the declaration", got=said, field=field)
    return MalformedError("not JSON", got=str(error))


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list) else True

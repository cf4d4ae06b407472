"""A declaration from a file: our own JSON (`tidemill stream show NAME --json` prints it) or a JSON Schema document.

Of a JSON Schema's `properties`: `integer` is `int`, `number` `float`, `boolean` `bool`, `string` `string`, with format
`date-time` or `date` `time`, and everything else `json`. What is not in `required`, or may be `null`, is nullable;
`default` is taken over. Further rules of the schema (ranges, patterns) are not checked, and that is said.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from tidemill.errors import ConfigError, DeclarationError
from tidemill.stream import Field, FieldType, StreamSpec

_TYPES: dict[str, FieldType] = {"integer": "int", "number": "float", "boolean": "bool", "string": "string"}
_KNOWN = {"type", "format", "default", "title", "description", "examples", "$comment", "properties", "items", "anyOf"}


def read_declaration(name: str, path: str, **settings: Any) -> tuple[StreamSpec, tuple[str, ...]]:
    """The declaration of stream `name` in a file, and notes on what of it is not held.

    `settings` that are not None go before what the file says. Raises `ConfigError` where there is no such file, and
    `DeclarationError` where it is neither of the two or lacks something, naming it.
    """
    try:
        document = json.loads(Path(path).read_text())
    except OSError as error:
        raise ConfigError("cannot read the file", where=path, got=error.strerror or str(error)) from None
    except ValueError as error:
        raise DeclarationError("not JSON", where=path, got=str(error)) from None
    if not isinstance(document, dict):
        raise DeclarationError("not a declaration", where=path, wanted="a JSON object", got=type(document).__name__)
    notes: tuple[str, ...] = ()
    given = {k: v for k, v in settings.items() if v is not None}
    if "properties" in document:
        fields, notes = _from_json_schema(path, document)
        made = {"fields": [msgspec.to_builtins(f) for f in fields], **given}
    elif "fields" in document:
        if document.get("name", name) != name:
            raise DeclarationError("the file declares another stream", where=path, wanted=name, got=document["name"])
        made = {k: v for k, v in document.items() if k != "version"} | given
    else:
        raise DeclarationError(
            "not a declaration", where=path, wanted="an object with fields, or a JSON Schema with properties"
        )
    if "time" not in made:
        raise DeclarationError(
            "no event time", where=path, wanted="the field that holds it", fix="Name it with --time FIELD."
        )
    return _convert(path, made | {"name": name}), notes


def _convert(path: str, made: dict[str, Any]) -> StreamSpec:
    if extra := sorted(made.keys() - set(StreamSpec.__struct_fields__)):
        raise DeclarationError("unknown setting", where=path, got=", ".join(extra))
    try:
        return msgspec.convert(made, StreamSpec)
    except msgspec.ValidationError as error:
        # What __post_init__ raises comes wrapped only for ValueError and TypeError, so this is the shape's alone.
        raise DeclarationError("the declaration does not fit", where=path, got=str(error)) from None


def _from_json_schema(path: str, document: dict[str, Any]) -> tuple[list[Field], tuple[str, ...]]:
    required = set(document.get("required", ()))
    fields, rules = [], []
    for name, schema in document["properties"].items():
        schema = schema if isinstance(schema, dict) else {}
        type, nullable = _type(schema)
        if type == "string" and schema.get("format") in ("date-time", "date"):
            type = "time"
        fields.append(Field(name, type, nullable=nullable or name not in required, default=schema.get("default")))
        if more := sorted(schema.keys() - _KNOWN):
            rules.append(f"{name}: {', '.join(more)}")
    if not fields:
        raise DeclarationError("no properties", where=path, wanted="at least one")
    return fields, (f"not checked, as types are all a stream declares: {'; '.join(rules)}",) if rules else ()


def _type(schema: dict[str, Any]) -> tuple[FieldType, bool]:
    """The field type of a property, and whether it may be null."""
    types = schema.get("type")
    named = [types] if isinstance(types, str) else list(types or ())
    for choice in schema.get("anyOf", ()):
        if isinstance(choice, dict) and isinstance(choice.get("type"), str):
            named.append(choice["type"])
    nullable = "null" in named
    named = [t for t in named if t != "null"]
    if set(named) == {"integer", "number"}:
        named = ["number"]
    return (_TYPES.get(named[0], "json") if len(named) == 1 else "json"), nullable

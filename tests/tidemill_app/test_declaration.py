"""Declarations from files: ours, and JSON Schema."""

import json

import msgspec
import pytest

from tidemill.errors import ConfigError, DeclarationError
from tidemill.stream import Field, StreamSpec
from tidemill_app.declaration import read_declaration


def write(tmp_path, document) -> str:
    path = tmp_path / "d.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def test_our_own_form_comes_back_as_it_was(tmp_path):
    spec = StreamSpec(name="t", fields=(Field("at", "time"), Field("n", "int", default=3)), time="at", partitions=4)
    made, notes = read_declaration("t", write(tmp_path, msgspec.json.encode(spec).decode()), partitions=None)
    assert (made, notes) == (spec, ())
    made, _ = read_declaration("t", write(tmp_path, msgspec.json.encode(spec).decode()), partitions=2)
    assert made.partitions == 2


def test_a_json_schema_becomes_fields(tmp_path):
    schema = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "at": {"type": "string", "format": "date-time"},
            "n": {"type": ["integer", "null"]},
            "x": {"type": "number", "minimum": 0},
            "z": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            "d": {"type": "integer", "default": 3},
            "o": {"type": "object"},
        },
        "required": ["id", "at", "x", "n", "z", "o"],
    }
    made, notes = read_declaration("t", write(tmp_path, schema), time="at", id="id")
    assert made.fields == (
        Field("id", "string"),
        Field("at", "time"),
        Field("n", "int", nullable=True),
        Field("x", "float"),
        Field("z", "bool", nullable=True),
        Field("d", "int", nullable=True, default=3),
        Field("o", "json"),
    )
    assert notes == ("not checked, as types are all a stream declares: x: minimum",)


@pytest.mark.parametrize(
    ("document", "error", "message"),
    [
        ("{", DeclarationError, "not JSON"),
        ([], DeclarationError, "wanted a JSON object"),
        ({"a": 1}, DeclarationError, "an object with fields"),
        ({"fields": [{"name": "a", "type": "int"}]}, DeclarationError, "--time FIELD"),
        ({"fields": [{"name": "a", "type": "number"}], "time": "a"}, DeclarationError, "number"),
        ({"fields": [{"name": "a", "type": "time"}], "time": "b"}, DeclarationError, "time is no field"),
        ({"fields": [{"name": "a", "type": "time"}], "time": "a", "keys": 1}, DeclarationError, "keys"),
        ({"name": "u", "fields": [], "time": "a"}, DeclarationError, "another stream"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, document, error, message):
    with pytest.raises(error, match=message):
        read_declaration("t", write(tmp_path, document))


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_declaration("t", str(tmp_path / "none.json"))

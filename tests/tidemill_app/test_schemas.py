"""The schemas beside the code are those of the code, and say what the code accepts."""

import json

import jsonschema
import pytest

from tidemill import events
from tidemill.events import TAGS
from tidemill.stream import Field, StreamSpec
from tidemill_app.schemas import FOLDER, files, write


def test_the_folder_holds_exactly_the_schemas_of_the_union():
    there = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    assert there == files(), "run: python -m tidemill_app.schemas"


@pytest.mark.parametrize("tag", TAGS)
def test_each_is_a_sound_schema(tag):
    jsonschema.Draft202012Validator.check_schema(json.loads((FOLDER / f"{tag}.json").read_text()))


def test_an_event_of_ours_fits_its_schema_and_a_broken_one_does_not():
    spec = StreamSpec(name="t", fields=(Field("at", "time"),), time="at")
    event = json.loads(events.encode(events.StreamDeclared(id="1", time=2, spec=spec)))
    schema = json.loads((FOLDER / "stream.declared.v1.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(event)
    event["spec"]["fields"][0]["type"] = "number"
    assert not validator.is_valid(event)


def test_writing_removes_what_no_longer_is(tmp_path):
    (tmp_path / "old.v1.json").write_text("{}")
    assert "old.v1.json" in write(tmp_path)
    assert write(tmp_path) == []

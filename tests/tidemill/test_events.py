"""The platform's events: one union, strict about what it knows, lenient about what is new."""

import json

import pytest

from tidemill import events
from tidemill.errors import MalformedError, UnknownTagError, WrongTypeError
from tidemill.stream import Field, StreamSpec

EXAMPLES = [
    events.TimeAdvanced(id="1", time=2, promise=True),
    events.StreamDeclared(id="1", time=2, spec=StreamSpec(name="s", fields=(Field("at", "time"),), time="at")),
    events.LabelGiven(id="1", time=2, about="x", value={"a": [1, None]}),
    events.PredictionMade(id="1", time=2, about="1", model="m", version="1", score=0.5, features=[1.0]),
    events.MetricsMeasured(id="1", time=2, model="m", version="1", count=3, values={"auc": 0.5}),
    events.DriftDetected(id="1", time=2, model="m", detector="d", value=1.0),
    events.ModelPublished(
        id="1", time=2, model="m", version="1", uri="u", content_digest="c", version_digest="v", kind="k"
    ),
    events.ModelAliased(id="1", time=2, model="m", alias="champion", version="1"),
    events.DeltaPublished(id="1", time=2, model="m", base="1", sequence=1, changes={"a": 1}),
    events.FeatureUpdated(id="1", time=2, table="t", key="k", values={"a": 1}, sequence=1),
    events.JobChanged(id="1", time=2, job="j", wanted="running"),
    events.RecordErased(id="1", time=2, topic="t", partition=0, offset=1),
    events.ProgressMade(
        id="1",
        time=2,
        job="j",
        sequence=1,
        offsets=[("t", 0, 5)],
        watermark=3,
        last=(1, "s", "i"),
        segments=[("t", 0, 0, 5)],
        emitted={"p": 1},
    ),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=events.tag_of)
def test_every_event_comes_back(event):
    data = events.encode(event)
    assert events.decode(data) == event
    assert json.loads(data)["type"] == events.tag_of(event)


def test_there_is_an_example_of_every_event():
    assert {events.tag_of(e) for e in EXAMPLES} == set(events.TAGS)


def test_every_tag_carries_its_version():
    assert all(tag.rpartition(".v")[2].isdigit() for tag in events.TAGS)


def test_what_a_later_version_adds_is_passed_over():
    data = json.loads(events.encode(EXAMPLES[2])) | {"new": 1}
    assert events.decode(json.dumps(data).encode()) == EXAMPLES[2]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"{", MalformedError),
        (b"\xff", MalformedError),
        (b'{"type":"label.given.v1","id":"\xff","time":1,"about":"a","value":1}', MalformedError),
        (b"[]", WrongTypeError),
        (b"{}", WrongTypeError),
        (b'{"type":"label.given.v9","id":"1","time":1}', UnknownTagError),
        (b'{"type":"label.given.v1","id":"1","time":1}', WrongTypeError),
        (b'{"type":"label.given.v1","id":1,"time":1,"about":"a","value":1}', WrongTypeError),
        (b'{"type":"label.given.v1","id":"1","time":1,"about":"a","value":' + b"[" * 100_000, MalformedError),
    ],
)
def test_what_is_no_event_is_named(data, error):
    with pytest.raises(error):
        events.decode(data)


def test_every_event_has_a_schema():
    schemas = events.json_schemas()
    assert schemas.keys() == events.TAGS.keys()
    assert all(s["$schema"].endswith("2020-12/schema") for s in schemas.values())

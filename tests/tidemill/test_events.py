"""The platform's events: one union, strict about what it knows, lenient about what is new."""

import json

import pytest

from tidemill import events
from tidemill.errors import MalformedError, UnknownTagError, WrongTypeError
from tidemill.label_events import LabelClass, LabelSchema
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
    events.ProjectChanged(
        id="1",
        time=2,
        project="p",
        schema=LabelSchema(kind="single", medium="image", classes=(LabelClass("c1", "cat"),)),
        rules=[{"when": "fast"}],
        budget=9.5,
    ),
    events.MemberChanged(id="1", time=2, project="p", member="ann", roles=["annotator"]),
    events.LabelAsked(id="1", time=2, about="i", media="0" * 64, media_type="image/png", gold="c1"),
    events.LabelLeased(id="1", time=2, about="i", by="ann", lease="1", expires=3),
    events.AnswerGiven(id="1", time=2, about="i", by="ann", value=[["c1", 0, 0, 5, 5]], seconds=1.5),
    events.AnswerWithdrawn(id="1", time=2, about="i", by="ann"),
    events.LabelReviewed(id="1", time=2, about="i", by="eve", value="c1"),
    events.LabelEstimated(id="1", time=2, about="i", value="c1", confidence=0.9, posterior={"c1": 0.9}),
    events.LabelSettled(id="1", time=2, about="i", value="c1", confidence=0.9),
    events.LabelRevised(id="1", time=2, about="i", value=None, before="c1", confidence=0.5),
    events.EstimationAsked(id="1", time=2, by="eve"),
    events.DatasetPublished(id="1", time=2, dataset="d", version="1", digest="0" * 64, examples=3),
    events.ItemRetracted(id="1", time=2, stream="p", about="i", reason="asked"),
    events.RunChanged(id="1", time=2, run="r", state="started", config={"epochs": 2}),
    events.RunMeasured(id="1", time=2, run="r", step=1, epoch=0, values={"loss": 0.5}),
    events.RunLogged(id="1", time=2, run="r", line="begun"),
    events.GateDecided(id="1", time=2, model="m", candidate="2", accepted=False, reasons=["no better"]),
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

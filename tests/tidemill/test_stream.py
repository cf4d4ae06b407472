"""Declarations: what can be said, and what may change."""

import msgspec
import pytest

from tidemill.decode import Decoder
from tidemill.errors import DeclarationError, IncompatibleError
from tidemill.log import Record
from tidemill.stream import RECORD_TIME, Field, StreamSpec, check_compatible, check_name, label_stream

AT, ID = Field("at", "time"), Field("id", "string")


def spec(*fields: Field, **changes) -> StreamSpec:
    return StreamSpec(**{"name": "s", "fields": (AT, ID, *fields), "time": "at", "id": "id", "key": "id"} | changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: spec(name="Upper"), "name cannot be used"),
        (lambda: spec(name="../x"), "name cannot be used"),
        (lambda: spec(name="a" * 151), "name cannot be used"),
        (lambda: spec(AT), "declared twice; got at"),
        (lambda: spec(key="none"), "key is no field"),
        (lambda: spec(label="none"), "label is no field"),
        (lambda: spec(time="none"), "time is no field"),
        (lambda: spec(Field("n", "string", nullable=True), id="n"), "id field cannot be nullable"),
        (lambda: spec(partitions=0), "no partitions"),
        (lambda: spec(Field('a"b', "int")), "field's name cannot be used"),
        (lambda: spec(Field("a\nb", "int")), "field's name cannot be used"),
        (lambda: spec(Field("", "int")), "field's name cannot be used"),
        (lambda: StreamSpec(name="s", fields=(), time=RECORD_TIME), "no fields"),
    ],
)
def test_what_cannot_be_declared(make, message):
    with pytest.raises(DeclarationError, match=message):
        make()


def test_what_follows_from_the_name():
    made = spec(partitions=3, retention_ms=5)
    assert (made.topic, made.source) == ("data.s", "/streams/s")
    assert (made.topic_spec().partitions, made.topic_spec().retention_ms) == (3, 5)
    assert msgspec.json.decode(msgspec.json.encode(made), type=StreamSpec) == made
    labels = label_stream("s")
    assert (labels.name, labels.topic, labels.key, labels.id) == ("labels.s", "labels.s", "about", "id")
    assert check_name("a.b-c_1", "x") == "a.b-c_1"


@pytest.mark.parametrize("name", ["unit price", "order-id", "1st", "class", "__x", "straße", "a.b", "f1"])
def test_a_field_may_be_called_what_a_csv_calls_it(name):
    made = spec(Field(name, "int"))
    value = msgspec.json.encode({"at": "1970-01-01", "id": "x", name: 3})
    (block,) = Decoder(made).decode([Record("data.s", 0, 0, None, value, (), 0)])
    assert block.columns[name].tolist() == [3]


ALLOWED = [
    (spec(), spec(Field("n", "int", nullable=True))),
    (spec(), spec(Field("n", "int", default=0))),
    (spec(Field("n", "int")), spec()),
    (spec(Field("n", "int")), spec(Field("n", "int", nullable=True))),
    (spec(Field("n", "int")), spec(Field("n", "float"))),
    (spec(Field("n", "bool")), spec(Field("n", "json"))),
    (spec(), spec(retention_ms=5)),
    (spec(key=None), spec(key=None, partitions=2)),
]


@pytest.mark.parametrize(("old", "new"), ALLOWED)
def test_what_may_change(old, new):
    check_compatible((old,), new)


REFUSED = [
    (spec(), spec(Field("n", "int")), "n"),
    (spec(Field("n", "float")), spec(Field("n", "int")), "n"),
    (spec(Field("n", "json")), spec(Field("n", "string")), "n"),
    (spec(Field("n", "int", nullable=True)), spec(Field("n", "int")), "n"),
    (spec(Field("n", "int", nullable=True)), spec(Field("n", "int", default=0)), "n"),
    (spec(Field("n", "int", default=0)), spec(Field("n", "int")), "n"),
    (spec(Field("n", "int"), key="n"), spec(Field("n", "float"), key="n"), "n"),
    (spec(), spec(key=None), "key"),
    (spec(), spec(time_unit="s"), "time_unit"),
    (spec(), spec(time=RECORD_TIME), "time"),
    (spec(), spec(topic="other"), "topic"),
    (spec(), spec(partitions=2), "partitions"),
    (spec(key=None, partitions=2), spec(key=None), "partitions"),
]


@pytest.mark.parametrize(("old", "new", "field"), REFUSED)
def test_what_may_not_change_is_named(old, new, field):
    with pytest.raises(IncompatibleError, match=r"version 1 to 1") as caught:
        check_compatible((old,), new)
    assert caught.value.field == field


PAYLOADS = {
    "int": [1, -5],
    "float": [1, 2.5],
    "bool": [True],
    "string": ["x", ""],
    "json": [1, None, {"a": []}],
}


@pytest.mark.parametrize(("old", "new"), ALLOWED)
def test_what_may_change_reads_everything_written_before(old, new):
    """The claim behind the rules: each payload that fits `old` fits `new`, with the same id and key."""
    base = {"at": "1970-01-01", "id": "x"}
    payloads = [base]
    for f in old.fields[2:]:
        payloads = [p | {f.name: v} for p in payloads for v in PAYLOADS[f.type] + ([None] if f.nullable else [])]
    for payload in payloads:
        value = msgspec.json.encode(payload)
        record = Record("data.s", 0, 0, None, value, (), 0)
        (before,), (after,) = Decoder(old).decode([record]), Decoder(new).decode([record])
        assert len(before) == len(after) == 1
        assert before.ids[0] == after.ids[0]


def test_every_earlier_version_counts():
    first, second = spec(Field("n", "int", nullable=True)), spec(version=2)
    check_compatible((first,), second)
    with pytest.raises(IncompatibleError, match="version 1 to 3"):
        check_compatible((first, second), spec(Field("n", "string", nullable=True), version=3))

"""Which examples there are in ranges of the log, and the label that each had at the watermark."""

import msgspec
import pytest

from connectors.datasets.assembling import Found, Told, assemble, gather_items, gather_labels, merges, schema_of
from connectors.datasets.version import DatasetManifest, Retracted
from tidemill import events
from tidemill.block import Place
from tidemill.cloudevents import headers_of
from tidemill.decode import Decoder
from tidemill.events import LabelGiven
from tidemill.label_events import LabelClass, LabelEstimated, LabelRevised, LabelSchema, LabelSettled, ProjectChanged
from tidemill.log import Record
from tidemill.stream import Field, StreamSpec

SPEC = StreamSpec(
    name="cells",
    fields=(
        Field("id", "string"),
        Field("time", "time"),
        Field("media", "string", default=""),
        Field("group", "string", default=""),
        Field("kind", "string", nullable=True),
    ),
    time="time",
    id="id",
    time_unit="us",
)
SPLITS = {"train": 0.5, "test": 0.5}


def manifest(**changed):
    plain = DatasetManifest(name="d", project="cells", data=[], labels=[], stream=SPEC, splits=SPLITS)
    return msgspec.structs.replace(plain, **changed)


def found(id, offset, partition=0, time=None, **payload):
    return Found(partition, offset, 0, offset if time is None else time, id, {"id": id, "media": "", **payload})


def given_(about, value, offset, partition=0, time=None, by="ann"):
    at = offset if time is None else time
    return Told(partition, offset, LabelGiven(id=f"l{offset}", time=at, about=about, value=value, by=by))


def labels(told, **changed):
    examples = assemble(manifest(**changed), [found(i, n) for n, i in enumerate("abc")], told)
    return {e.id: e.label for e in examples}


def test_the_last_label_of_an_item_counts():
    told = [given_("a", "cat", 1), given_("b", "dog", 2), given_("a", "dog", 3)]
    assert labels(told) == labels(told[::-1]) == {"a": "dog", "b": "dog", "c": None}


def test_offset_and_not_time_decides_within_a_partition():
    assert labels([given_("a", "first", 1, time=99), given_("a", "last", 2, time=1)])["a"] == "last"
    assert labels([given_("a", "late", 1, 1, time=99), given_("a", "early", 5, 0, time=1)])["a"] == "late"


def test_what_is_settled_no_more_has_no_label_until_one_is_given_again():
    revised = LabelRevised(id="r", time=5, about="a", value=None, before="cat", confidence=0.4)
    settled = LabelSettled(id="s", time=2, about="a", value="cat", confidence=0.97)
    told = [given_("a", "cat", 1, by="consensus:majority"), Told(0, 2, settled)]
    (a, *_) = assemble(manifest(), [found("a", 0)], told)
    assert (a.label, a.confidence) == ("cat", 0.97)
    (a, *_) = assemble(manifest(), [found("a", 0)], [*told, Told(0, 3, revised)])
    assert (a.label, a.confidence) == (None, None)
    (a, *_) = assemble(manifest(), [found("a", 0)], [*told, Told(0, 3, revised), given_("a", "dog", 4)])
    assert (a.label, a.confidence) == ("dog", None)


def test_merged_classes_are_what_they_were_merged_into():
    classes = (LabelClass("cat", "Cat", into="pet"), LabelClass("pet", "Pet", into="animal"), LabelClass("animal", "A"))
    schema = LabelSchema(kind="single", medium="image", classes=classes)
    assert labels([given_("a", "cat", 1), given_("b", "Cat", 2), given_("c", "x", 3)], schema=schema) == {
        "a": "animal",
        "b": "animal",
        "c": "x",
    }
    assert labels([given_("a", ["cat", "animal"], 1), given_("b", [["cat", 1, 2, 3, 4]], 2)], schema=schema) == {
        "a": ["animal"],
        "b": [["animal", 1, 2, 3, 4]],
        "c": None,
    }
    circle = (LabelClass("a", "A", into="b"), LabelClass("b", "B", into="a"))
    around = LabelSchema(kind="single", medium="image", classes=circle)

    assert set(merges(around).values()) <= {"a", "b"}


def test_a_class_s_name_is_never_taken_for_another_s_id():
    classes = (LabelClass("1", "2"), LabelClass("2", "1"))
    schema = LabelSchema(kind="single", medium="image", classes=classes)
    assert labels([given_("a", "1", 1), given_("b", "2", 2)], schema=schema)["a"] == "1"


def test_the_schema_is_the_newest_of_the_project():
    def changed(version, offset, project="cells"):
        schema = LabelSchema(kind="single", medium="image", version=version)
        return Told(0, offset, ProjectChanged(id=f"p{offset}", time=offset, project=project, schema=schema))

    told = [changed(2, 5), changed(1, 1), changed(9, 7, "other"), given_("a", "x", 8)]
    assert schema_of("cells", told).version == 2
    assert schema_of("nobody", told) is None


def test_the_first_of_two_events_of_one_id_counts():
    twice = [found("a", 5, kind="later"), found("a", 2, partition=1, kind="first")]
    (one,) = assemble(manifest(), twice, [])
    assert (one.payload["kind"], one.partition, one.offset) == ("first", 1, 2)


def test_a_group_is_in_one_split():
    items = [found(f"i{n}", n, group=f"g{n % 7}", kind=f"k{n % 3}") for n in range(200)]
    for by, groups in (("", 7), ("kind", 3)):
        examples = assemble(manifest(by=by), items, [])
        splits = {e.group: {f.split for f in examples if f.group == e.group} for e in examples}
        assert len(splits) == groups and all(len(of) == 1 for of in splits.values())


def test_a_field_may_name_the_split_and_where_it_names_none_the_hash_does():
    items = [found("a", 0, kind="test"), found("b", 1, kind="train"), found("c", 2, kind="elsewhere")]
    by_hash = {e.id: e.split for e in assemble(manifest(), items, [])}
    fixed = {e.id: e.split for e in assemble(manifest(fixed="kind"), items, [])}
    assert fixed == {"a": "test", "b": "train", "c": by_hash["c"]}


def test_what_was_retracted_is_left_out_and_a_label_only_up_to_then():
    told = [given_("a", "cat", 10), given_("b", "cat", 11), given_("c", "cat", 12), given_("c", "dog", 30)]
    retracted = [Retracted("a"), Retracted("b", True, 20), Retracted("c", True, 20)]
    assert labels(told, retracted=retracted) == {"b": None, "c": "dog"}


def test_filters_and_unlabelled_items():
    assert labels([given_("a", "cat", 1)], labelled=True) == {"a": "cat"}
    assert labels([given_("a", "cat", 1)], where=["@label = cat", "id != b"]) == {"a": "cat"}


def record(offset, value, headers=()):
    return Record("data.cells", 0, offset, None, value, headers, 0)


def test_items_are_gathered_and_what_is_none_is_counted():
    records = [record(0, b'{"id":"a","time":5}'), record(1, b"nonsense"), record(3, b'{"id":"b","time":6,"kind":"k"}')]
    for pieces in ([records], [[r] for r in records], [records[:2], records[2:]]):
        got = [gather_items(Decoder(SPEC), piece, lambda p, items: items) for piece in pieces]
        items = [one for some, _ in got for one in some]
        assert [(i.id, i.offset, i.time, i.payload["kind"]) for i in items] == [("a", 0, 5, None), ("b", 3, 6, "k")]
        assert sum(bad for _, bad in got) == 1
    assert gather_items(Decoder(SPEC), [], lambda p, items: items) == ([], 0)
    assert gather_items(Decoder(SPEC), records[:1], lambda p, items: []) == ([], 0)


def test_only_what_says_something_of_labels_is_gathered():
    said = [
        LabelGiven(id="1", time=1, about="a", value="cat"),
        LabelEstimated(id="2", time=2, about="a", value="cat", confidence=0.5),
        LabelSettled(id="3", time=3, about="a", value="cat", confidence=0.9),
    ]
    records = [record(n, events.encode(e), headers_of(e)) for n, e in enumerate(said)]
    records.append(record(3, b'{"type":"label.given.v1"}'))
    assert [t.offset for t in gather_labels(records)] == [0, 2]
    assert [t.offset for t in gather_labels(records, {Place("data.cells", 0, 0)})] == [2]


@pytest.mark.parametrize("label", [None, "spam"])
def test_a_field_that_the_stream_declares_as_label_is_one(label):
    spec = msgspec.structs.replace(SPEC, label="kind")
    (one,) = assemble(manifest(stream=spec), [found("a", 0, kind="ham")], [given_("a", label, 1)] if label else [])
    assert one.label == (label or "ham")

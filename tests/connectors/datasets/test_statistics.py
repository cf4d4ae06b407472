"""Counts, what breaks the schema, and what leaks."""

import msgspec
import pytest

from connectors.datasets.examples import Example
from connectors.datasets.statistics import group_leaks, leaks, same, statistics, violations
from tidemill.label_events import LabelClass, LabelSchema

CLASSES = (LabelClass("c", "cat"), LabelClass("d", "dog"), LabelClass("o", "old", into="c"))


def schema(kind="single", medium="row"):
    return LabelSchema(kind=kind, medium=medium, classes=CLASSES)


def one(id, label=None, split="train", **changed):
    payload = {"id": id, "time": 0, **changed.pop("payload", {})}
    return msgspec.structs.replace(Example("t", 0, 0, id, "", "", payload, label, "", split), **changed)


def test_counts_are_by_class_name_and_split():
    examples = [
        one("a", "c", confidence=0.5, payload={"width": 10, "height": 20}),
        one("b", "c", "test", group="g", payload={"width": 30, "height": 20}),
        one("x"),
    ]
    found = statistics(examples, schema())
    assert found["classes"] == {"cat": {"test": 1, "train": 1}, "dog": {}}
    assert found["splits"] == {"test": 1, "train": 2} and found["unlabelled"] == 1 and found["groups"] == 1
    assert found["width"] == {"least": 10, "median": 20.0, "most": 30, "of": 2}
    assert found["confidence"]["below_0.8"] == 1 and found["boxes"] == {}
    assert statistics([one("b", [["c", 0, 0, 1, 1], ["c", 0, 0, 1, 1]])], schema("boxes"))["boxes"]["most"] == 2


@pytest.mark.parametrize(
    ("kind", "label", "wrong"),
    [
        ("single", "c", None),
        ("single", "o", "no class"),
        ("single", ["c"], "no class"),
        ("multi", ["c", "d"], None),
        ("multi", ["c", "x"], "'x' is no class"),
        ("multi", "c", "not a list"),
        ("rating", 5, None),
        ("rating", 6, "between"),
        ("rating", True, "between"),
        ("transcription", "hello", None),
        ("transcription", 1, "not a text"),
        ("boxes", [], None),
        ("boxes", [["c", 0, 0, 10, 20]], None),
        ("boxes", [["c", 0, 0, 11, 20]], "out of the image"),
        ("boxes", [["c", -1, 0, 5, 5]], "out of the image"),
        ("boxes", [["c", 0, 0, 0, 5]], "empty"),
        ("boxes", [["x", 0, 0, 5, 5]], "no class"),
        ("boxes", [["c", 0, 0, 5]], "not a box"),
    ],
)
def test_a_label_that_cannot_be_is_told(kind, label, wrong):
    examples = [one("a", label, payload={"width": 10, "height": 20})]
    found = violations(examples, schema(kind))
    assert [v["id"] for v in found] == ([] if wrong is None else ["a"])
    assert wrong is None or wrong in found[0]["what"]


def test_a_size_that_is_not_known_bounds_no_box():
    for payload in ({}, {"width": 0, "height": 0}, {"width": None}):
        examples = [one("a", [["c", 0, 0, 500, 500]], payload=payload)]
        assert violations(examples, schema("boxes")) == [] and statistics(examples, schema("boxes"))["width"] == {}


def test_media_of_another_kind_are_told():
    examples = [one("a", "c", media_type="image/png"), one("b", "c", media_type="audio/wav"), one("x", "c")]
    assert [v["id"] for v in violations(examples, schema(medium="image"))] == ["b", "x"]
    assert violations(examples, None) == []


def test_sounds_that_nothing_decodes_are_told():
    kinds = ("wav", "x-wav", "flac", "ogg", "mpeg", "aac", "webm")
    examples = [one(kind, "c", media_type=f"audio/{kind}") for kind in kinds]
    found = violations(examples, schema(medium="audio"))
    assert [v["id"] for v in found] == ["aac", "webm"] and "decode none of these" in found[0]["what"]


def test_the_same_bytes_or_fields_are_found_and_leak_where_splits_differ():
    examples = [
        one("a", media="m"),
        one("b", media="m", split="test"),
        one("c", payload={"text": "hi", "name": "c"}),
        one("d", payload={"text": "hi", "name": "d"}),
        one("e", payload={"text": "ho"}),
    ]
    groups = same(examples)
    assert groups == [[0, 1], [2, 3]]
    assert leaks(examples, groups) == [["a", "b"]]


def test_a_group_that_stands_in_two_splits_is_told():
    examples = [one("a", group="g"), one("b", group="g", split="test"), one("c", group="h"), one("d", group="h")]
    assert group_leaks(examples) == ["g"]

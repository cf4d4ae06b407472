"""Malformed answers and schemas are refused, naming what is wrong; good ones come out as they are meant."""

import pytest

from streams.labelling.reading import named_in, read_schema
from tests.streams.labelling.crowds import schema
from tidemill.errors import BadEvent, NotFiniteError, WrongTypeError
from tidemill.label_values import read_answer

SINCE = {"jay": 1, "wren": 1, "crow": 2}


def read_value(schema, since, version, value):
    return read_answer(schema, value, named_in(since, version))


def kind(name):
    return read_schema(schema("jay", "wren", "crow", kind=name, version=2))


@pytest.mark.parametrize(
    ("of", "value", "want"),
    [
        ("single", "jay", "jay"),
        ("multi", ["wren", "jay"], ["jay", "wren"]),
        ("multi", [], []),
        ("boxes", [["jay", 1, 2.5, 3, 4]], [["jay", 1.0, 2.5, 3.0, 4.0]]),
        ("boxes", [], []),
        ("transcription", "", ""),
        ("rating", 5, 5),
    ],
)
def test_good_values(of, value, want):
    assert read_value(kind(of), SINCE, 2, value) == want


@pytest.mark.parametrize(
    ("of", "value"),
    [
        ("single", "owl"),
        ("single", ["jay"]),
        ("single", None),
        ("single", 0),
        ("multi", "jay"),
        ("multi", ["jay", "jay"]),
        ("multi", ["jay", ["wren"]]),
        ("multi", ["owl"]),
        ("boxes", "jay"),
        ("boxes", [["jay", 1, 2, 3]]),
        ("boxes", [["owl", 1, 2, 3, 4]]),
        ("boxes", [["jay", 1, 2, 0, 4]]),
        ("boxes", [["jay", 1, 2, True, 4]]),
        ("boxes", [["jay", 1, 2, "3", 4]]),
        ("boxes", [["jay", 0, 0, 1, 1]] * 501),
        ("transcription", 7),
        ("transcription", "x" * 20_001),
        ("rating", 6),
        ("rating", 0),
        ("rating", True),
        ("rating", 2.0),
    ],
)
def test_malformed_values(of, value):
    with pytest.raises(WrongTypeError) as told:
        read_value(kind(of), SINCE, 2, value)
    assert told.value.field.startswith("value") and told.value.wanted and told.value.got


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e10, 10**400])
def test_a_box_ends_somewhere(number):
    with pytest.raises(BadEvent):
        read_value(kind("boxes"), SINCE, 2, [["jay", 1, 2, number, 4]])


def test_not_a_number_is_named():
    with pytest.raises(NotFiniteError, match="finite"):
        read_value(kind("boxes"), SINCE, 2, [["jay", float("nan"), 2, 3, 4]])


def test_a_class_that_came_later_is_none_of_an_earlier_version():
    assert read_value(kind("single"), SINCE, 2, "crow") == "crow"
    with pytest.raises(WrongTypeError, match="one of jay, wren"):
        read_value(kind("single"), SINCE, 1, "crow")


@pytest.mark.parametrize(
    "data",
    [
        None,
        {"kind": "shape", "medium": "image"},
        schema(),
        schema("a", "a"),
        schema(""),
        schema("a", "b", into={"a": "c"}),
        schema("a", "b", into={"a": "b", "b": "a"}),
        schema("a", into={"a": "a"}),
        schema("a", version=0),
        schema("a", kind="rating") | {"rating": [5, 5]},
    ],
)
def test_schemas_that_cannot_be(data):
    with pytest.raises(WrongTypeError):
        read_schema(data)

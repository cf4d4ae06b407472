"""Filters that can never mean what was typed are refused by what is wrong with them."""

import pytest

from connectors.datasets.filter_check import check_filter
from tidemill.errors import ConfigError
from tidemill.label_events import LabelClass, LabelSchema

FIELDS = {"width": "int", "x": "float", "ok": "bool", "name": "string", "at": "time", "more": "json"}
CLASSES = (
    LabelClass("cat", "Cat"),
    LabelClass("dog", "Dog"),
    LabelClass("pup", "Pup", into="dog"),
    LabelClass("7", "7"),
)
PETS = LabelSchema(kind="single", medium="image", classes=CLASSES)


def of(kind, **more):
    return LabelSchema(kind=kind, medium="image", classes=CLASSES if kind in ("multi", "boxes") else (), **more)


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("width >= 640.5", PETS), ("x = null", PETS), ("ok = true", PETS), ("name = x y", PETS), ("name > 5", PETS),
        ("at >= 1700000000000000", PETS), ("more = [1]", PETS), ("@confidence < 1", PETS), ("@group = a b", PETS),
        ("@label = cat", PETS), ('@label != "dog"', PETS), ("@label = null", PETS), ("@label = 7", PETS),
        ("@label = anything", None), ('@label = ["cat","dog"]', of("multi")), ("@label = []", of("boxes")),
        ('@label != [["cat",0,0,1,1]]', of("boxes")), ("@label >= 3", of("rating")),
        ("@label = a b", of("transcription")),
    ],
)  # fmt: skip
def test_what_may_be_is_taken(text, schema):
    check_filter(text, FIELDS, schema)


@pytest.mark.parametrize(
    ("text", "schema", "says"),
    [
        ("width >= x y", PETS, "width is a number"), ("x = abc", PETS, "x is a number"), ("x > null", PETS, "number"),
        ("width = true", PETS, "number"), ("ok = 1", PETS, "true or false"), ("ok > true", PETS, "true or false"),
        ("at > 2026-01-01", PETS, "microseconds"), ("@confidence > high", PETS, "number"),
        ("@label = cta", PETS, "no class; wanted one of 7, cat, dog; got cta"), ("@label = Cat", PETS, "Say cat"),
        ("@label = pup", PETS, r"merged.*Say dog"), ("@label < cat", PETS, "no order"),
        ("@label = [1]", PETS, "one class"), ('@label = {"a": 1}', PETS, "no class"),
        ("@label = cat", of("multi"), "a list"),
        ('@label = ["cta"]', of("multi"), "no class"), ('@label = ["cat"]', of("boxes"), "no class"),
        ("@label = good", of("rating"), "from 1 to 5"), ("nothing = 1", PETS, "no field"),
        ("width", PETS, "not a filter"),
    ],
)  # fmt: skip
def test_what_cannot_be_says_why(text, schema, says):
    with pytest.raises(ConfigError, match=says):
        check_filter(text, FIELDS, schema)

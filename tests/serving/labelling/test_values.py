"""What an answer may be, and when two say the same."""

import math

import pytest

from serving.labelling.values import check, distance, overlap, resolve, same
from tidemill.errors import RequestError
from tidemill.label_events import LabelClass, LabelSchema

CLASSES = (LabelClass("cat", "Cat"), LabelClass("dog", "Dog"), LabelClass("pup", "Puppy", into="dog"))


def schema(kind, medium="image", **more):
    return LabelSchema(
        kind=kind, medium=medium, classes=CLASSES if kind in ("single", "multi", "boxes") else (), **more
    )


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        ("single", "cat", "cat"),
        ("single", "pup", "dog"),
        ("multi", ["dog", "cat", "pup"], ["cat", "dog"]),
        ("multi", [], []),
        ("boxes", [["pup", 0, 0, 10, 5]], [["dog", 0.0, 0.0, 10.0, 5.0]]),
        ("boxes", [], []),
        ("transcription", "two\nlines", "two\nlines"),
        ("transcription", "<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("rating", 5, 5),
    ],
)
def test_what_can_be_an_answer_is_taken_in_its_one_form(kind, value, taken):
    assert check(schema(kind), value, (10, 5)) == taken


WRONG = {
    "single": [None, 1, "Cat", "cat ", "", ["cat"], {"cat": 1}, "x" * 10_000, "__proto__"],
    "multi": ["cat", ["bird"], ["cat"] * 4, [["cat"]], {"cat": 1}, None],
    "boxes": [
        "cat", [["cat", 0, 0, 11, 5]], [["cat", -1, 0, 5, 5]], [["cat", 0, 0, 0, 5]], [["cat", 0, 0, math.nan, 5]],
        [["cat", 0, 0, math.inf, 1]], [["cat", 0, 0, 1]], [["bird", 0, 0, 1, 1]], [["cat", True, 0, 1, 1]],
        [["cat", "0", 0, 1, 1]], [["cat", 0, 0, 1, 1]] * 501, [{}], None,
    ],
    "transcription": [None, 3, ["a"], "x" * 20_001, "a\0b", "\x1b[2J", "\ud800"],
    "rating": [0, 6, 2.0, True, "3", None, 10**30],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), [(k, v) for k, values in WRONG.items() for v in values], ids=repr)
def test_what_can_be_none_is_refused_by_name(kind, value):
    with pytest.raises(RequestError) as error:
        check(schema(kind), value, (10, 5))
    assert error.value.field.startswith("value")
    assert len(str(error.value)) < 400  # what came is shown in part only


def test_a_class_that_was_merged_counts_as_the_last_of_the_chain():
    chain = tuple(LabelClass(n, n, into=i) for n, i in (("a", "b"), ("b", "c"), ("c", "")))
    made = LabelSchema(kind="single", medium="text", classes=chain)
    assert [resolve(made, name) for name in ("a", "b", "c", "d")] == ["c", "c", "c", None]
    circle = tuple(LabelClass(n, n, into=i) for n, i in (("a", "b"), ("b", "a")))
    assert resolve(LabelSchema(kind="single", medium="text", classes=circle), "a") is None


def test_distances_are_those_of_their_kind():
    assert distance("single", "a", "a") == 0 and distance("single", "a", "b") == 1
    assert distance("multi", ["a", "b"], ["b", "c"]) == pytest.approx(2 / 3)
    assert same("multi", ["a", "b"], ["b", "a"]) and distance("multi", [], []) == 0
    assert same("transcription", " Hello  World", "hello world")
    one, near, far = ["cat", 0, 0, 10, 10], ["cat", 1, 1, 10, 10], ["cat", 50, 50, 10, 10]
    assert overlap(one, near) == pytest.approx(81 / 119)
    assert overlap(one, ["dog", 0, 0, 10, 10]) == overlap(one, far) == 0
    assert same("boxes", [one, far], [far, near])
    # One of two paired: 1 - F1 = 1 - 2·1 / (2 + 1).
    assert distance("boxes", [one, far], [near]) == pytest.approx(1 / 3)
    # The best overlap pairs first, so that a box is never taken twice.
    assert not same("boxes", [one, one], [one, far])


def test_many_boxes_pair_as_few_do(monkeypatch):
    import random

    from serving.labelling import values

    chance = random.Random(3)
    a, b = (
        [[chance.choice("ab"), *(float(chance.randrange(40)) for _ in range(2)), 20.0, 15.0] for _ in range(30)]
        for _ in range(2)
    )
    found = distance("boxes", a, b)
    monkeypatch.setattr(values, "_FEW", 10_000)
    assert found == distance("boxes", a, b) and 0 < found < 1

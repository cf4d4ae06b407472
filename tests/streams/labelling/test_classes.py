"""What is believed of items whose answers are classes, in the words of the schema."""

import numpy as np
import pytest

from streams.labelling.answers import Answers
from streams.labelling.classes import NOTHING, Change, Classes, classes_in_use
from streams.labelling.reading import read_schema
from tests.streams.labelling.crowds import schema


def believed(kind, answers, method="majority", classes=("a", "b", "c"), into=None):
    beliefs = Classes(read_schema(schema(*classes, kind=kind, into=into)), method, 1.0)
    table = Answers()
    changes = []
    for time, (item, by, value) in enumerate(answers):
        code = table.item_of(item)
        row = table.put(code, by, value, (time, ""))
        changes.append(Change(row, code, table.who[row], value))
    return beliefs, beliefs.apply(changes), table


def test_one_class():
    beliefs, found, _ = believed("single", [("t", "x", "b"), ("t", "y", "c"), ("t", "z", "c")])
    assert found[-1] == ("c", 0.666667, {"c": 0.666667, "b": 0.333333, "a": 0.0}, 3)
    assert beliefs.apply([Change(row, 0, row, None) for row in range(3)])[-1] == NOTHING


def test_a_tie_goes_to_the_class_that_the_schema_names_first():
    _, found, _ = believed("single", [("t", "x", "c"), ("t", "y", "b")])
    assert found[-1][:2] == ("b", 0.5)


def test_several_classes_are_a_question_each():
    _, found, _ = believed("multi", [("t", "x", ["a", "b"]), ("t", "y", ["a"]), ("t", "z", ["a"])])
    assert found[-1] == (["a"], 0.666667, {"a": 1.0, "b": 0.333333, "c": 0.0}, 3)
    _, found, _ = believed("multi", [("t", "x", []), ("t", "y", [])])
    assert found[-1][:2] == ([], 1.0)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_merged_classes_count_as_one(kind):
    wrap = (lambda name: name) if kind == "single" else (lambda name: [name])
    answers = [("t", "x", wrap("a")), ("t", "y", wrap("b")), ("t", "z", wrap("c"))]
    beliefs, found, _ = believed(kind, answers, into={"a": "b"})
    assert found[-1].value == wrap("b") and found[-1].posterior["b"] == 0.666667
    assert beliefs.value_of(wrap("a")) == wrap("b")
    names, number = classes_in_use(read_schema(schema("a", "b", "c", into={"a": "b", "b": "c"})))
    assert (names, number) == (["c"], {"a": 0, "b": 0, "c": 0})


def test_answers_of_a_class_that_is_gone_count_nowhere():
    beliefs, _, table = believed("single", [("t", "x", "a"), ("t", "y", "b"), ("t", "z", "a")])
    fewer = Classes(read_schema(schema("b", "c")), "majority", 1.0)
    rows = zip(table.item, table.who, table.value, strict=True)
    found = fewer.apply([Change(row, *rest) for row, rest in enumerate(rows)])
    assert found[-1][:2] == ("b", 1.0) and found[-1].answers == 1
    assert fewer.value_of("a") is None and beliefs.value_of("a") == "a"


def test_a_schema_of_one_class_has_one_answer():
    for method in ("majority", "dawid-skene"):
        _, found, _ = believed("single", [("t", "x", "a")], method, classes=("a",))
        assert found[-1].value == "a"


def test_skills_are_shares_of_right_answers():
    answers = [(f"t{i}", by, "a" if by != "z" or i % 2 else "b") for i in range(10) for by in "wxyz"]
    beliefs, _, table = believed("single", answers, "dawid-skene")
    beliefs.estimate(table.order())
    assert np.allclose(beliefs.skills(), [1, 1, 1, 0.5], atol=0.05)

"""One reading of answers for the labelling service, the consensus job and data sets: limits, forms, merges."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.datasets.assembling import merges
from serving.labelling.state import Project as Folded
from serving.labelling.values import check
from streams.labelling.project import Project as Estimated
from streams.labelling.reading import named_in
from streams.labelling.telling import Page
from tests.streams.labelling.crowds import batch
from tidemill import label_values as values
from tidemill.errors import BadEvent, RequestError, WrongTypeError
from tidemill.job import events_of
from tidemill.label_events import AnswerGiven, LabelAsked, LabelClass, LabelSchema, ProjectChanged

CLASSES = (LabelClass("cat", "Cat"), LabelClass("dog", "Dog"), LabelClass("pup", "Puppy", into="dog"))
KINDS = ("single", "multi", "boxes", "transcription", "rating")


def schema(kind):
    return LabelSchema(kind=kind, medium="image", classes=CLASSES if kind in KINDS[:3] else ())


@pytest.mark.parametrize("version", [0, 3, True, "1", 1.0, 10**30])
def test_unknown_versions(version):
    with pytest.raises(WrongTypeError, match="no version"):
        values.read_version(2, version)
    assert (values.read_version(2, None), values.read_version(2, 2)) == (1, 2)


@pytest.mark.parametrize("value", [None, [3], [0, 5], [5, 3], [1, 2.0], "35", [True, 2], [1, 10_001]])
def test_overlaps_that_cannot_be(value):
    with pytest.raises(WrongTypeError):
        values.read_overlap(value)
    assert values.read_overlap([3, 5]) == values.read_overlap((3, 5)) == (3, 5)


@pytest.mark.parametrize("value", [0, 1.01, float("nan"), "1", True, None])
def test_probabilities_that_cannot_be(value):
    with pytest.raises(WrongTypeError):
        values.read_sure(value)
    assert values.read_sure(1) == 1.0


def test_merges_are_followed_to_their_end_and_circles_have_none():
    chain = tuple(LabelClass(n, n, into=i) for n, i in (("a", "b"), ("b", "c"), ("c", ""), ("x", "y"), ("y", "x")))
    assert values.ends(LabelSchema(kind="single", medium="text", classes=chain)) == {"a": "c", "b": "c", "c": "c"}
    into = {"a": "c", "b": "c"}
    assert values.merged(["a", "b", "d"], into) == ["c", "d"] and values.merged("a", into) == "c"
    assert values.merged([["a", 1, 2], [1, 2], "x"], into) == [["c", 1, 2], [1, 2], "x"]
    assert values.merged({"a": 1}, into) == {"a": 1} and values.merged(None, into) is None


SIDE = st.one_of(st.integers(-2, 9), st.just(math.nan), st.just("1"), st.just(True))
NAMES = st.sampled_from(["cat", "dog", "pup", "bird", 1, None])
VALUES = st.one_of(
    NAMES,
    st.lists(NAMES, max_size=3),
    st.lists(st.tuples(NAMES, SIDE, SIDE, SIDE, SIDE).map(list), max_size=2),
    st.sampled_from(
        ["two\nlines", "\x1b[2J", "\ud800", "x" * 20_001, 3, 6, 2.0, {"x": [1]}, [["cat", 0, 0, 1, 1]] * 501]
    ),
)


def folded(kind, value):
    state = Folded("p")
    state.fold(ProjectChanged(id="p", time=0, project="p", schema=schema(kind)))
    state.fold(LabelAsked(id="q", time=0, about="t"))
    state.fold(AnswerGiven(id="a", time=1, about="t", by="x", value=value))
    return "x" in state.items["t"].answers


def estimated(kind, value):
    made = {"kind": kind, "medium": "image", "version": 1}
    made["classes"] = [{"id": c.id, "name": c.name, "into": c.into} for c in schema(kind).classes]
    rows = [
        {"type": "project.changed.v1", "schema": made, "overlap": [1, 2], "sure": 0.9},
        {"type": "answer.given.v1", "about": "t", "by": "x", "value": value, "schema": 1},
    ]
    state = Estimated(method="majority")
    for one in events_of(batch(rows)):
        try:
            state.take(one.data, one.id, one.time, Page())
        except BadEvent:
            return False
    return state.answers.standing == 1


@given(st.sampled_from(KINDS), VALUES)
def test_the_service_counts_what_the_consensus_counts_and_takes_nothing_else(kind, value):
    counts = folded(kind, value)
    assert counts == estimated(kind, value)
    try:
        taken = check(schema(kind), value)
    except RequestError as error:
        assert error.field.startswith("value")
        return
    assert counts
    since = {c.id: 1 for c in CLASSES}
    into = merges(schema(kind)) if kind in KINDS[:3] else {}
    assert taken == values.merged(values.read_answer(schema(kind), value, named_in(since, 1)), into)


def test_what_does_not_fit_takes_no_answers_place():
    state = Folded("p")
    state.fold(ProjectChanged(id="p", time=0, project="p", schema=schema("single")))
    state.fold(LabelAsked(id="q", time=0, about="t"))
    state.fold(AnswerGiven(id="a", time=1, about="t", by="x", value="cat"))
    for n, (value, version) in enumerate([({"x": [1]}, 1), ("bird", 1), ("cat", 2), (["cat"], 1)]):
        state.fold(AnswerGiven(id=f"b{n}", time=2, about="t", by="x", value=value, schema=version))
    state.fold(LabelAsked(id="g", time=3, about="gold", gold={"x": 1}))
    assert state.items["t"].answers["x"].value == "cat" and "gold" not in state.items

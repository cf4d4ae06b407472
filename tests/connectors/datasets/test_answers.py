"""The answers that count at a watermark. That they are the service's and the consensus's: `tests/scenarios`."""

from connectors.datasets.answers import answers_at, undecided
from connectors.datasets.assembling import Told
from tidemill.events import LabelGiven
from tidemill.label_events import (
    AnswerGiven,
    AnswerWithdrawn,
    LabelClass,
    LabelReviewed,
    LabelRevised,
    LabelSchema,
    LabelSettled,
    ProjectChanged,
)

FIRST = LabelSchema(kind="single", medium="text", classes=(LabelClass("cat", "Cat"), LabelClass("pup", "Puppy")))
MERGED = LabelSchema(
    kind="single",
    medium="text",
    classes=(LabelClass("cat", "Cat"), LabelClass("pup", "Puppy", into="dog"), LabelClass("dog", "Dog")),
    version=2,
)


def changed(schema, revision=0):
    return ProjectChanged(id=f"p{schema.version}", time=0, project="p", schema=schema, revision=revision)


def said(about, by, value, time=1, schema=1):
    return AnswerGiven(id=f"{about}/{by}/{time}", time=time, about=about, by=by, value=value, schema=schema)


def found(events, schema=FIRST, void=None):
    told = [Told(0, n, event) for n, event in enumerate(events)]
    kept = answers_at("p", reversed(told), schema, void or {})
    return {about: [(a.by, a.value) for a in answers] for about, answers in kept.items()}


def test_what_comes_before_the_project_or_fits_no_version_of_it_is_none():
    early = said("i", "early", "cat")
    unfit = [said("i", "x", "cow"), said("i", "y", "dog"), said("i", "z", "dog", schema=2), said("", "x", "cat")]
    assert found([early, changed(FIRST), *unfit, said("i", "b", "cat"), said("i", "a", "pup")]) == {
        "i": [("a", "pup"), ("b", "cat")]
    }


def test_classes_are_what_they_were_merged_into_and_come_with_a_version():
    run = [changed(FIRST), said("i", "x", "pup"), changed(MERGED), said("i", "y", "dog", schema=2)]
    run += [said("i", "z", "dog", schema=1)]
    assert found(run, MERGED) == {"i": [("x", "dog"), ("y", "dog")]}


def test_of_each_the_latest_stands_unless_it_is_withdrawn_or_retracted():
    run = [changed(FIRST), said("i", "x", "cat", 5), said("i", "x", "pup", 4), said("j", "x", "cat", 5)]
    assert found(run) == {"i": [("x", "cat")], "j": [("x", "cat")]}
    gone = AnswerWithdrawn(id="w", time=1, about="i", by="x", answer="i/x/5")
    assert found([*run, gone]) == {"j": [("x", "cat")]}
    assert found([*run, AnswerWithdrawn(id="w", time=9, about="i", by="x")], void={"j": 5}) == {}
    assert found(run, void={"j": 4}) == found(run)


def test_what_waits_for_the_label_of_its_answers():
    def given(about, by):
        return LabelGiven(id="g", time=1, about=about, value="a", by=by)

    def review(about, time, value):
        return LabelReviewed(id=f"r{time}", time=time, about=about, by="rev", value=value)

    events = [
        given("imported", "import"), given("decided", "import"), review("decided", 1, "a"),
        given("open", "import"), review("open", 2, None), review("open", 1, "a"),
        given("person", "ann"), given("settled", "import"), given("settled", "consensus:majority"),
        LabelSettled(id="s", time=1, about="unsettled", value="a", confidence=1.0),
        LabelRevised(id="v", time=1, about="unsettled", value=None, before="a", confidence=0.1),
    ]  # fmt: skip
    waits = undecided([Told(0, n, event) for n, event in enumerate(events)][::-1])
    names = ("imported", "decided", "open", "person", "settled", "unsettled", "none")
    assert [name for name in names if waits(name)] == ["imported", "open", "unsettled", "none"]

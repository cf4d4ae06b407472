"""A label that the finder of label errors sends back is seen by somebody, whoever gave it, and until somebody looks."""

import pytest

from serving.labelling.doubts import doubted, doubts, told
from tests.serving.labelling.project import desk, served
from tests.serving.labelling.test_state import answer, asked, estimate, project
from tests.streams.labelling.events import CLASSES
from tests.streams.labelling.events import rows as of
from tests.streams.labelling.test_label_errors import make, story
from tidemill.label_events import (
    DOUBTFUL,
    AnswerGiven,
    AnswerWithdrawn,
    LabelAsked,
    LabelClass,
    LabelReviewed,
    LabelRevised,
    LabelSchema,
    LabelSettled,
    MemberChanged,
)
from tidemill.order import Batch

SCHEMA = LabelSchema(kind="single", medium="text", classes=tuple(LabelClass(c, c) for c in CLASSES))


@pytest.fixture(scope="module")
def sent():
    """What the job sends back of labels of which some were flipped, with no overlap named: its default."""
    job = make()
    return [LabelAsked(**row) for row in of(job.step(job.init(), Batch.sort(story()[0])), "asked")]


def test_what_the_job_doubts_goes_to_who_has_not_answered_and_to_the_reviewers(tmp_path, sent):
    """One label was settled by two annotators, one decided by a reviewer, one came with an import."""
    settled, decided, imported = sent[:3]
    with desk(tmp_path) as made, served(made) as caller:
        made.project(schema=SCHEMA, overlap=(2, 2))
        people = {name: caller(made.account(name)) for name in ("ann", "bob", "cy", "rev")}
        for name in people:
            made.member("pets", name, "reviewer" if name == "rev" else "annotator")
        for about in (settled.about, decided.about):
            made.service.book.append("pets", [LabelAsked(id=f"q-{about}", time=0, about=about, payload={"text": "t"})])
            for who in ("ann", "bob"):
                given = AnswerGiven(id=f"{about}-{who}", time=1, about=about, by=who, value="eel", cost=1.0)
                made.service.book.append("pets", [given])
            made.estimate("pets", about, "eel", 0.99, 2)
            made.service.record("pets", LabelSettled(id="", time=0, about=about, value="eel", confidence=0.99))
        for about in (decided.about, imported.about):
            made.service.record("pets", LabelReviewed(id="", time=0, about=about, by="rev", value="cat"))
        rev = people["rev"]
        assert rev.get("/api/projects/pets/review")["items"] == []
        made.service.book.append("pets", sent[:3])

        shown = {one["item"]: one for one in rev.get("/api/projects/pets/review")["items"]}
        assert {about: one["label"] for about, one in shown.items()} == {
            settled.about: "eel", decided.about: "cat", imported.about: "cat",
        }  # fmt: skip
        assert shown[settled.about]["doubt"] == sent[0].prelabel
        assert rev.get("/api/projects/pets/review?count=1")["items"][0]["item"] == settled.about
        # A fresh annotator has the settled one; those who answered it do not, and nobody has what a reviewer decided.
        assert people["ann"].post("/api/projects/pets/next", {"count": 9})["tasks"] == []
        (task,) = people["cy"].post("/api/projects/pets/next", {"count": 9})["tasks"]
        assert task["item"] == settled.about
        people["cy"].post("/api/projects/pets/answers", {"lease": task["lease"], "value": "eel"})
        left = rev.get("/api/projects/pets/review")["items"]
        assert [one["item"] for one in left] == [decided.about, imported.about]
        for about, value in ((decided.about, "dog"), (imported.about, "cat")):
            rev.post("/api/projects/pets/reviews", {"item": about, "value": value})
        assert rev.get("/api/projects/pets/review")["items"] == []


def doubtful(about="i", **more):
    return LabelAsked(id="d", time=9, about=about, reason=DOUBTFUL, **more)


@pytest.fixture
def state():
    """An item that x and y took for a, which is settled."""
    made = project(overlap=(2, 3), sure=0.9)
    made.fold(asked("i"))
    for who in "xy":
        made.fold(answer("i", who))
    made.fold(estimate("i", 0.99, 2))
    made.fold(LabelSettled(id="s", time=4, about="i", value="a", confidence=0.99))
    return made


def test_a_doubt_stands_until_a_decision_or_an_answer_and_comes_back_with_either_taken_back(state):
    assert not doubted(state, state.items["i"])
    state.fold(doubtful(prelabel={"value": "b", "confidence": 0.9, "model": "m@1"}))
    item = state.items["i"]
    assert told(state, item) == {"value": "b", "confidence": 0.9, "model": "m@1"}
    assert (state.wanted(item), item.asked.overlap) == (3, (3, 3))
    state.fold(answer("i", "z"))
    assert not doubted(state, item)
    state.fold(AnswerWithdrawn(id="w", time=10, about="i", by="z", answer="i/z"))
    assert doubted(state, item)
    state.fold(LabelReviewed(id="r", time=11, about="i", by="rev", value="a"))
    assert not doubted(state, item) and told(state, item) is None
    state.fold(LabelReviewed(id="t", time=12, about="i", by="rev", value=None))
    assert doubted(state, item)
    # The label is another: it is not the one that was doubted.
    state.fold(LabelRevised(id="v", time=13, about="i", value="b", before="a", confidence=0.9))
    assert not doubted(state, item)


def test_an_overlap_that_the_doubt_names_is_what_it_says(state):
    state.fold(doubtful(overlap=(5, 7)))
    assert state.items["i"].asked.overlap == (5, 7) and state.wanted(state.items["i"]) == 5
    # An item that nobody has answered is asked about as often as any.
    state.fold(doubtful("never"))
    assert state.wanted(state.items["never"]) == 2


def test_who_may_have_a_doubtful_label_is_a_function_of_the_log(state):
    state.fold(doubtful())
    for who, may in (("x", False), ("y", False), ("z", True)):
        state.fold(MemberChanged(id="m", time=0, project="p", member=who, roles=["annotator"], state="joined"))
        assert state.may_have(state.items["i"], who) is may


def test_gold_and_what_was_taken_back_are_no_reviewers_business(state):
    for about, more in (("g", {"gold": "a"}), ("c", {})):
        state.fold(asked(about, **more))
        state.fold(doubtful(about))
    state.fold(doubtful("low", priority=1.0))
    state.fold(doubtful("high", priority=2.0))
    state.fold(LabelAsked(id="c", time=10, about="c", closed=True))
    assert doubts(state) == ["high", "low"]

"""What reviewers are shown: what is to be decided, and what was."""

from serving.labelling.reviewing import decided, undecided
from tests.serving.labelling.project import desk, served
from tests.serving.labelling.test_state import answer, asked, project
from tidemill.label_events import DOUBTFUL, LabelAsked, LabelReviewed


def review(about, time, value="a"):
    return LabelReviewed(id=f"r{time}", time=time, about=about, by="rev", value=value)


def test_a_doubted_label_comes_before_what_is_in_dispute_and_each_once():
    state = project(overlap=(2, 2))
    for name in ("plain", "both", "ruled"):
        state.fold(asked(name))
        for who, value in zip("xy", "ab", strict=True):
            state.fold(answer(name, who, value))
    state.fold(review("ruled", 5))
    for name in ("both", "ruled"):
        state.fold(LabelAsked(id="d", time=9, about=name, reason=DOUBTFUL, overlap=(2, 2)))
    assert undecided(state) == ["both", "ruled", "plain"]
    assert undecided(state, 1) == ["both"]


def test_decisions_that_stand_the_latest_first():
    state = project()
    for name, time in (("i", 5), ("j", 7), ("k", 6)):
        state.fold(asked(name))
        state.fold(review(name, time))
    state.fold(asked("g", gold="a"))
    state.fold(review("g", 9))
    assert decided(state) == ["j", "k", "i"] and decided(state, 2) == ["j", "k"]
    state.fold(review("i", 10, "b"))
    state.fold(review("j", 11, None))
    assert decided(state) == ["i", "k"]


def test_a_reviewer_looks_an_item_up_corrects_its_label_and_takes_a_decision_back(tmp_path):
    with desk(tmp_path) as made, served(made) as caller:
        made.project(overlap=(1, 1))
        rev = caller(made.account("rev"))
        made.member("pets", "rev", "reviewer")
        made.texts("pets", 1, gold="cat")
        (item,) = made.texts("pets", 1)
        at = "/api/projects/pets"
        (found,) = rev.get(f"{at}/review?item={item}")["items"]
        assert (found["item"], found["label"], found["review"]) == (item, None, None)
        assert rev.get(f"{at}/decided")["items"] == []
        for value in ("cat", "dog"):
            rev.post(f"{at}/reviews", {"item": item, "value": value, "note": f"a {value}"})
            (found,) = rev.get(f"{at}/decided")["items"]
            assert (found["label"], found["review"]["note"]) == (value, f"a {value}")
        rev.post(f"{at}/reviews", {"item": item, "value": None})
        assert rev.get(f"{at}/decided")["items"] == []
        with made.service.book.reading("pets") as state:
            gold = next(about for about, one in state.items.items() if one.gold)
        for wrong in (gold, "none"):
            assert rev.get(f"{at}/review?item={wrong}", 404)["error"]
        for count in ("0", "201", "x"):
            rev.get(f"{at}/decided?count={count}", 400)

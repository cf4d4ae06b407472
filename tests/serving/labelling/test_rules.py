"""Quality rules: collector, condition, action."""

import pytest

from serving.labelling.rules import agreeing, broken, collected, consensus, gold_rate, known, parsed, restriction
from serving.labelling.state import Project
from tests.serving.labelling.test_state import answer, asked, estimate, lease, project
from tidemill.errors import RequestError
from tidemill.label_events import AnswerGiven, AnswerWithdrawn, LabelReviewed, LabelSettled, MemberChanged

SKIPS = {"collector": "skips", "at_least": 3, "action": "restrict"}
FAST = {"collector": "seconds", "below": 2.0, "window": 4, "least": 3, "action": "restrict"}
GOLD = {"collector": "gold", "rate": 0.2, "below": 0.7, "least": 3, "window": 5, "action": "restrict"}
AGREE = {"collector": "agreement", "below": 0.6, "least": 2, "action": "review"}


def state_with(*rules):
    state = project(rules=list(rules), overlap=(5, 9))
    state.fold(MemberChanged(id="m", time=0, project="p", member="x", roles=["annotator"], state="joined"))
    return state


def did(state: Project, n, *, skip=False, seconds=None, value="a", who="x", **more):
    about = f"i{n}"
    if about not in state.items:
        state.fold(asked(about, **more))
    state.fold(lease(about, who))
    if skip:
        state.fold(lease(about, who, state="skipped"))
    else:
        made = answer(about, who, value)
        state.fold(type(made)(id=made.id, time=2, about=about, by=who, value=value, seconds=seconds))


def test_a_streak_of_skips_ends_with_an_answer():
    state = state_with(SKIPS)
    for n, skip in enumerate([True, True, False, True, True]):
        did(state, n, skip=skip)
        assert restriction(state, "x", 1) is None
    did(state, 9, skip=True)
    made = restriction(state, "x", 1)
    assert made is not None and (made.restricted, made.by) == ("skips: 3, which is 3 or more", "rules")
    state.fold(made)
    assert restriction(state, "x", 1) is None  # it is, already
    state.fold(type(made)(id="f", time=2, project="p", member="x", roles=["annotator"], state="joined"))
    assert restriction(state, "x", 1) is None  # and forgiven
    assert restriction(state, "nobody", 1) is None


def test_the_median_of_the_newest_answers_says_who_is_too_fast():
    state = state_with(FAST)
    for n, seconds in enumerate([9.0, 9.0, 1.0, 1.0]):
        did(state, n, seconds=seconds)
    assert collected(state, "x", known([FAST])[0]) == 5.0
    did(state, 8, seconds=1.0)
    did(state, 9, seconds=None)
    assert broken(state, "x", "restrict") == "seconds: 1, which is below 2"


@pytest.mark.parametrize("value", ["b", "a"])
def test_one_question_is_judged_once_however_often_it_is_answered_and_undone(value):
    state = state_with(GOLD)
    state.fold(asked("g", gold="a"))
    for n in range(6):
        state.fold(lease("g", "x", name=f"g/{n}", time=10 * n, expires=10 * n + 5))
        state.fold(AnswerGiven(id=f"g/{n}", time=10 * n + 1, about="g", by="x", value=value, seconds=0.5))
        assert [(one.about, one.skipped) for one in state.observed["x"]] == [("g", False)]
        assert restriction(state, "x", 1) is None
        state.fold(AnswerWithdrawn(id=f"w{n}", time=10 * n + 2, about="g", by="x", answer=f"g/{n}"))
        assert state.observed["x"] == []
    # Two answers of one annotator that stand in each other's place are one, too; and skips stay.
    did(state, 1, skip=True)
    for id in ("late/1", "late/2"):
        state.fold(AnswerGiven(id=id, time=100, about="g", by="x", value=value))
    assert [(one.about, one.skipped) for one in state.observed["x"]] == [("i1", True), ("g", False)]


def test_gold_counts_answers_that_stand_and_the_newest_of_them():
    state = state_with(GOLD)
    for n, value in enumerate("bba"):
        did(state, n, value=value, gold="a")
    assert broken(state, "x", "restrict") == "gold: 0.333333, which is below 0.7"
    for n in range(3, 7):
        did(state, n, value="a", gold="a")
    assert broken(state, "x", "restrict") == ""  # the newest five
    assert gold_rate(state.now.rules) == 0.2


def test_agreement_counts_items_that_others_answered_too():
    state = state_with(AGREE)
    for n in range(4):
        did(state, n, value="b")
        state.fold(estimate(f"i{n}", 0.8, 1, value="a"))
        assert agreeing(state, "x", f"i{n}") is None
    for n in range(2):
        did(state, n, who="y")
    assert broken(state, "x", "review") == "agreement: 0, which is below 0.6"
    assert (broken(state, "y", "review"), broken(state, "x", "restrict")) == ("", "")
    # What is settled goes before what is estimated, and a reviewer before all.
    state.fold(LabelSettled(id="s", time=1, about="i0", value="b", confidence=0.9))
    assert consensus(state, "i0") == "b"
    state.fold(LabelReviewed(id="r", time=1, about="i0", by="rev", value="a"))
    assert consensus(state, "i0") == "a"


@pytest.mark.parametrize(
    "rule",
    [
        {"collector": "mood", "at_least": 1}, {"collector": "skips", "action": "restrict"},
        {"collector": "skips", "at_least": 1, "below": 2, "action": "restrict"}, {**SKIPS, "colector": 1},
        {**GOLD, "rate": 1.5}, {**FAST, "rate": 0.1}, {**FAST, "least": 9}, {**FAST, "window": 0},
        {**SKIPS, "action": "ban"}, "skips", 3, None, {},
    ],
    ids=repr,
)  # fmt: skip
def test_a_rule_that_cannot_be_is_refused_and_in_the_log_does_nothing(rule):
    with pytest.raises(RequestError) as error:
        parsed([SKIPS, rule])
    assert error.value.field.split(".")[0] == "rules[1]"
    assert [r.collector for r in known([rule, SKIPS])] == ["skips"]


def test_a_rule_looks_at_no_more_answers_than_its_window_and_at_none_twice(monkeypatch):
    """However long the annotator has been at it; and what was found of an item holds until something of it changes."""
    looked = []
    monkeypatch.setattr("serving.labelling.rules.same", lambda kind, a, b: looked.append(a) or a == b)
    state = state_with({**AGREE, "window": 10})
    for n in range(300):
        did(state, n)
        did(state, n, who="y")
        state.fold(estimate(f"i{n}", 0.9, 2, "a" if n < 295 else "b"))
    assert broken(state, "x", "review") == broken(state, "x", "review") == "agreement: 0.5, which is below 0.6"
    assert len(looked) == 10
    state.fold(estimate("i299", 0.9, 2, "a"))
    assert broken(state, "x", "review") == "" and len(looked) == 11
    state.fold(LabelSettled(id="s", time=9, about="i298", value="b", confidence=0.9))
    broken(state, "x", "review")
    assert len(looked) == 12


def test_a_rule_that_cannot_be_is_named_with_what_could():
    with pytest.raises(RequestError) as told:
        parsed([AGREE, {"collector": "skips", "at_least": 3, "action": "ban"}])
    assert told.value.field == "rules[1].action" and "rule 2" in str(told.value)
    assert "restrict, review" in told.value.wanted and "skips, seconds, gold, agreement" in told.value.wanted

"""The fold of a project's events: the same state from the same log, and no item leased beyond its overlap."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.labelling.state import Project
from tidemill.events import LabelGiven
from tidemill.label_events import (
    AnswerGiven,
    AnswerWithdrawn,
    LabelAsked,
    LabelClass,
    LabelEstimated,
    LabelLeased,
    LabelReviewed,
    LabelRevised,
    LabelSchema,
    LabelSettled,
    MemberChanged,
    ProjectChanged,
)

SCHEMA = LabelSchema(kind="single", medium="text", classes=(LabelClass("a", "a"), LabelClass("b", "b")))


def project(**more):
    state = Project("p")
    state.fold(ProjectChanged(id="p", time=0, project="p", schema=SCHEMA, **{"overlap": (2, 3), **more}))
    return state


def asked(about, **more):
    return LabelAsked(id=f"ask-{about}", time=0, about=about, **more)


def lease(about, by, name="", time=1, expires=100, state="leased"):
    name = name or f"{about}/{by}"
    return LabelLeased(id=f"{name}:{state}", time=time, about=about, by=by, lease=name, expires=expires, state=state)


def answer(about, by, value="a", id="", cost=1.0):
    return AnswerGiven(id=id or f"{about}/{by}", time=2, about=about, by=by, value=value, cost=cost)


def estimate(about, confidence, answers, value="a"):
    return LabelEstimated(id="e", time=3, about=about, value=value, confidence=confidence, answers=answers)


def fates(state):
    return {name: made.fate for name, made in state.leases.items()}


def test_a_lease_beyond_the_overlap_is_void_wherever_it_is_read():
    state = project()
    state.fold(asked("i"))
    for who in ("x", "y", "z"):
        state.fold(lease("i", who))
    assert fates(state) == {"i/x": "leased", "i/y": "leased", "i/z": "void"}
    assert state.open == []
    # One runs out: there is room for another.
    state.fold(lease("i", "x", state="expired", time=100))
    assert [about for *_, about in state.open] == ["i"]
    state.fold(lease("i", "z", "again", time=101, expires=200))
    assert fates(state)["again"] == "leased"
    # What ran out gives way to a lease that comes later, though nothing has said so yet.
    state.fold(lease("i", "w", time=150, expires=300))
    assert (fates(state)["i/y"], fates(state)["i/w"]) == ("expired", "leased")


def test_dynamic_overlap_stops_when_the_posterior_is_sure():
    state = project(sure=0.9, overlap=(2, 4))
    state.fold(asked("i"))
    item = state.items["i"]
    state.fold(answer("i", "x"))
    state.fold(answer("i", "y", "b"))
    # Without a consensus that publishes, the most are asked.
    assert state.wanted(item) == 3
    state.fold(estimate("i", 0.5, 2))
    assert state.wanted(item) == 3
    state.fold(answer("i", "z"))
    # The consensus has not said yet what the third answer means.
    assert state.wanted(item) == 3
    state.fold(estimate("i", 0.89, 3))
    assert state.wanted(item) == 4
    state.fold(estimate("i", 0.9, 3))
    assert state.wanted(item) == 3 and state.open == []
    state.fold(AnswerWithdrawn(id="w", time=9, about="i", by="z"))
    state.fold(estimate("i", 0.5, 2))
    assert state.wanted(item) == 3
    state.fold(LabelReviewed(id="r", time=9, about="i", by="rev", value="b"))
    assert state.wanted(item) == 0
    state.fold(LabelReviewed(id="s", time=10, about="i", by="rev", value=None))
    assert state.wanted(item) == 3
    # A decision of before that, read late, is one that was taken back.
    state.fold(LabelReviewed(id="t", time=9, about="i", by="rev", value="a"))
    assert state.wanted(item) == 3


def test_the_budget_bounds_what_is_spent_and_what_is_leased():
    state = project(cost=1.0, budget=2.0, overlap=(2, 2))
    for name in ("i", "j"):
        state.fold(asked(name))
    state.fold(lease("i", "x"))
    state.fold(lease("j", "x"))
    state.fold(lease("j", "y"))
    assert fates(state) == {"i/x": "leased", "j/x": "leased", "j/y": "void"}
    state.fold(answer("i", "x"))
    state.fold(lease("j", "x", state="skipped"))
    assert (state.spent, state.running, state.afford()) == (1.0, 0, True)
    state.fold(lease("i", "y"))
    assert not state.afford()
    state.fold(AnswerWithdrawn(id="w", time=9, about="i", by="x"))
    assert (state.spent, state.afford()) == (0.0, True)


def test_an_answer_is_one_however_often_it_is_sent_and_a_later_one_takes_its_place():
    state = project()
    state.fold(asked("i"))
    state.fold(lease("i", "x"))
    for value in ("a", "a", "b"):
        state.fold(answer("i", "x", value))
    assert (state.items["i"].answers["x"].value, state.spent, len(state.observed["x"])) == ("a", 1.0, 1)
    state.fold(answer("i", "x", "b", id="later"))
    assert (state.items["i"].answers["x"].value, state.spent) == ("b", 1.0)
    # Withdrawn twice, or by somebody who never answered: once, and not at all.
    for who in ("x", "x", "nobody"):
        state.fold(AnswerWithdrawn(id="w", time=9, about="i", by=who))
    assert (state.items["i"].answers, state.spent, state.leases["later"].fate) == ({}, 0.0, "withdrawn")


def test_an_id_of_anothers_lease_is_an_answer_of_its_own():
    """The consensus and data sets know no leases: there it is one too."""
    state = project(overlap=(3, 3))
    for event in (asked("i"), asked("j"), lease("i", "x", "l"), answer("i", "y", id="l"), answer("j", "x", id="l")):
        state.fold(event)
    assert (set(state.items["i"].answers), set(state.items["j"].answers)) == ({"y"}, {"x"})
    assert fates(state) == {"l": "leased"} and state.running == 1
    state.fold(answer("i", "x", "b", id="l"))
    state.fold(AnswerWithdrawn(id="w", time=3, about="i", by="y", answer="l"))
    assert set(state.items["i"].answers) == {"x"} and fates(state) == {"l": "answered"} and state.spent == 2.0


def test_an_id_given_again_is_that_answer_as_of_its_latest_time():
    state = project()
    state.fold(asked("i"))
    for time, value in ((2, "a"), (5, "b"), (4, "a")):
        state.fold(AnswerGiven(id="l", time=time, about="i", by="x", value=value, cost=1.0))
    assert state.items["i"].answers["x"].value == state.leases["l"].value == "b" and state.spent == 1.0
    state.fold(AnswerWithdrawn(id="w", time=3, about="i", by="x", answer="l"))
    state.fold(AnswerGiven(id="l", time=9, about="i", by="x", value="a", cost=1.0))
    assert state.items["i"].answers == {} and fates(state) == {"l": "withdrawn"} and state.spent == 0.0


@pytest.mark.parametrize("overlap", [(5, 3), (0, 0), (1, 10_001)])
def test_a_question_by_an_overlap_that_cannot_be_changes_nothing(overlap):
    state = project()
    state.fold(asked("i", priority=1.0, overlap=(1, 2)))
    state.fold(asked("i", priority=2.0, overlap=overlap, gold="a", payload={"text": "x"}))
    state.fold(asked("j", overlap=overlap))
    item = state.items["i"]
    assert (item.asked.priority, item.asked.overlap, item.gold, item.asked.payload) == (1.0, (1, 2), False, {})
    assert list(state.items) == ["i"]


def test_who_has_skipped_or_answered_an_item_is_not_asked_again():
    state = project(overlap=(3, 3))
    state.fold(asked("i"))
    state.fold(lease("i", "x"))
    state.fold(lease("i", "x", state="skipped"))
    state.fold(answer("i", "y"))
    item = state.items["i"]
    assert [state.may_have(item, who) for who in ("x", "y", "z")] == [False, False, True]


def test_priorities_closing_and_changes_of_what_is_asked():
    state = project()
    for name, priority in (("low", 0.0), ("high", 5.0), ("next", 0.0)):
        state.fold(asked(name, priority=priority, payload={"n": name}, media="d", media_type="image/png"))
    assert [about for *_, about in state.open] == ["high", "low", "next"]
    # A job that only changes the priority leaves the rest as it was.
    state.fold(LabelAsked(id="2", time=1, about="next", priority=9.0, reason="entropy"))
    assert [about for *_, about in state.open] == ["next", "high", "low"]
    assert (state.items["next"].asked.payload, state.items["next"].asked.media) == ({"n": "next"}, "d")
    state.fold(LabelAsked(id="3", time=1, about="high", closed=True))
    assert [about for *_, about in state.open] == ["next", "low"]
    state.fold(ProjectChanged(id="c", time=2, project="p", schema=SCHEMA, closed=True))
    assert state.open == []


def test_gold_is_open_to_everybody_and_never_in_the_queue():
    state = project(overlap=(1, 1))
    state.fold(asked("g", gold="a"))
    for who in "vwxyz":
        assert state.may_have(state.items["g"], who)
        state.fold(lease("g", who))
        state.fold(answer("g", who))
    assert (len(state.items["g"].answers), state.open, state.golds) == (5, [], ["g"])


def test_settled_revised_and_unsettled():
    state = project()
    state.fold(asked("i"))
    state.fold(LabelSettled(id="s", time=1, about="i", value="a", confidence=0.9))
    assert (state.items["i"].settled, state.items["i"].value) == (True, "a")
    state.fold(LabelRevised(id="r", time=2, about="i", value="b", before="a", confidence=0.8))
    assert (state.items["i"].settled, state.items["i"].value) == (True, "b")
    state.fold(LabelRevised(id="r", time=2, about="i", value=None, before="b", confidence=0.5))
    assert not state.items["i"].settled


def test_what_names_nothing_known_and_what_learners_read_change_nothing():
    state = project()
    for event in (
        lease("ghost", "x"), estimate("ghost", 1.0, 1), answer("ghost", "x", "no class"), answer("ghost", ""),
        answer("", "x"), AnswerWithdrawn(id="w", time=1, about="", by="x"),
        LabelReviewed(id="r", time=1, about="ghost", by="r", value="no class"),
        LabelSettled(id="s", time=1, about="ghost", value="a", confidence=1.0),
        LabelGiven(id="g", time=1, about="ghost", value="a"),
        lease("ghost", "x", state="expired"),
    ):  # fmt: skip
        state.fold(event)
    assert (state.items, state.spent) == ({}, 0.0)
    # Nor does a project without a schema take anything: nothing says what an answer could be.
    bare = Project("q")
    for event in (answer("i", "x"), AnswerWithdrawn(id="w", time=9, about="i", by="x"), reviewed("i", None)):
        bare.fold(event)
    assert bare.items == {}


def reviewed(about, value, time=1):
    return LabelReviewed(id=f"r{time}", time=time, about=about, by="rev", value=value)


def test_an_item_that_nobody_was_asked_about_is_answered_and_leased_to_nobody():
    state = project(cost=1.0, budget=5.0)
    state.fold(answer("i", "x", cost=0.0))
    item = state.items["i"]
    assert (item.outside, item.dropped, item.asked.id, item.answers["x"].value) == (True, False, "", "a")
    assert (state.given["x"]["i"].value, state.spent, state.running) == ("a", 0.0, 0)
    assert state.open == state.behind == [] and state.wanted(item) == 0
    state.fold(lease("i", "y"))
    assert fates(state)["i/y"] == "void" and item.leases == {}
    # A withdrawal that is read before its answer takes it back, here as anywhere.
    state.fold(AnswerWithdrawn(id="w", time=9, about="j", by="x", answer="j/x"))
    state.fold(answer("j", "x"))
    assert state.items["j"].answers == {} and state.spent == 0.0
    # Once people are asked about it, what was said before counts towards the overlap, and may be a gold question's.
    state.fold(asked("i"))
    assert not item.outside and [about for *_, about in state.open] == ["i"]
    assert not state.may_have(item, "x") and state.may_have(item, "y")
    state.fold(LabelAsked(id="g", time=3, about="i", gold="b"))
    state.fold(LabelAsked(id="h", time=4, about="i", priority=1.0))
    assert state.golds == ["i"]
    state.fold(LabelAsked(id="c", time=5, about="i", closed=True))
    assert item.dropped


def test_a_review_of_an_item_that_nobody_was_asked_about_stands():
    state = project()
    for event in (reviewed("i", "b", 3), reviewed("i", "a", 2)):
        state.fold(event)
    assert state.items["i"].review.value == "b" and state.items["i"].outside


def test_forgiven_is_forgotten():
    state = project()
    member = {"id": "m", "time": 1, "project": "p", "member": "x", "roles": ["annotator"]}
    state.fold(asked("i"))
    state.fold(MemberChanged(**member, state="joined"))
    state.fold(answer("i", "x"))
    state.fold(MemberChanged(**member, state="joined", restricted="too fast"))
    assert len(state.observed["x"]) == 1
    state.fold(MemberChanged(**member, state="joined"))
    assert state.observed["x"] == []


def events_of(seed, count):
    """A random run of a project, with leases, answers and all the rest in any order that a log may hold."""
    rng = random.Random(seed)
    items, people = [f"i{n}" for n in range(5)], ["v", "w", "x", "y", "z"]
    made = [asked(about, priority=rng.choice((0.0, 1.0)), gold=rng.choice((None, None, "a"))) for about in items]
    for n in range(count):
        about, who, kind = rng.choice(items), rng.choice(people), rng.randrange(10)
        name = f"l{rng.randrange(n + 1)}"
        if kind < 4:
            made.append(lease(about, who, f"l{n}", time=n, expires=n + rng.randrange(1, 30)))
        elif kind < 6:
            made.append(answer(about, who, rng.choice("ab"), id=name))
        elif kind == 6:
            made.append(lease(about, who, name, time=n, state=rng.choice(("skipped", "expired"))))
        elif kind == 7:
            made.append(AnswerWithdrawn(id=f"w{n}", time=n, about=about, by=who))
        elif kind == 8:
            made.append(estimate(about, rng.random(), rng.randrange(4)))
        else:
            made.append(LabelAsked(id=f"q{n}", time=n, about=about, priority=rng.random(), closed=rng.random() < 0.2))
    return made


@given(st.integers(0, 10_000), st.integers(0, 120))
def test_whatever_the_log_holds_the_counts_are_those_of_a_recount(seed, count):
    state = project(budget=12.0, cost=1.0)
    for event in events_of(seed, count):
        before = {*state.leases}
        state.fold(event)
        running = [name for item in state.items.values() for name in item.leases.values()]
        assert sorted(running) == sorted(name for held in state.held.values() for name in held)
        assert set(running) == {name for name, made in state.leases.items() if made.fate == "leased"}
        assert state.running == len(running)
        answers = [a for item in state.items.values() for a in item.answers.values()]
        assert state.spent == pytest.approx(sum(a.cost for a in answers))
        wanting = [
            (-i.asked.priority, i.order, about)
            for about, i in state.items.items()
            if not i.gold and len(state.holders(i)) < state.wanted(i)
        ]
        assert state.open == sorted(wanting)
        # A lease that stands from now on stands within the overlap.
        if isinstance(event, LabelLeased) and event.state == "leased" and event.lease not in before:
            item = state.items[event.about]
            stands = state.leases[event.lease].fate == "leased"
            assert not stands or item.gold or len(state.holders(item)) <= state.wanted(item)


def test_bytes_are_shown_by_the_first_item_that_holds_them_still():
    state = project()
    wanted = [
        ("i", "d", {"d": "i"}),
        ("j", "d", {"d": "i"}),
        ("k", "e", {"d": "i", "e": "k"}),
        ("i", "e", {"d": "j", "e": "k"}),
        ("j", "", {"d": "j", "e": "k"}),
        ("j", "f", {"e": "k", "f": "j"}),
    ]
    for n, (about, media, showing) in enumerate(wanted):
        state.fold(LabelAsked(id=f"q{n}", time=n, about=about, media=media, media_type="image/png"))
        assert state.showing == showing
    assert set(state.media) == {"d", "e", "f"}

"""Which answers stand and what is asked is one rule for the labelling service, the consensus job and data sets, and no
order of answers matters."""

import contextlib
import random

from hypothesis import given
from hypothesis import strategies as st

from connectors.datasets.answers import answers_at
from connectors.datasets.assembling import Told
from serving.labelling.state import Project as Folded
from streams.labelling.project import Project as Estimated
from streams.labelling.telling import Page
from tests.streams.labelling.crowds import batch, project
from tidemill.errors import BadEvent
from tidemill.job import events_of
from tidemill.label_events import (
    AnswerGiven,
    AnswerWithdrawn,
    LabelAsked,
    LabelClass,
    LabelReviewed,
    LabelSchema,
    ProjectChanged,
)

SCHEMA = LabelSchema(kind="single", medium="text", classes=(LabelClass("a", "a"), LabelClass("b", "b")))
ABOUT, BY, TIMES = ["t", "u"], ["x", "y"], st.integers(1, 6)

ANSWERS = st.tuples(st.sampled_from(ABOUT), st.sampled_from(BY), st.sampled_from("ab"), TIMES, st.integers(0, 5))
REVIEWS = st.tuples(st.sampled_from(ABOUT), st.sampled_from([None, "a", "b"]), TIMES)
QUESTIONS = st.tuples(
    st.sampled_from(["", *ABOUT]),
    st.sampled_from([None, (1, 2), (2, 2), (5, 3), (0, 0)]),
    st.sampled_from([None, *"abz"]),
)
WITHDRAWALS = st.tuples(st.sampled_from(ABOUT), st.sampled_from(BY), st.integers(0, 11), TIMES)


def events(answers, withdrawals, reviews=(), asked=()):
    """Answers, of which some have one id, and withdrawals that name one of them (or one that never comes), or none;
    reviews, and questions, if any. One annotator says of one item one thing at one time under one id."""
    said = {(about, by, time, id): value for about, by, value, time, id in answers}
    made = [
        AnswerGiven(id=f"a{id}", time=time, about=about, by=by, value=value)
        for (about, by, time, id), value in said.items()
    ]
    for n, (about, by, which, time) in enumerate(withdrawals):
        named = f"a{which}" if which < 9 else ""
        if which < len(said):
            about, by, named = made[which].about, made[which].by, made[which].id
        made.append(AnswerWithdrawn(id=f"w{n}", time=time, about=about, by=by, answer=named))
    made += [LabelReviewed(id=f"r{n}", time=t, about=i, by="rev", value=v) for n, (i, v, t) in enumerate(reviews)]
    made += [
        LabelAsked(id=f"q{n}", time=3, about=about, overlap=overlap, gold=gold)
        for n, (about, overlap, gold) in enumerate(asked)
    ]
    return made


def served(run):
    """The answers that stand by (item, annotator), the reviews by item, and what is asked of items (overlap, gold), in
    the service."""
    state = Folded("p")
    state.fold(ProjectChanged(id="p", time=0, project="p", schema=SCHEMA))
    for event in run:
        state.fold(event)
    assert state.spent == sum(a.cost for item in state.items.values() for a in item.answers.values())
    answers = {(about, by): a.value for by, said in state.given.items() for about, a in said.items()}
    reviews = {about: item.review.value for about, item in state.items.items() if item.review is not None}
    return answers, reviews, {about: (i.asked.overlap, i.asked.gold) for about, i in state.items.items() if i.asked.id}


def estimated(run):
    """The same in the consensus job."""
    rows = [project("a", "b")]
    for event in run:
        row = {name: getattr(event, name, None) for name in ("id", "time", "about", "by", "value", "gold")}
        row |= {"type": event.__struct_config__.tag, "answer": getattr(event, "answer", None)}
        row |= {"overlap": list(event.overlap) if getattr(event, "overlap", None) else None}
        rows.append(row)
    state = Estimated()
    for one in events_of(batch(rows)):
        with contextlib.suppress(BadEvent):  # an engine puts it with the dead
            state.take(one.data, one.id, one.time, Page())
    again = Estimated()
    again.load_state(state.state())
    table = again.answers
    named = zip(table.item, table.who, table.value, strict=True)
    found = {(table.items[i], table.annotators[w]): v for i, w, v in named if v is not None}
    assert table.standing == len(found)
    reviews = {table.items[i]: value for i, (value, _) in again.reviews.items() if value is not None}
    return found, reviews, {table.items[i]: asked for i, asked in again.asked.items()}


def kept(run):
    """The answers in a version of a data set."""
    told = [Told(0, 0, ProjectChanged(id="p", time=0, project="p", schema=SCHEMA))]
    told += [Told(0, n, event) for n, event in enumerate(run, 1) if isinstance(event, AnswerGiven | AnswerWithdrawn)]
    return {(i, a.by): a.value for i, said in answers_at("p", told, SCHEMA, {}).items() for a in said}


def by_the_rule(run):
    said, gone = {}, {(e.about, e.by, e.answer) for e in run if isinstance(e, AnswerWithdrawn)}
    for event in run:
        if isinstance(event, LabelAsked) or (isinstance(event, AnswerWithdrawn) and event.answer):
            continue
        withdrawn = isinstance(event, AnswerWithdrawn) or (event.about, event.by, event.id) in gone
        what = None if withdrawn else event.value
        who = "" if isinstance(event, LabelReviewed) else event.by
        key, stamp = (event.about, who), (event.time, event.id)
        if key not in said or said[key][0] < stamp:
            said[key] = stamp, what
    stands = {key: value for key, (_, value) in said.items() if value is not None}
    return {k: v for k, v in stands.items() if k[1]}, {about: v for (about, by), v in stands.items() if not by}


def asked_by_the_rule(run):
    found = {}
    for event in run:
        if (
            not isinstance(event, LabelAsked)
            or not event.about
            or event.gold == "z"
            or event.overlap in ((5, 3), (0, 0))
        ):
            continue
        overlap, gold = found.get(event.about, (None, None))
        found[event.about] = event.overlap or overlap, event.gold or gold
    return found


@given(
    st.lists(ANSWERS, max_size=8),
    st.lists(WITHDRAWALS, max_size=5),
    st.lists(REVIEWS, max_size=4),
    st.lists(QUESTIONS, max_size=4),
    st.randoms(use_true_random=False),
)
def test_the_same_answers_and_reviews_stand_in_both_whatever_the_order_the_clocks_and_who_was_asked(
    answers, withdrawals, reviews, asked, chance: random.Random
):
    run = events(answers, withdrawals, reviews, asked)
    want = by_the_rule(run)
    for _ in range(3):
        # Questions alone are by the order of the log.
        assert served(run) == estimated(run) == (*want, asked_by_the_rule(run))
        assert kept(run) == want[0]
        chance.shuffle(run)


def test_a_withdrawal_by_a_clock_that_is_behind_counts():
    given_ = AnswerGiven(id="lease", time=9, about="t", by="x", value="a")
    gone = AnswerWithdrawn(id="w", time=7, about="t", by="x", answer="lease")
    for run in ([given_, gone], [gone, given_]):
        assert served(run) == estimated(run) == ({}, {}, {}) and kept(run) == {}

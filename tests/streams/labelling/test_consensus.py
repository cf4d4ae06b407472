"""The consensus job: what it publishes, answer by answer, and that its end is a function of the answers that stand."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.labelling.answers import Answers, Order
from streams.labelling.categorical import METHODS
from streams.labelling.classes import Classes
from streams.labelling.consensus import consensus
from tests.streams.labelling.crowds import (
    ASKED,
    START,
    answer,
    batch,
    labels,
    last,
    project,
    reviewed,
    rows,
    stamped,
    withdrawn,
)
from tidemill.checks.jobs import check_job
from tidemill.errors import SubmissionError
from tidemill.time import SECOND

BIRDS = project("jay", "wren", overlap=(2, 4), sure=0.9)


def run(events: list[Any], wake: int | None = None, **changes: Any) -> Any:
    job = consensus(**{"project": "birds", "every": 10_000} | changes)
    return job.step(job.init(), batch(events, wake))


def test_every_answer_is_told_and_a_sure_item_settled_once() -> None:
    effects = run([BIRDS, *(answer("t", f"w{i}", "jay") for i in range(4))], method="majority")
    assert [(r["value"], r["confidence"], r["answers"]) for r in rows(effects, "estimated")] == [
        ("jay", 1.0, n) for n in (1, 2, 3, 4)
    ]
    (settled,) = rows(effects, "settled")
    assert (settled["about"], settled["value"], settled["answers"]) == ("t", "jay", 2)
    (label,) = rows(effects, "given")
    assert (label["about"], label["value"], label["by"]) == ("t", "jay", "consensus:majority")
    assert rows(effects, "revised") == [] and effects.dead == []


def test_a_later_answer_a_withdrawal_and_a_review_revise() -> None:
    sure = [BIRDS, answer("t", "a", "jay"), answer("t", "b", "jay")]
    doubted = [*sure, answer("t", "c", "wren"), answer("t", "d", "wren")]
    effects = run(doubted, method="majority")
    assert [(r["value"], r["before"]) for r in rows(effects, "revised")] == [(None, "jay"), ("jay", None)]
    effects = run([*doubted, withdrawn("t", "a"), withdrawn("t", "b")], method="majority")
    assert labels(effects) == {"t": "wren"}
    assert [r["value"] for r in rows(effects, "given")] == ["jay", "wren"]
    effects = run([*sure, reviewed("t", "wren"), answer("t", "c", "jay"), reviewed("t", None)], method="majority")
    assert [(r["value"], r["reason"]) for r in rows(effects, "revised")] == [("wren", "review"), ("jay", "review")]
    effects = run([*sure, withdrawn("t", "a"), withdrawn("t", "b")], method="majority")
    assert labels(effects) == {} and last(effects)["t"]["value"] is None


def test_a_quiet_project_is_estimated_exactly_when_woken() -> None:
    events = [BIRDS, *(answer(f"t{i % 9}", f"w{i % 4}", "jay" if i % 5 else "wren") for i in range(36))]
    end = START + (len(events) - 1) * SECOND
    before = run(events, end + 59 * SECOND)
    assert (before.wake_at, before.state.estimations) == (end + 60 * SECOND, 1)
    after = run(events, end + 60 * SECOND)
    assert (after.wake_at, after.state.estimations) == (None, 2)
    assert last(after) == last(run([*events, ASKED]))


ANSWERS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 4), st.sampled_from(["jay", "wren", "crow", "gone", "review"])),
    min_size=1,
    max_size=40,
)


def told(acts: list[tuple[int, int, str]]) -> list[Any]:
    events = [BIRDS_AND_CROWS]
    for item, who, what in acts:
        if what == "gone":
            events.append(withdrawn(f"t{item}", f"w{who}"))
        elif what == "review":
            events.append(reviewed(f"t{item}", [None, "jay", "wren"][who % 3]))
        else:
            events.append(answer(f"t{item}", f"w{who}", what))
    return stamped(events)


BIRDS_AND_CROWS = project("jay", "wren", "crow", overlap=(2, 4), sure=0.8)


def end(events: list[Any], **changes: Any) -> tuple[Any, Any, Any]:
    """What is published last of every item, and what learners were given last."""
    effects = run([*events, ASKED], **changes)
    return last(effects), labels(effects), {a: r["value"] for a, r in last(effects, "given").items()}


MEETINGS: dict[str, Any] = {"acts": ANSWERS, "seed": st.integers(0, 1000), "every": st.sampled_from([3, 10_000])}


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25)
@given(**MEETINGS)
def test_any_order_and_any_repetition_end_alike(method: str, acts: Any, seed: int, every: int) -> None:
    ends_alike(method, acts, seed, every)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=500)
@given(**MEETINGS)
def test_five_hundred_orders_end_alike(method: str, acts: Any, seed: int, every: int) -> None:
    ends_alike(method, acts, seed, every)


def ends_alike(method: str, acts: Any, seed: int, every: int) -> None:
    first, *others = told(acts)
    shuffled = [*others, *random.Random(seed).sample(others, len(others) // 2)]
    random.Random(seed + 1).shuffle(shuffled)
    want = end([first, *others], method=method, every=10_000)
    got = end([first, *shuffled], method=method, every=every)
    assert got[:2] == want[:2]
    # What learners have of a settled item is its label; of one that is settled no more it may be either's last.
    assert {a: v for a, v in got[2].items() if a in got[1]} == want[1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("every", [3, 40])
def test_what_cannot_be_news_is_passed_over_and_nothing_else(
    method: str, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(every)
    truth = [rng.choice(["jay", "wren", "crow"]) for _ in range(30)]
    events = [BIRDS_AND_CROWS]
    for _ in range(400):
        item, who = rng.randrange(30), rng.randrange(9)
        right = truth[item] if rng.random() < 0.6 else rng.choice(["jay", "wren", "crow"])
        gone = rng.random() < 0.1
        events.append(withdrawn(f"t{item}", f"w{who}") if gone else answer(f"t{item}", f"w{who}", right))

    def told() -> list[Any]:
        effects = run(events, method=method, every=every, growth=0.0)
        return [(part.output, part.ids, part.time.tolist(), part.columns) for part in effects.emit]

    moved, passed = Classes.moved, 0

    def counting(*values: Any) -> Any:
        nonlocal passed
        found = moved(*values)
        passed += int((~found).sum())
        return found

    monkeypatch.setattr(Classes, "moved", counting)
    here = told()
    assert passed > 30
    monkeypatch.setattr(Classes, "moved", lambda self, told, *limits: np.ones(len(told), np.bool_))
    assert told() == here


@pytest.mark.parametrize("method", METHODS)
def test_the_job_laws_hold(method: str) -> None:
    rng = random.Random(5)
    acts = [
        (rng.randrange(6), rng.randrange(5), rng.choice(["jay", "wren", "crow", "gone", "review"])) for _ in "x" * 90
    ]
    job = consensus(project="birds", method=method, every=12, growth=0.0, quiet=5.0)
    events = told(acts)
    for i in range(0, len(events), 17):
        events[i] |= {"time": events[i]["time"] - 40 * SECOND}
    check_job(job, batch([*events[:50], ASKED, *events[50:]]))


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in ({"method": "oracle"}, {"every": 0}, {"quiet": 0.0}, {"smoothing": -1.0}):
        with pytest.raises(SubmissionError):
            consensus(project="birds", **wrong)


@pytest.mark.parametrize("broken", ["the last to come stands", "a repeat counts", "sums run as answers came"])
def test_a_job_that_depends_on_the_order_is_caught(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above, on variants that are wrong."""
    if broken == "sums run as answers came":
        real = Answers.order

        def unsorted(self: Answers) -> Order:
            order = real(self)
            items, people = np.arange(len(self.items)), np.arange(len(self.annotators))
            rows = np.sort(order.rows)
            return Order(items, people, rows, np.array(self.item, np.int64)[rows], np.array(self.who, np.int64)[rows])

        monkeypatch.setattr(Answers, "order", unsorted)
    else:
        real_put, counter = Answers.put, itertools.count()

        def put(self: Answers, item: int, by: str, value: Any, stamp: Any) -> Any:
            came = next(counter)
            who = f"{by}/{came}" if broken == "a repeat counts" else by
            return real_put(self, item, who, value, (came, ""))

        monkeypatch.setattr(Answers, "put", put, raising=True)
    rng, differs = random.Random(1), False
    for seed in range(30):
        acts = [(rng.randrange(6), rng.randrange(5), rng.choice(["jay", "wren", "crow", "gone"])) for _ in "x" * 40]
        first, *others = told(acts)
        shuffled = [*others, *random.Random(seed).sample(others, 20)]
        random.Random(seed).shuffle(shuffled)
        ends = [
            consensus_state([first, *rows_], every=10_000).beliefs.model.posterior() for rows_ in (others, shuffled)
        ]
        differs |= sorted(ends[0].ravel().tolist()) != sorted(ends[1].ravel().tolist())
    assert differs


def consensus_state(events: list[Any], **changes: Any) -> Any:
    return run([*events, ASKED], **changes).state


def test_what_is_believed_is_equal_to_the_last_bit_in_any_order() -> None:
    rng = random.Random(1)
    for seed in range(30):
        acts = [(rng.randrange(6), rng.randrange(5), rng.choice(["jay", "wren", "crow", "gone"])) for _ in "x" * 40]
        first, *others = told(acts)
        shuffled = [*others, *random.Random(seed).sample(others, 20)]
        random.Random(seed).shuffle(shuffled)
        one, other = (consensus_state([first, *rows_]) for rows_ in (others, shuffled))
        a, b = (dict(zip(s.answers.items, s.beliefs.model.posterior()[0].tolist(), strict=True)) for s in (one, other))
        assert a == b

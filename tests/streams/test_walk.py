"""Whatever a user's functions raise refuses the events they raise it on, and the others are learned as ever."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streams.classifier import of_columns, of_fields, online_classifier
from streams.stats import Running
from tests.streams.test_classifier import FIELDS, NAMES, block, events, labels_of, rows
from tidemill.block import Block, column
from tidemill.errors import BadEvent, NotFiniteError, WrongTypeError
from tidemill.job import Effects, Job
from tidemill.order import Batch

BAD = {3, 40, 41, 77}
"""Rows on which the functions below fail."""


class Surprise(Exception):
    """One that no list of expected errors holds."""


def marked(n: int = 90) -> Block:
    """Events whose bad rows say so in `who`."""
    of = events(n)
    of.columns["who"] = column(["bad" if i in BAD else "u" for i in range(n)], np.object_)
    return of


def failing(event: Any, known: Any) -> Any:
    if event["who"] == "bad":
        raise Surprise("whatever a user writes")
    return of_fields(NAMES)(event, known)


def failing_block(of: Block) -> Any:
    if (of.columns["who"] == "bad").any():
        raise AttributeError("'NoneType' object has no attribute 'upper'")
    return of_columns(NAMES)(of)


def ragged_block(of: Block) -> Any:
    return of_columns(NAMES)(of)[:, : 1 if "bad" in of.columns["who"] else 2]


CASES: dict[str, dict[str, Any]] = {
    "function": {"features": failing, "feature_names": NAMES},
    "block": {"features": failing, "feature_names": NAMES, "features_block": failing_block},
    "shape": {"features": failing, "feature_names": NAMES, "features_block": ragged_block},
}
LABELS: dict[str, dict[str, Any]] = {
    "joined": {"timeout": 30.0},
    "in-bulk": {"label": "label", "positive": "yes"},
    "with-tables": {"label": "label", "positive": "yes", "tables": (Running("seen", ("who",), of="event"),)},
}


def job_of(**more: Any) -> Job[Any]:
    return online_classifier(**{**FIELDS, **more})


def run(job: Job[Any], *blocks: Block) -> tuple[Any, Effects[Any]]:
    state = job.init()
    return state, job.step(state, Batch.sort(blocks))


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("case", CASES)
def test_only_the_events_that_a_function_fails_on_are_refused(case: str, labels: str) -> None:
    of, plain = marked(), {k: v for k, v in LABELS[labels].items() if k != "tables"}
    others = [] if "label" in plain else [labels_of(of)]
    state, effects = run(job_of(**CASES[case], **LABELS[labels]), of, *others)
    refused = [d for d in effects.dead if d.place.topic == "s"]
    assert {d.place.offset for d in refused} == BAD and len(refused) == len(BAD)
    assert {type(d.error) for d in refused} == {WrongTypeError}
    # What is left is what a stream without the bad events would have been.
    good = of.take(np.array([i not in BAD for i in range(len(of))]))
    clean, want = run(job_of(**plain), good, *others)
    assert rows(effects, "predictions") == rows(want, "predictions")
    assert state.counts == clean.counts and state.counts.learned > 30
    assert {k: v.tolist() for k, v in state.learner.state().items()} == {
        k: v.tolist() for k, v in clean.learner.state().items()
    }


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("case", CASES)
def test_laws_with_functions_that_fail(case: str, labels: str) -> None:
    checks = pytest.importorskip("tidemill.checks.jobs")
    of = marked(60)
    others = [] if "label" in LABELS[labels] else [labels_of(of)]
    checks.check_job(job_of(**CASES[case], **LABELS[labels]), Batch.sort([of, *others]))


def rule(value: Any) -> bool:
    return bool(value.upper() == "YES")


@pytest.mark.parametrize("more", [{}, {"tables": (Running("seen", of="event"),)}], ids=["in-bulk", "with-tables"])
def test_a_rule_of_labels_that_fails_refuses_the_event(more: Any) -> None:
    of = events(20)
    of.columns["label"] = column(["yes", 1, True, ["list"], {"a": 1}, None, *["no"] * 14], np.object_)
    state, effects = run(job_of(label="label", positive=rule, **more), of)
    assert [d.place.offset for d in effects.dead] == [1, 2, 3, 4]
    assert "'int' object has no attribute 'upper'" in str(effects.dead[0].error)
    assert (state.counts.predicted, state.counts.learned) == (16, 15)


def test_a_rule_of_labels_that_come_later_refuses_the_label() -> None:
    of = events(3)
    given = block("labels.s", [9, 9, 9], ["l0", "l1", "l2"], about=of.ids.tolist(), value=["yes", 7, "no"])
    state, effects = run(job_of(positive=rule), of, given)
    assert [(d.place.topic, d.place.offset) for d in effects.dead] == [("labels.s", 1)]
    assert state.counts.learned == 2


@pytest.mark.parametrize("more", [{}, {"tables": (Running("seen", of="event"),)}], ids=["in-bulk", "with-tables"])
def test_an_event_whose_float_label_is_null_is_only_predicted(more: Any) -> None:
    of = events(4)
    of.columns["label"] = np.array([1.0, np.nan, 0.0, np.nan])
    state, effects = run(job_of(label="label", positive=1.0, **more), of)
    assert effects.dead == [] and (state.counts.predicted, state.counts.learned) == (4, 2)


def test_a_statistic_of_a_field_that_holds_no_number_refuses_the_event() -> None:
    of = events(3)
    of.columns["b"] = column([1.0, "far", None], np.object_)
    job = job_of(features=("a",), tables=(Running("mean", of="event", field="b"),), label="label", positive="yes")
    state, effects = run(job, of)
    assert [(d.place.offset, d.error.field) for d in effects.dead] == [(1, "b")]
    assert state.tables.get("mean", "all") == {"count": 1.0, "mean": 1.0, "last": int(of.time[0])}
    assert state.counts.predicted == 2


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (None, WrongTypeError),
        ([1.0], WrongTypeError),
        ([1.0, "x"], WrongTypeError),
        ([1.0, 1j], WrongTypeError),
        ([1, 10**400], WrongTypeError),
        ([1.0, float("nan")], NotFiniteError),
        ([float("inf"), float("-inf")], NotFiniteError),
    ],
)
def test_rows_that_are_no_finite_numbers_are_refused(row: Any, error: type[BadEvent]) -> None:
    of = events(2)
    job = job_of(features=lambda e, k: row if e["a"] == of.columns["a"][0] else [True, 2], feature_names=NAMES)
    _, effects = run(job, of)
    assert [type(d.error) for d in effects.dead] == [error]
    assert rows(effects, "predictions")["features"] == [[1.0, 2.0]]


def test_memory_running_out_is_not_the_events_fault() -> None:
    def full(event: Any, known: Any) -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        run(job_of(features=full, feature_names=NAMES), events(1))

"""What is kept fits only the job that kept it, and says by name what differs."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from streams.engines.snapshot import check_fits, describe, fingerprint
from tests.streams.engines.helpers import make_job
from tidemill.errors import IncompatibleError
from tidemill.job import Input
from tidemill.order import Arrival, EventTime


class Inner(msgspec.Struct):
    n: int = 0


class One(msgspec.Struct):
    inner: Inner
    rows: dict[str, list[Inner]]
    weights: np.ndarray


class Wider(msgspec.Struct):
    inner: Inner
    rows: dict[str, list[Inner]]
    weights: np.ndarray
    more: float = 0.0


@dataclasses.dataclass
class Loop:
    next: Loop | None = None
    value: int = 0


JOB = make_job()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"version": 2}, "version"),
        ({"groups": 3}, "groups"),
        ({"state": One}, "state"),
        ({"order": EventTime(lateness=21)}, "order"),
        ({"order": EventTime(lateness=20, max_ahead=1)}, "order"),
        ({"order": Arrival()}, "order"),
        ({"reads": (Input("trips", key="km"),)}, "reads"),
        ({"reads": (Input("trips", history="past.csv"),)}, "reads"),
        ({"reads": (Input("trips"), Input("walks"))}, "reads"),
    ],
)
def test_what_changes_the_meaning_of_a_state_is_named(changes, named):
    with pytest.raises(IncompatibleError, match=f"the job's {named} changed") as caught:
        check_fits(make_job(**changes), fingerprint(JOB))
    assert caught.value.field == named and "--reset" in caught.value.fix


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"commit_every": 3.0},
        {"order": EventTime(lateness=20, idle_after=9.0)},
        {"max_event_bytes": 5},
        {"writes": ()},
        {"step": lambda state, batch: None},
    ],
)
def test_what_does_not_change_it_fits(changes):
    check_fits(make_job(**changes), fingerprint(JOB))


def test_a_type_is_described_all_the_way_down():
    assert describe(One) != describe(Wider)
    assert "rows: dict[str, list[Inner]]" in describe(One) and "Inner(n: int)" in describe(One)
    assert describe(Loop).count("Loop(") == 1
    assert describe(dict[str, int]) == "dict[str, int]"


def test_times_are_shown_as_people_read_them():
    day, second = 86_400_000_000, 1_000_000
    saved = fingerprint(make_job(order=EventTime(lateness=90 * second, max_ahead=90 * day)))
    with pytest.raises(
        IncompatibleError, match=r"wanted event_time, lateness 1 min 30 s, max_ahead 90 d; got .* 2 min"
    ):
        check_fits(make_job(order=EventTime(lateness=120 * second, max_ahead=90 * day)), saved)

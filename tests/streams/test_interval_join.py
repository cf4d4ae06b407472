"""Pairs are those of the obvious double loop, the unmatched come at their deadline, and the laws hold."""

import numpy as np
import pytest

from streams.interval_join import IntervalJoin, interval_join
from tidemill.checks.jobs import Subject, check_job, keyed
from tidemill.errors import SubmissionError
from tidemill.order import Arrival
from tidemill.stream import Field, StreamSpec
from tidemill.time import MAX_TIME, SECOND


def declared(name, key):
    fields = (Field("id", "string"), Field("at", "time"), Field(key, "int", nullable=True), Field("x", "float"))
    return StreamSpec(name=name, fields=fields, id="id", time="at", key=key)


STREAMS = {"calls": declared("calls", "line"), "bills": declared("bills", "number")}
SETTINGS = {
    "name": "j",
    "left": "calls",
    "right": "bills",
    "left_key": "line",
    "right_key": "number",
    "before": 3,
    "after": 8,
    "left_fields": ["x"],
    "right_fields": {"x": "price"},
}


def make(groups=1, **changes):
    return keyed(interval_join(**SETTINGS | {"groups": groups} | changes), STREAMS)


@pytest.mark.parametrize("keep", ["pairs", "left", "both"])
def test_lawful(keep):
    job = make(3, keep=keep)
    check_job(job, Subject("j", job, STREAMS).batch(120))


@pytest.mark.parametrize("keep", ["pairs", "left", "both"])
def test_pairs_and_unmatched_are_the_right_ones(keep):
    job = make(keep=keep)
    batch = Subject("j", job, STREAMS).batch(200)
    effects = job.step(job.init(), batch.take(np.arange(len(batch)), MAX_TIME))
    (rows,) = effects.emit
    sides = [
        list(zip(b.ids, b.time.tolist(), b.columns[k].tolist(), b.columns["x"].tolist(), strict=True))
        for b, k in ((batch.blocks["calls"], "line"), (batch.blocks["bills"], "number"))
    ]
    want, met = {}, set()
    for a, s, k, x in sides[0]:
        for b, t, m, y in sides[1]:
            if k is not None and k == m and s - 3 * SECOND <= t <= s + 8 * SECOND:
                want[f"{a}+{b}"] = (max(s, t), str(k), x, y)
                met |= {a, b}
    if keep != "pairs":
        for a, s, k, x in sides[0]:
            if a not in met:
                want[f"{a}+"] = (s, None, x, None) if k is None else (s + 8 * SECOND + 1, str(k), x, None)
    if keep == "both":
        for b, t, m, y in sides[1]:
            if b not in met:
                want[f"+{b}"] = (t, None, None, y) if m is None else (t + 3 * SECOND + 1, str(m), None, y)
    columns = (rows.columns["key"], rows.columns["x"], rows.columns["price"])
    got = dict(zip(rows.ids, zip(rows.time.tolist(), *columns, strict=True), strict=True))
    assert got == want and len(rows.ids) == len(want)
    assert effects.state.waiting == ({}, {}) and effects.wake_at is None


def test_what_waits_is_bounded_by_the_interval():
    job = make()
    batch = Subject("j", job, STREAMS).batch(2_000)
    state = job.init()
    for piece in batch.cut(range(100, len(batch), 100)):
        state = job.step(state, piece).state
        waiting = sum(len(queue) for side in state.waiting for queue in side.values())
        now = piece.time[-1]
        assert waiting <= (batch.time >= now - 9 * SECOND).sum()


def test_settings_that_do_not_fit():
    for changes in (
        {"order": Arrival()},
        {"right": "calls"},
        {"after": -1},
        {"keep": "right"},
        {"right_fields": ["x"]},
        {"right_fields": {"x": "key"}},
    ):
        with pytest.raises(SubmissionError):
            make(**changes)


def test_rows_can_be_declared():
    spec = IntervalJoin(**SETTINGS).spec(STREAMS)
    assert (spec.key, spec.field("price").type, spec.field("price").nullable) == ("key", "float", True)

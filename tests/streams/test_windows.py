"""Windows hold what the obvious computation puts into them, and keep the laws."""

import statistics

import numpy as np
import pytest

from streams.windows import Aggregate, Session, Sliding, Tumbling, windows
from tidemill.block import column
from tidemill.checks.jobs import Subject, check_job, keyed
from tidemill.errors import SubmissionError
from tidemill.order import Arrival, Batch
from tidemill.stream import Field, StreamSpec
from tidemill.time import MAX_TIME, SECOND

TRIPS = StreamSpec(
    name="trips",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        Field("who", "string", nullable=True),
        Field("km", "float", nullable=True),
        Field("stops", "int"),
    ),
    id="id",
    time="at",
    key="who",
)
STREAMS = {"trips": TRIPS}
ALL = {
    "n": Aggregate("count"),
    "known": Aggregate("count", "km"),
    "km": Aggregate("sum", "km"),
    "mean": Aggregate("mean", "km"),
    "least": Aggregate("min", "km"),
    "most": Aggregate("max", "stops"),
    "spread": Aggregate("variance", "km"),
}
SHAPES = [Tumbling(10), Sliding(10, 4), Sliding(9, 3), Session(3), Session(4, longest=9)]


def make(window, groups=3, **changes):
    settings = {"name": "w", "stream": "trips", "key": "who", "aggregates": ALL, "groups": groups}
    return keyed(windows(window=window, **settings | changes), STREAMS)


@pytest.mark.parametrize("window", SHAPES, ids=str)
def test_lawful(window):
    job = make(window)
    check_job(job, Subject("w", job, STREAMS).batch(200))


def bounds(window, times):
    """The windows of one key's events at `times`, by hand."""
    if isinstance(window, Session):
        out, gap, longest = [], window.gap * SECOND, window.longest * SECOND
        for t in times:
            if not out or t >= out[-1][1]:
                out.append([t, min(t + gap, t + longest)])
            out[-1][1] = min(t + gap, out[-1][0] + longest)
        return {tuple(map(int, b)) for b in out}
    length, every = int(window.seconds * SECOND), int(getattr(window, "every", window.seconds) * SECOND)
    return {(k * every, k * every + length) for t in times for k in range((t - length) // every + 1, t // every + 1)}


@pytest.mark.parametrize("window", SHAPES, ids=str)
def test_every_window_holds_what_it_should(window):
    job = make(window, groups=1)
    batch = Subject("w", job, STREAMS).batch(300)
    block = batch.blocks["trips"]
    effects = job.step(job.init(), batch.take(np.arange(len(batch)), MAX_TIME))
    (rows,) = effects.emit
    got = {
        (k, s, e): i
        for i, (k, s, e) in enumerate(
            zip(rows.columns["key"], rows.columns["start"].tolist(), rows.columns["end"].tolist(), strict=True)
        )
    }
    events = list(zip(block.columns["who"], block.time.tolist(), block.columns["km"].tolist(), strict=True))
    whos = {who for who, _, _ in events if who is not None}
    want = {(w, *b) for w in whos for b in bounds(window, [t for who, t, _ in events if who == w])}
    assert set(got) == want and len(rows.ids) == len(set(rows.ids)) == len(want)
    for (who, start, end), i in got.items():
        inside = [km for w, t, km in events if w == who and start <= t < end]
        km = [v for v in inside if v == v]
        figure = {name: rows.columns[name][i] for name in ALL}
        assert (figure["n"], figure["known"]) == (len(inside), len(km))
        assert figure["km"] == (pytest.approx(sum(km)) if km else None)
        assert figure["least"] == (min(km) if km else None)
        assert figure["spread"] == (pytest.approx(statistics.variance(km)) if len(km) > 1 else None)
    assert effects.state.unkeyed == sum(who is None for who, _, _ in events) > 0
    assert len(effects.state.open) == 0 and effects.wake_at is None


def test_what_is_kept_are_the_open_windows():
    job = make(Tumbling(5), groups=1)
    state, rng = job.init(), np.random.default_rng(1)
    base = Subject("w", job, STREAMS).batch(200).blocks["trips"]
    for turn in range(40):
        block = base.take(np.arange(200))
        block.time[...] = turn * 10 * SECOND + np.sort(rng.integers(0, 10 * SECOND, 200))
        block.columns["who"] = column([f"{turn}/{i}" for i in range(200)], np.object_)
        state = job.step(state, Batch.of([block])).state
        assert len(state.open) <= 200 and len(state.open._names) <= 512


def test_settings_that_do_not_fit():
    for changes in (
        {"order": Arrival()},
        {"aggregates": {}},
        {"aggregates": {"key": Aggregate("count")}},
        {"aggregates": {"x": Aggregate("mean")}},
        {"window": Tumbling(0)},
        {"window": Sliding(1, 2)},
    ):
        with pytest.raises(SubmissionError):
            make(**{"window": Tumbling(1), **changes})


def test_rows_can_be_declared():
    from streams.windows import Windows

    spec = Windows(name="w", stream="trips", key="who", window=Tumbling(1), aggregates=ALL).spec()
    assert (spec.key, spec.field("n").type, spec.field("km").nullable) == ("key", "int", True)

"""The job laws pass a lawful job and catch each way of breaking them."""

import msgspec
import numpy as np
import pytest

from tidemill.checks.jobs import CHECKS, Subject, check_job, find_jobs, keyed
from tidemill.errors import SubmissionError
from tidemill.job import Deadlines, Effects, Input, Job, Output, Rows, events_of, per_event
from tidemill.stream import Field, StreamSpec, label_stream

TRIPS = StreamSpec(
    name="trips",
    fields=(Field("id", "string"), Field("at", "time"), Field("km", "float"), Field("who", "string")),
    time="at",
    id="id",
    key="who",
)
STREAMS = {"trips": TRIPS, "labels.trips": label_stream("trips")}


class Sums(msgspec.Struct):
    km: float = 0.0
    n: int = 0
    waiting: Deadlines = msgspec.field(default_factory=Deadlines)


def on_event(state, event, out):
    state.n += 1
    state.km += event.data["km"]
    state.waiting.set(event.time + 5_000_000, event.id)
    out.emit("sums", event.id, event.time, km=state.km)


def on_deadline(state, time, id, out):
    out.emit("late", f"{id}/after", time, km=state.km)


LAWFUL = per_event(on_event, on_deadline=on_deadline, deadlines=lambda s: s.waiting)


def make(step=LAWFUL, **changes):
    settings = {
        "name": "sums",
        "reads": (Input("trips"),),
        "step": step,
        "init": Sums,
        "state": Sums,
        "writes": (Output("sums", "data.sums"), Output("late", "data.late")),
        "groups": 2,
    }
    return keyed(Job(**settings | changes), STREAMS)


def batch(job):
    return Subject("test", job, STREAMS).batch()


def test_a_lawful_job_passes():
    check_job(make(), batch(make()))


def test_generated_labels_are_about_generated_events():
    job = make(
        step=per_event(lambda s, e, out: None), reads=(Input("trips", "id"), Input("labels.trips", "about")), groups=1
    )
    made = batch(job)
    assert set(made.blocks["labels.trips"].columns["about"]) <= set(made.blocks["trips"].ids)
    check_job(job, made)


def counts_batches(state, batch):
    effects = LAWFUL(state, batch)
    effects.state.n += 100
    return effects


def serves_only_wakes(state, batch):
    effects = per_event(on_event)(state, batch)
    if batch.wake is not None:
        woken = per_event(lambda *_: None, on_deadline=on_deadline, deadlines=lambda s: s.waiting)
        effects.emit += woken(effects.state, batch.take(np.arange(0), batch.wake)).emit
    effects.wake_at = effects.state.waiting.next()
    return effects


def random_rows(state, batch, rng=np.random.default_rng(1)):
    effects = LAWFUL(state, batch)
    effects.state.km += float(rng.normal())
    return effects


def hides_its_deadline(state, batch):
    effects = LAWFUL(state, batch)
    effects.wake_at = None
    return effects


def asks_too_late(state, batch):
    effects = LAWFUL(state, batch)
    effects.wake_at = None if effects.wake_at is None else effects.wake_at + 3_000_000
    return effects


def changes_input(state, batch):
    effects = LAWFUL(state, batch)
    for block in batch.blocks.values():
        block.columns["km"] *= 2
    return effects


class Kept(msgspec.Struct):
    last: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(0))


def keeps_input(state, batch):
    for block in batch.blocks.values():
        state.last = block.columns["km"][-1:]
    return Effects(state)


class Sloppy(msgspec.Struct):
    seen: list[str] = []
    km: float = 0.0


def forgets_when_saved(state, batch):
    for event in events_of(batch):
        if isinstance(state.seen, list):
            state.seen = (event.id,)
            state.km += event.data["km"]
        state.km += 1
    return Effects(state)


def ragged(state, batch):
    return Effects(state, [Rows("sums", [1, 2], ["a", "b"], {"x": [1]})])


@pytest.mark.parametrize(
    ("law", "changes"),
    [
        ("split_invariance", {"step": counts_batches}),
        ("split_invariance", {"step": serves_only_wakes}),
        ("determinism", {"step": random_rows}),
        ("wake_at", {"step": hides_its_deadline}),
        ("wake_at", {"step": asks_too_late}),
        ("owns_its_state", {"step": changes_input}),
        ("owns_its_state", {"step": keeps_input, "init": Kept, "state": Kept}),
        ("saved_states", {"step": forgets_when_saved, "init": Sloppy, "state": Sloppy}),
        ("determinism", {"step": ragged}),
    ],
)
def test_a_broken_job_is_caught(law, changes):
    check = next(c for c in CHECKS if c.__name__ == f"check_{law}")
    job = make(**changes)
    with pytest.raises(AssertionError):
        check(job, batch(job))


def test_a_job_file_without_streams_is_named(tmp_path):
    (tmp_path / "job.py").write_text("def job(): ...\n")
    with pytest.raises(SubmissionError, match=r"job\.py"):
        find_jobs([tmp_path / "job.py"])


def test_files_without_a_job_are_passed_over(tmp_path):
    (tmp_path / "job.py").write_text("x = 1\n")
    assert find_jobs([tmp_path / "job.py"]) == []

"""The local engine over a log in memory."""

import json
import time

import msgspec
import pytest

from connectors.memory import MemoryLog
from streams.engines.local import LocalEngine
from streams.state_store import FolderStore
from tidemill.checks.reference import read_all
from tidemill.engine import Parts
from tidemill.errors import IncompatibleError
from tidemill.job import Deadlines, Input, Job, Output, per_event
from tidemill.order import EventTime
from tidemill.stream import Field, StreamSpec
from tidemill.time import SystemClock

SPEC = StreamSpec(
    name="trips",
    fields=(Field("id", "string"), Field("at", "time"), Field("km", "float"), Field("who", "string")),
    time="at",
    id="id",
    key="who",
    time_unit="us",
    partitions=2,
)


def records(log, topic):
    return [r for p in log.partitions(topic) for r in read_all(log, p)]


class Sums(msgspec.Struct):
    km: float = 0.0
    n: int = 0
    waiting: Deadlines = msgspec.field(default_factory=Deadlines)


def on_event(state, event, out):
    state.n += 1
    state.km += event.data["km"]
    state.waiting.set(event.time + 5, event.id)
    out.emit("sums", event.id, event.time, km=state.km, n=state.n)


def on_deadline(state, time, id, out):
    out.emit("sums", f"{id}/after", time, km=state.km, n=state.n)


def make_job(**changes):
    settings = {
        "name": "sums",
        "reads": (Input("trips"),),
        "step": per_event(on_event, on_deadline=on_deadline, deadlines=lambda s: s.waiting),
        "init": Sums,
        "state": Sums,
        "writes": (Output("sums", "data.sums"),),
        "groups": 3,
        "order": EventTime(lateness=3, idle_after=None),
        "commit_every": 0.01,
    }
    return Job(**settings | changes)


def publish(log, n=200, partitions=2):
    log.create(SPEC.topic, SPEC.topic_spec())
    writer = log.writer()
    for i in range(n):
        row = {"id": f"e{i}", "at": i * 2 + i % 3, "km": 0.5 * i, "who": f"w{i % 7}"}
        writer.send(SPEC.topic, json.dumps(row).encode(), partition=i % partitions)


def run(job, log, store, engine=None, done=None):
    """Until everything was read and committed (or `done`)."""
    status = {}
    group = f"tidemill.{job.name}"
    done = done or (
        lambda: status and log.committed(group) and all(at >= log.end(p) for p, at in log.committed(group).items())
    )
    parts = Parts(log=log, store=store, clock=SystemClock(), streams={"trips": SPEC}, report=status.update)
    (engine or LocalEngine()).run(job, parts, lambda: bool(done()))
    return status


def test_a_job_emits_commits_and_goes_on_without_repeating(tmp_path):
    log, store = MemoryLog(), FolderStore(tmp_path)
    publish(log)
    run(make_job(), log, store)
    rows = [msgspec.json.decode(r.value) for r in records(log, "data.sums")]
    before = len(rows)
    assert len({r["id"] for r in rows}) == before > 300
    offsets = log.committed("tidemill.sums")
    assert {p.number: at for p, at in offsets.items()} == {0: 100, 1: 100}
    run(make_job(), log, store, done=iter([False, False, False, True]).__next__)
    assert len(records(log, "data.sums")) == before


@pytest.mark.parametrize(
    ("changes", "named"), [({"version": 2}, "version"), ({"groups": 2}, "groups"), ({"order": EventTime()}, "order")]
)
def test_a_changed_job_is_refused_by_name(tmp_path, changes, named):
    log, store = MemoryLog(), FolderStore(tmp_path)
    publish(log)
    run(make_job(), log, store)
    with pytest.raises(IncompatibleError, match=f"the job's {named} changed"):
        run(make_job(**changes), log, store)


def test_a_job_that_was_idle_commits_as_soon_as_any_other(tmp_path):
    """What it did not use of its pace while nothing came is not waited for once something comes."""
    log, store, times = MemoryLog(), FolderStore(tmp_path), []
    log.create(SPEC.topic, SPEC.topic_spec())
    begun = time.monotonic()

    def done():
        now = time.monotonic()
        if not times and now - begun > 1.5:
            publish(log)
            times.append(now)
        if times and sum(log.committed("tidemill.sums").values()) == 200:
            times.append(now)
        return len(times) > 1

    run(make_job(commit_every=0.5), log, store, done=done)
    # A quarter of the 6 s by which the pace had run ahead of the clock.
    assert times[1] - times[0] < 1.5

"""A job with a model, a table and versions, and how to run it, for the engine's tests."""

import json
from typing import Any

import msgspec
import numpy as np

from streams.engines.local import LocalEngine
from tidemill import state as states
from tidemill.checks.reference import read_all
from tidemill.engine import Parts
from tidemill.job import Effects, Input, Job, Live, ModelContent, Output, Rows, VersionCut, events_of
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


class Rides(msgspec.Struct):
    """Kilometres by rider, for a table."""

    km: dict[str, float] = {}
    changed_at: dict[str, int] = {}
    count: int = 0

    def changes(self):
        return self.count

    def changed(self, since):
        return ((who, {"km": self.km[who]}) for who, at in self.changed_at.items() if at > since)


class Learned(msgspec.Struct):
    weights: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(8))
    n: int = 0
    after: int = 0
    rides: Rides = msgspec.field(default_factory=Rides)


def content(state: Learned) -> ModelContent:
    return ModelContent("tests:Sum", {"size": 8}, {"weights": state.weights.copy(), "n": state.n})


def step(state: Learned, batch: Any) -> Effects[Learned]:
    ids, times, values, cuts = [], [], [], []
    for event in events_of(batch):
        state.n += 1
        state.weights[int(event.data["km"] * 7) % 8] += event.data["km"] * 0.1 + state.weights.sum() * 1e-3
        rides = state.rides
        rides.count += 1
        rides.km[event.data["who"]] = rides.km.get(event.data["who"], 0.0) + event.data["km"]
        rides.changed_at[event.data["who"]] = rides.count
        ids.append(event.id)
        times.append(event.time)
        values.append(float(state.weights.sum()))
        if state.n % 50 == 0:
            cuts.append(
                VersionCut("sum", state.after + state.n // 50, (event.time, event.source, event.id), content(state), {})
            )
    rows = [Rows("sums", times, ids, {"sum": values})] if ids else []
    return Effects(state, rows, None, [], cuts)


def make_job(**changes: Any) -> Job[Learned]:
    settings = {
        "name": "sums",
        "reads": (Input("trips"),),
        "step": step,
        "init": Learned,
        "state": Learned,
        "versions_after": lambda state, number: setattr(state, "after", number),
        "writes": (Output("sums", "data.sums"),),
        "order": EventTime(lateness=20, idle_after=None),
        "live": Live(lambda s: {"sum": content(s)}, lambda s: {"rides": s.rides}),
        "commit_every": 0.01,
    }
    return Job(**settings | changes)


def row(i: int) -> dict[str, Any]:
    return {"id": f"e{i}", "at": i * 2 + i % 3, "km": 0.5 * (i % 11), "who": f"w{i % 7}"}


def publish(log: Any, rows: Any, spec: StreamSpec = SPEC) -> None:
    log.create(spec.topic, spec.topic_spec())
    writer = log.writer()
    for i, one in enumerate(rows):
        writer.send(spec.topic, json.dumps(one).encode(), partition=i % spec.partitions)
    writer.flush()
    writer.close()


class Shelf:
    """A publisher in memory."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, int], Any] = {}

    def publish(self, cut: VersionCut, lineage: Any, delta: int) -> dict[str, Any]:
        self.versions.setdefault((cut.model, cut.number), (cut, lineage, delta))
        digest = states.content_digest(cut.content)
        return {"uri": "memory:", "content_digest": digest, "version_digest": "", "kind": cut.content.kind}

    def newest(self, job: str, models: Any) -> int:
        return max((number for _, number in self.versions), default=0)


def run(job: Job[Any], log: Any, store: Any, *, engine: Any = None, done: Any = None, **parts: Any) -> dict[str, Any]:
    """Run until everything was read (or `done`); the last status."""
    status: dict[str, Any] = {}

    def finished() -> bool:
        committed = log.committed(f"tidemill.{job.name}")
        told = status.get("state", "recovering") != "recovering"
        return told and bool(committed) and all(at >= log.end(p) for p, at in committed.items())

    also = parts.pop("report", lambda told: None)

    def report(told: dict[str, Any]) -> None:
        status.update(told)
        also(told)

    given = {"streams": {"trips": SPEC}, "clock": SystemClock(), "report": report} | parts
    (engine or LocalEngine()).run(job, Parts(log=log, store=store, **given), lambda: bool((done or finished)()))
    return status


def records(log: Any, topic: str) -> list[Any]:
    return [r for p in log.partitions(topic) for r in read_all(log, p)]


def rows_of(log: Any, topic: str) -> list[Any]:
    return [msgspec.json.decode(r.value) for r in records(log, topic)]

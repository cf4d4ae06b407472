"""Windows: aggregates of a stream's events by key over stretches of event time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.open_windows import COUNT, M2, MAX, MEAN, MIN, SUM, Closed, OpenWindows
from streams.recipe import job_of
from tidemill.block import Block
from tidemill.errors import SubmissionError
from tidemill.job import Effects, Input, Job, Output, Rows
from tidemill.order import Batch, EventTime, Order
from tidemill.stream import Field, StreamSpec
from tidemill.time import SECOND

Float = NDArray[np.float64]
WINDOWS = "windows"


@dataclass(frozen=True)
class Tumbling:
    """Windows of `seconds`, one after another, from the epoch on: [k·s, (k+1)·s)."""

    seconds: float


@dataclass(frozen=True)
class Sliding:
    """Windows of `seconds` that begin every `every` seconds: [k·e, k·e + s). An event counts in each that holds it."""

    seconds: float
    every: float


@dataclass(frozen=True)
class Session:
    """Windows that last while events come: one ends where no event of its key came for `gap` seconds, or `longest`
    seconds after its first event. Its end is that moment, not the last event."""

    gap: float
    longest: float = 7 * 86_400.0


@dataclass(frozen=True)
class Aggregate:
    """One figure of a window, over the values of `field` that are not null: `count` (without a field: of events),
    `sum`, `mean`, `min`, `max`, or the sample `variance`. Null where it is not defined: of no value, and the variance
    of fewer than two. Sums run in the order of events, mean and variance by Welford's update, in float64."""

    of: Literal["count", "sum", "mean", "min", "max", "variance"]
    field: str | None = None


class State(msgspec.Struct):
    """The windows that are open, and how many events had no key."""

    open: OpenWindows
    unkeyed: int = 0


@dataclass(frozen=True, kw_only=True)
class Windows:
    """A job that aggregates the events of `stream` by the field `key` over windows of event time.

    A window is emitted when its end has come in event time, and forgotten: what is kept are the windows that are open.
    `windows` rows go to `topic` (default `data.<name>`), in order of (end, start, key) within a group, one for each
    window that held an event: `key`, `start` and `end` (UTC microseconds, the end excluded), and the `aggregates` by
    name. A row's id is `<key>/<start>/<end>`, its time the end. Events whose key is null count nowhere (but in
    `unkeyed` of the state). `spec()` declares the rows as a stream, for another job to read.

    Keys fall into `groups` groups. Order must be `EventTime`: what ends in event time needs events in that order.
    Raises `SubmissionError` where the settings do not fit together.
    """

    name: str
    stream: str
    key: str
    window: Tumbling | Sliding | Session
    aggregates: Mapping[str, Aggregate]
    groups: int = 1
    topic: str = ""
    order: Order = field(default_factory=EventTime)
    output: Literal["json", "arrow"] = "json"

    def job(self) -> Job[State]:
        """The job. Raises `SubmissionError` where the settings do not fit together."""
        self._check()
        fields = self.fields
        settings = _settings(self.window)

        def init() -> State:
            return State(OpenWindows(len(fields), **settings))

        def step(state: State, batch: Batch) -> Effects[State]:
            closed = []
            if len(batch):
                block = batch.blocks[self.stream]
                keyed = np.array([key is not None for key in block.columns[self.key].tolist()], dtype=np.bool_)
                if not keyed.all():
                    state.unkeyed += int((~keyed).sum())
                    block = block.take(keyed)
                keys = list(map(str, block.columns[self.key].tolist()))
                closed = state.open.add(keys, block.time, _values(block, fields))
            ends = [int(batch.time[-1])] if len(batch) else []
            ends += [] if batch.wake is None else [batch.wake]
            out = state.open.close(max(ends), closed) if ends else Closed.none(len(fields))
            return Effects(state, [self._rows(out)] if len(out.keys) else [], state.open.next_end())

        return Job(
            name=self.name,
            reads=(Input(self.stream, key=self.key),),
            step=step,
            init=init,
            state=State,
            writes=(Output(WINDOWS, self.topic or f"data.{self.name}", key="key", format=self.output),),
            groups=self.groups,
            order=self.order,
            needs=frozenset({"timers"}),
            warm=lambda: init().open.add(["warm"], np.zeros(1, np.int64), np.zeros((1, len(fields)))),
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that are aggregated."""
        return tuple(dict.fromkeys(a.field for a in self.aggregates.values() if a.field is not None))

    def spec(self) -> StreamSpec:
        """The declaration of the rows, as stream `<name>`, keyed by `key`."""
        figures = tuple(
            Field(name, "int" if a.of == "count" else "float", nullable=a.of != "count")
            for name, a in self.aggregates.items()
        )
        fields = (Field("id", "string"), Field("time", "time"), Field("key", "string"))
        bounds = (Field("start", "int"), Field("end", "int"))
        topic = self.topic or f"data.{self.name}"
        return StreamSpec(
            name=self.name, topic=topic, fields=(*fields, *bounds, *figures), id="id", time="time", key="key"
        )

    def _rows(self, closed: Closed) -> Rows:
        bounds = zip(closed.keys, closed.start.tolist(), closed.end.tolist(), strict=True)
        columns: dict[str, Any] = {"key": closed.keys, "start": closed.start, "end": closed.end}
        for name, aggregate in self.aggregates.items():
            columns[name] = self._figure(closed, aggregate)
        return Rows(WINDOWS, closed.end, [f"{key}/{start}/{end}" for key, start, end in bounds], columns)

    def _figure(self, closed: Closed, aggregate: Aggregate) -> list[Any]:
        if aggregate.field is None:
            return list(closed.count.tolist())
        of = closed.acc[:, self.fields.index(aggregate.field)]
        n = of[:, COUNT]
        if aggregate.of == "count":
            return [int(c) for c in n.tolist()]
        if aggregate.of == "variance":
            return [m / (c - 1.0) if c > 1 else None for m, c in zip(of[:, M2].tolist(), n.tolist(), strict=True)]
        column = of[:, {"sum": SUM, "mean": MEAN, "min": MIN, "max": MAX}[aggregate.of]]
        return [v if c else None for v, c in zip(column.tolist(), n.tolist(), strict=True)]

    def _check(self) -> None:
        def refuse(message: str, got: str = "", wanted: str = "") -> None:
            raise SubmissionError(message, where=f"job {self.name}", got=got, wanted=wanted)

        if not isinstance(self.order, EventTime):
            refuse("windows end in event time", repr(self.order), "EventTime")
        if not self.aggregates:
            refuse("no aggregates", wanted="at least one, such as Aggregate('count')")
        if taken := sorted(set(self.aggregates) & {"id", "time", "key", "start", "end"}):
            refuse("an aggregate has the name of a column of every window", ", ".join(taken))
        for name, aggregate in self.aggregates.items():
            if aggregate.of not in ("count", "sum", "mean", "min", "max", "variance"):
                refuse(f"unknown aggregate {name!r}", aggregate.of, "count, sum, mean, min, max or variance")
            if aggregate.field is None and aggregate.of != "count":
                refuse(f"aggregate {name!r} needs a field", aggregate.of)
        settings = _settings(self.window)
        if min(settings["length"], settings["every"]) < 1:
            refuse("a window must last", repr(self.window), "at least a microsecond")
        if settings["lanes"] > 10_000 or settings["every"] > settings["length"]:
            refuse("windows slide too finely or leave gaps", repr(self.window), "1 to 10,000 windows over each event")


def _settings(window: Tumbling | Sliding | Session) -> dict[str, int]:
    """`lanes` windows of a key at most are open at once; times in microseconds."""
    if isinstance(window, Session):
        length, gap = round(window.longest * SECOND), round(window.gap * SECOND)
        return {"lanes": 1, "length": length, "every": min(gap, length), "session": 1}
    every = window.every if isinstance(window, Sliding) else window.seconds
    length, step = round(window.seconds * SECOND), round(every * SECOND)
    return {"lanes": -(-length // max(step, 1)), "length": length, "every": step, "session": 0}


def _values(block: Block, fields: tuple[str, ...]) -> Float:
    """The fields' values (n × fields); NaN for null."""
    out = np.empty((len(block), len(fields)))
    for j, name in enumerate(fields):
        values = block.columns[name]
        if values.dtype == np.object_:
            out[:, j] = [v if isinstance(v, (int, float)) else np.nan for v in values.tolist()]
        else:
            out[:, j] = values
    return out


windows = job_of(Windows)
"""The job of `Windows` with the settings given."""

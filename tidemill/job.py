"""Jobs: one definition, many engines.

A job declares what it reads and writes, how it keys, its state's type, and one step::

    step(state, batch) -> Effects(state, emit, wake_at)

Two laws, which `tidemill.checks.jobs` checks for every job:

1. *Split invariance*: the result is the same for every split of the input into batches, and with any redundant
   in-order wakes. So an engine may hand over 1 event or 100,000, and a step may work a block in native code.
2. *Determinism*: same state, same input, same bytes.

The step sees no store, wall clock, topic or network. It owns the state it is given and may change it in place.
Deadlines live in the state: before an event at time t, and at a wake at t, the step serves its own deadlines ≤ t.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.block import Place, Times
from tidemill.endpoint import Endpoint
from tidemill.errors import BadEvent, SubmissionError
from tidemill.log import TopicSpec
from tidemill.order import Arrival, Batch, EventTime, Order
from tidemill.stream import check_name

S = TypeVar("S")

REPLAYED = "replayed"
"""The kind of a model whose state cannot be saved: its content holds the digest of its answers, not what it learned, so
it can be rebuilt and compared, and not be served."""


@dataclass(frozen=True)
class Input:
    """A stream a job reads. `key` names the field that decides the group (default: the stream's own key).

    `history` is a path or URL of JSON Lines, CSV or Parquet files that hold the stream's beginning: the job reads
    them first and goes on in Kafka without gap or overlap.

    `fields` are those that the job asks for by name, each with what asks for it: a submission is refused where the
    stream does not declare one. `types` says of some of them whether they must be a `number` or a `text`: a submission
    is refused where the stream declares one that can never be.

    `label` names the field in which the stream's events hold their own label (null: none), so that labels are counted
    and the time from a label to the live model is known. Events of `labels.*` need none: they all are labels.
    """

    stream: str
    key: str | None = None
    history: str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    types: tuple[tuple[str, Literal["number", "text"]], ...] = ()
    label: str | None = None


@dataclass(frozen=True)
class Output:
    """A topic a job writes, and how: one JSON record per row, or one Arrow block per commit and group.

    `tag` is the platform event type of its rows (`prediction.made.v1`), or empty for a declared stream's data.
    `key` names the column that becomes the record key. `made` is how the topic is made where there is none.
    """

    name: str
    topic: str
    tag: str = ""
    key: str | None = None
    format: Literal["json", "arrow"] = "json"
    made: TopicSpec = field(default_factory=TopicSpec)


@dataclass
class Rows:
    """Rows to emit to one output: plain lists or numpy arrays of equal length.

    `ids` must be a function of the input (an engine that emits again after a crash must emit the same), `time` is
    event time in microseconds.
    """

    output: str
    time: Times | Sequence[int]
    ids: Sequence[str] | NDArray[Any]
    columns: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class DeadRow:
    """An input event that the step cannot use: it goes to `dead.<job>`, its payload untouched."""

    place: Place
    error: BadEvent


class ModelContent(msgspec.Struct, frozen=True):
    """A model as plain data: the learner's kind (`module:Class`), its parameters, and its learned state."""

    kind: str
    params: dict[str, Any]
    state: dict[str, Any]


@dataclass
class VersionCut:
    """A model version falls due here: after the event `last` (time, source, id), with this content.

    The step decides where (every N labels, or seconds of event time), so that a replay cuts at the same event.
    """

    model: str
    number: int
    last: tuple[int, str, str]
    content: ModelContent
    metrics: dict[str, float]


@dataclass
class Effects(Generic[S]):
    """What a step did, as data. `wake_at` is the earliest deadline in the state, or None."""

    state: S
    emit: list[Rows] = field(default_factory=list)
    wake_at: int | None = None
    dead: list[DeadRow] = field(default_factory=list)
    versions: list[VersionCut] = field(default_factory=list)


Step = Callable[[S, Batch], Effects[S]]


@dataclass(frozen=True)
class Live(Generic[S]):
    """What of a job's state serving follows between versions.

    `models` gives the present content of each model by name; the engine publishes what changed since the last commit
    on `deltas.<model>`. `tables` gives the feature tables by name: each maps a row key to plain values; the engine
    publishes changed rows on `features.<job>`. Both are asked after every commit, so they must be cheap.
    """

    models: Callable[[S], Mapping[str, ModelContent]] = lambda state: {}
    tables: Callable[[S], Mapping[str, Table]] = lambda state: {}


class Table(Protocol):
    """Rows of values by key that know what changed; `streams.table` has one."""

    def changes(self) -> int:
        """The number of the newest change; 0 before the first."""
        ...

    def changed(self, since: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """The rows changed after change number `since`, with their present values."""
        ...


@dataclass(frozen=True, kw_only=True)
class Job(Generic[S]):
    """A streaming job. `groups` key groups, each with a state made by `init()`; 1 is one global state.

    `state` is the type of the state: msgspec Structs, numpy arrays and plain containers, so that a snapshot is plain
    data. `version` is raised when the state's meaning changes. `needs` adds to what the definition implies
    (`needs_of`). `commit_every` is seconds of wall clock between commits at most. `max_event_bytes` refuses larger
    single events as too large. `endpoint`, where given, is how `tidemill serve` answers for this job's model.
    `warm` compiles or loads what the step needs; an engine calls it before it says that the job runs.
    `exact_merge` says, of a job that learns one model, whether its learner's merge is exact; None where it learns none.
    `cannot_save`, where not empty, says why a state cannot be saved: an engine then keeps none, and rebuilds it after a
    restart by replaying all of the job's input.
    `versions_after(state, number)` tells a new state that versions up to `number` are there, from an earlier life of
    the job: the first to cut is `number` + 1.
    """

    name: str
    reads: tuple[Input, ...]
    step: Step[S]
    init: Callable[[], S]
    state: type[S]
    writes: tuple[Output, ...] = ()
    groups: int = 1
    order: Order = field(default_factory=EventTime)
    live: Live[S] = field(default_factory=Live)
    needs: frozenset[str] = frozenset()
    version: int = 1
    commit_every: float = 0.5
    max_event_bytes: int = 1024 * 1024
    endpoint: Endpoint | None = None
    warm: Callable[[], object] = lambda: None
    exact_merge: bool | None = None
    versions_after: Callable[[S, int], object] = lambda state, number: None
    cannot_save: str = ""

    def __post_init__(self) -> None:
        check_name(self.name, "job")
        where = f"job {self.name}"
        if not self.reads:
            raise SubmissionError("reads nothing", where=where, wanted="at least one Input")
        if not 1 <= self.groups <= 1 << 15:
            raise SubmissionError("groups out of range", where=where, wanted="1 to 32768", got=str(self.groups))
        for what, names in (
            ("stream is read", [i.stream for i in self.reads]),
            ("output is named", [o.name for o in self.writes]),
        ):
            if len(set(names)) != len(names):
                raise SubmissionError(f"a {what} twice", where=where, got=", ".join(names))


def stays_single(job: Job[Any]) -> bool:
    """Whether `job` runs at parallelism 1 on every engine: it learns one model, whose parts could not be merged."""
    return job.groups == 1 and job.exact_merge is False


NEEDS: dict[str, str] = {
    "event_time": "steps events in order of event time",
    "timers": "wakes a job at a time in event time",
    "arrival_order": "records the order of arrival and repeats it in a replay",
    "exactly_once": "outputs, offsets and progress commit together",
    "history": "begins on files and goes on in Kafka",
    "versions": "publishes model versions",
    "rescale": "changes how many machines work a job, and its answer stays",
    "deltas": "publishes changed parameters and features at every commit",
    "replay": "rebuilds a state that cannot be saved by replaying the job's input",
}
"""What a job can need of an engine, and an engine provide."""


def needs_of(job: Job[Any]) -> frozenset[str]:
    """Everything `job` needs: what it says and what its definition implies."""
    implied = {"arrival_order" if isinstance(job.order, Arrival) else "event_time"}
    if any(i.history for i in job.reads):
        implied.add("history")
    if job.cannot_save:
        implied.add("replay")
    return job.needs | implied


class InputEvent(msgspec.Struct, frozen=True):
    """One event, as a one-event step sees it. A null float in `data` is None."""

    stream: str
    id: str
    source: str
    time: int
    data: dict[str, Any]
    place: Place


def events_of(batch: Batch) -> Iterator[InputEvent]:
    """The events of a batch one by one, in its order."""
    iterators = {
        stream: zip(b.ids.tolist(), b.sources.tolist(), b.time.tolist(), b.rows(), b.places(), strict=True)
        for stream, b in batch.blocks.items()
    }
    for kind in batch.kind.tolist():
        stream = batch.streams[kind]
        yield InputEvent(stream, *next(iterators[stream]))


class Deadlines(msgspec.Struct):
    """Deadlines as part of a state: served in order of (time, order of setting)."""

    heap: list[tuple[int, int, Any]] = []
    count: int = 0

    def set(self, time: int, item: Any) -> None:
        self.count += 1
        heapq.heappush(self.heap, (time, self.count, item))

    def due(self, time: int) -> Iterator[tuple[int, Any]]:
        """Take out the deadlines ≤ `time` one by one, also those set while serving."""
        while self.heap and self.heap[0][0] <= time:
            at, _, item = heapq.heappop(self.heap)
            yield at, item

    def next(self) -> int | None:
        return self.heap[0][0] if self.heap else None


class Out:
    """Where a one-event function puts what it emits."""

    def __init__(self) -> None:
        self._runs: dict[str, list[tuple[tuple[str, ...], list[tuple[int, str, dict[str, Any]]]]]] = {}
        self.dead: list[DeadRow] = []

    def emit(self, output: str, id: str, time: int, **values: Any) -> None:
        """One row to `output`. Rows of one output should have the same fields throughout a job."""
        runs = self._runs.setdefault(output, [])
        names = tuple(values)
        if not runs or runs[-1][0] != names:
            runs.append((names, []))
        runs[-1][1].append((time, id, values))

    def refuse(self, event: InputEvent, error: BadEvent) -> None:
        """The event goes to the dead-letter topic."""
        self.dead.append(DeadRow(event.place, error))

    def rows(self) -> list[Rows]:
        out = []
        for output, runs in self._runs.items():
            for names, rows in runs:
                columns = {name: [row[2][name] for row in rows] for name in names}
                out.append(Rows(output, np.array([r[0] for r in rows], np.int64), [r[1] for r in rows], columns))
        return out


def per_event(
    on_event: Callable[[S, InputEvent, Out], None],
    *,
    on_deadline: Callable[[S, int, Any, Out], None] | None = None,
    deadlines: Callable[[S], Deadlines] | None = None,
) -> Step[S]:
    """The step of a function of one event, which changes the state in place and emits through `out`.

    `deadlines` finds the `Deadlines` within the state; `on_deadline(state, time, item, out)` serves one.
    """

    def serve(state: S, time: int, out: Out) -> None:
        if deadlines is not None and on_deadline is not None:
            for at, item in deadlines(state).due(time):
                on_deadline(state, at, item, out)

    def step(state: S, batch: Batch) -> Effects[S]:
        out = Out()
        for event in events_of(batch):
            serve(state, event.time, out)
            on_event(state, event, out)
        if batch.wake is not None:
            serve(state, batch.wake, out)
        return Effects(state, out.rows(), deadlines(state).next() if deadlines else None, out.dead)

    return step

"""The join of two streams: events of one key whose times lie within an interval of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from streams.recipe import job_of
from tidemill.errors import SubmissionError
from tidemill.job import Deadlines, Input, InputEvent, Job, Out, Output, per_event
from tidemill.order import EventTime, Order
from tidemill.stream import Field, StreamSpec
from tidemill.time import SECOND

JOINED = "joined"
LEFT, RIGHT = 0, 1


class Waits(msgspec.Struct, array_like=True):
    """An event that may still meet others: its id and time, what is kept of it, and whether it has met any."""

    id: str
    time: int
    values: list[Any]
    met: bool = False


class State(msgspec.Struct):
    """By side and key, the events that may still meet others, oldest first; and until when each may."""

    waiting: tuple[dict[str, list[Waits]], dict[str, list[Waits]]] = msgspec.field(default_factory=lambda: ({}, {}))
    due: Deadlines = msgspec.field(default_factory=Deadlines)


@dataclass(frozen=True, kw_only=True)
class IntervalJoin:
    """A job that pairs events of streams `left` and `right` of equal keys, where

    $$ t_{left} - before \\le t_{right} \\le t_{left} + after \\qquad \\text{(seconds)}. $$

    `left_key` and `right_key` name the fields that hold the key. A row holds `key`, `left` and `right` (the events'
    ids, null for none), and the fields of `left_fields` and `right_fields`, by the names they are given there (a
    sequence keeps their own). Each pair is one row, at the later of the two times. With `keep="left"` or `"both"`,
    an event that met no other by the end of its interval is a row of its own, just after that end; one without a key
    meets none and is a row at once.

    What is kept are the events whose interval is not over: memory goes by the rate of events and the interval. Rows
    go to `topic` (default `data.<name>`), with ids `<left id>+<right id>`; an event of another source than its stream's
    own is named with it. `spec` declares them as a stream, for another job to read. Order must be `EventTime`.

    Raises `SubmissionError` where the settings do not fit together.
    """

    name: str
    left: str
    right: str
    left_key: str
    right_key: str
    before: float
    after: float
    left_fields: Sequence[str] | Mapping[str, str] = ()
    right_fields: Sequence[str] | Mapping[str, str] = ()
    keep: Literal["pairs", "left", "both"] = "pairs"
    groups: int = 1
    topic: str = ""
    order: Order = field(default_factory=EventTime)

    def job(self) -> Job[State]:
        """The job. Raises `SubmissionError` where the settings do not fit together."""
        self._check()
        before, after = round(self.before * SECOND), round(self.after * SECOND)
        spans, sides = (after, before), {self.left: LEFT, self.right: RIGHT}
        keys = (self.left_key, self.right_key)
        fields = tuple(_named(names) for names in (self.left_fields, self.right_fields))
        kept = (self.keep != "pairs", self.keep == "both")

        def emit(out: Out, time: int, key: str | None, pair: tuple[Waits | None, Waits | None]) -> None:
            ids = ["" if event is None else event.id for event in pair]
            values: dict[str, Any] = {"key": key, "left": ids[LEFT] or None, "right": ids[RIGHT] or None}
            for names, event in zip(fields, pair, strict=True):
                values.update(zip(names.values(), [None] * len(names) if event is None else event.values, strict=True))
            out.emit(JOINED, "+".join(ids), time, **values)

        def alone(out: Out, time: int, key: str | None, side: int, event: Waits) -> None:
            if kept[side]:
                emit(out, time, key, (event, None) if side == LEFT else (None, event))

        def on_event(state: State, event: InputEvent, out: Out) -> None:
            side, time = sides[event.stream], event.time
            id = event.id if event.source == f"/streams/{event.stream}" else f"{event.source}/{event.id}"
            mine = Waits(id, time, [event.data[name] for name in fields[side]])
            if event.data[keys[side]] is None:
                alone(out, time, None, side, mine)
                return
            key = str(event.data[keys[side]])
            # Whose interval is over has been served already: all that wait are met.
            for other in state.waiting[1 - side].get(key, ()):
                mine.met = other.met = True
                emit(out, time, key, (mine, other) if side == LEFT else (other, mine))
            state.waiting[side].setdefault(key, []).append(mine)
            state.due.set(time + spans[side] + 1, [side, key])

        def on_deadline(state: State, time: int, item: Any, out: Out) -> None:
            side, key = item
            queue = state.waiting[side][key]
            event = queue.pop(0)  # of one side and key, the oldest is due first
            if not queue:
                del state.waiting[side][key]
            if not event.met:
                alone(out, time, key, side, event)

        return Job(
            name=self.name,
            reads=(Input(self.left, key=self.left_key), Input(self.right, key=self.right_key)),
            step=per_event(on_event, on_deadline=on_deadline, deadlines=lambda state: state.due),
            init=State,
            state=State,
            writes=(Output(JOINED, self.topic or f"data.{self.name}", key="key"),),
            groups=self.groups,
            order=self.order,
            needs=frozenset({"timers"}),
        )

    def spec(self, streams: Mapping[str, StreamSpec], *, key: str = "key") -> StreamSpec:
        """The declaration of the rows, as stream `<name>` keyed by `key`, from those of both streams."""
        fields = [Field("id", "string"), Field("time", "time")]
        fields += [Field(name, "string", nullable=True) for name in ("key", "left", "right")]
        for stream, names in ((self.left, self.left_fields), (self.right, self.right_fields)):
            for name, called in _named(names).items():
                fields.append(Field(called, streams[stream].field(name).type, nullable=True))
        topic = self.topic or f"data.{self.name}"
        return StreamSpec(name=self.name, topic=topic, fields=tuple(fields), id="id", time="time", key=key)

    def _check(self) -> None:
        def refuse(message: str, got: str = "", wanted: str = "") -> None:
            raise SubmissionError(message, where=f"job {self.name}", got=got, wanted=wanted)

        if not isinstance(self.order, EventTime):
            refuse("a join waits in event time", repr(self.order), "EventTime")
        if self.left == self.right:
            refuse("a stream is joined with itself", self.left)
        if min(self.before, self.after) < 0:
            refuse("an interval cannot be negative", f"before {self.before}, after {self.after}", "seconds ≥ 0")
        if self.keep not in ("pairs", "left", "both"):
            refuse("unknown choice of what to keep", self.keep, "pairs, left or both")
        called = [*_named(self.left_fields).values(), *_named(self.right_fields).values()]
        if len({*called, "id", "time", "key", "left", "right"}) != len(called) + 5:
            refuse("columns are named alike", ", ".join(called), "names other than id, time, key, left and right")


def _named(names: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    return dict(names) if isinstance(names, Mapping) else {name: name for name in names}


interval_join = job_of(IntervalJoin)
"""The job of an `IntervalJoin` with the settings given."""

"""Jobs and inputs that are hard on engines: what `tidemill.checks.engines` runs."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.errors import WrongTypeError
from tidemill.events import TimeAdvanced
from tidemill.job import Deadlines, Input, InputEvent, Job, Out, Output, per_event
from tidemill.log import Headers, Log
from tidemill.order import Arrival, EventTime, Order
from tidemill.stream import Field, StreamSpec
from tidemill.time import DAY


class Witness(msgspec.Struct):
    """A state that remembers everything: a count, and a hash over all it saw, in order."""

    n: int = 0
    chain: str = ""
    due: Deadlines = msgspec.field(default_factory=Deadlines)
    keys: dict[str, int] = {}


class Fleeting(Witness):
    """The same, and something that no snapshot can hold."""

    lock: Any = msgspec.field(default_factory=threading.Lock)


def _saw(state: Witness, *what: Any) -> None:
    state.n += 1
    state.chain = hashlib.sha256(f"{state.chain}{what}".encode()).hexdigest()[:16]


def _on_event(state: Witness, event: InputEvent, out: Out) -> None:
    key = event.data["key"]
    if event.data["note"] == "refuse":
        out.refuse(event, WrongTypeError("asked to be refused", field="note"))
        return
    _saw(state, event.stream, event.id, event.source, event.time, key, event.data["value"])
    state.keys[key] = state.keys.get(key, 0) + 1
    # Deadlines are set to whole tens, so that many fall on one time, and on times of events.
    state.due.set((event.time // 10 + 2) * 10, key)
    out.emit("seen", f"{event.stream}/{event.id}/{event.time}", event.time, key=key, n=state.n, chain=state.chain)


def _on_deadline(state: Witness, time: int, key: str, out: Out) -> None:
    _saw(state, "due", time, key)
    if state.keys.get(key, 0) <= 1:
        state.keys.pop(key, None)
    else:
        state.keys[key] -= 1
    out.emit("due", f"due/{state.n}/{state.chain}", time, key=key, n=state.n, chain=state.chain)


def stream(name: str, partitions: int) -> StreamSpec:
    """A declared stream of the suite's own."""
    return StreamSpec(
        name=name,
        fields=(
            Field("id", "string"),
            Field("at", "time"),
            Field("key", "string"),
            Field("value", "float"),
            Field("note", "string", nullable=True),
        ),
        id="id",
        time="at",
        key="key",
        time_unit="us",
        partitions=partitions,
    )


def witness(name: str, streams: Sequence[str], groups: int, order: Order) -> Job[Witness]:
    """A job that shows in every row all that it saw before, by group."""
    return Job(
        name=name,
        reads=tuple(Input(s) for s in streams),
        step=per_event(_on_event, on_deadline=_on_deadline, deadlines=lambda state: state.due),
        init=Witness,
        state=Witness,
        writes=(Output("seen", f"data.{name}-seen", key="key"), Output("due", f"data.{name}-due", key="key")),
        groups=groups,
        order=order,
        commit_every=0.01,
        max_event_bytes=10_000,
    )


_FAR = 129 * 365 * DAY

Sending = tuple[str, int, bytes | None, Headers]
"""Topic, partition, value, headers."""


@dataclass(frozen=True)
class Scenario:
    """A job, its streams, and what lies in the log, in the order written. With `idle`, a partition stays silent and
    the engine has to move it."""

    name: str
    job: Job[Any]
    streams: Mapping[str, StreamSpec]
    sendings: Sequence[Sending] = field(repr=False, default=())
    idle: bool = False


def advanced(topic: str, partition: int, time: int, promise: bool) -> Sending:
    """A `time.advanced.v1` record."""
    event = TimeAdvanced(id=f"{topic}/{partition}/{time}", time=time, source="/checks", promise=promise)
    return topic, partition, events.encode(event), headers_of(event)


def adversarial(
    specs: Sequence[StreamSpec], n: int, lateness: int, seed: int, *, closed: bool = True, bad: bool = True
) -> list[Sending]:
    """`n` events: ties, disorder within and beyond `lateness`, duplicates, keys that come and vanish, early ones, first
    ones and clocks from a far future, and every kind of unusable record; then, with `closed`, a promise in every
    partition."""
    rng = random.Random(seed)
    out: list[Sending] = _from_the_future(specs[0]) if bad else []
    now = 1_000_000
    sent: list[Sending] = []
    for i in range(n):
        spec = rng.choice(specs)
        partition = rng.randrange(spec.partitions)
        now += rng.choice((0, 0, 1, 3, 7))
        row = {
            "id": f"{spec.name}-{i}",
            "at": now - rng.randrange(0, max(1, int(lateness * (1.3 if rng.random() < 0.1 else 1.0)))),
            "key": f"k{rng.randrange(6)}" if rng.random() < 0.7 else f"once{i // 5}",
            "value": round(rng.random(), 3),
            "note": "refuse" if bad and rng.random() < 0.02 else None,
        }
        sending: Sending = (spec.topic, partition, msgspec.json.encode(row), ())
        draw = rng.random() if i > 20 else 1.0
        if draw < 0.05 and sent:
            sending = rng.choice(sent[-20:])
        elif bad and draw < 0.07:
            row["at"] = now + 365 * DAY
            sending = (spec.topic, partition, msgspec.json.encode(row), ())
        elif bad and draw < 0.12:
            sending = (spec.topic, partition, rng.choice(_poison(row)), ())
        elif draw < 0.14:
            sending = advanced(spec.topic, partition, now, promise=False)
        out.append(sending)
        sent.append(sending)
    if closed:
        end = now + 1000
        out += [advanced(spec.topic, p, end, promise=True) for spec in specs for p in range(spec.partitions)]
    return out


def _from_the_future(spec: StreamSpec) -> list[Sending]:
    """What would make all that follows late: the first event of a partition, and its clock, set to the year 2099."""
    row = {"id": "far", "at": _FAR, "key": "far", "value": 0.0, "note": None}
    first: list[Sending] = [(spec.topic, 0, msgspec.json.encode(row | {"id": f"far-{i}"}), ()) for i in range(2)]
    return [*first, advanced(spec.topic, 0, _FAR, promise=False), advanced(spec.topic, 0, _FAR, promise=True)]


def _poison(row: dict[str, Any]) -> list[bytes | None]:
    return [
        None,
        b"",
        b"{",
        b'{"id": "\xff"}',
        b"[1, 2]",
        msgspec.json.encode(row | {"value": "far"}),
        msgspec.json.encode(row | {"note": "x" * 20_000}),
        msgspec.json.encode({k: v for k, v in row.items() if k != "key"}),
        msgspec.json.encode(row)[:-1] + b', "value": NaN}',
        b"[" * 5_000,
    ]


def scenarios(arrival: bool = False) -> list[Scenario]:
    """Every scenario, under order `event_time` or `arrival`."""
    out = []

    def add(name: str, specs: Sequence[StreamSpec], groups: int, lateness: int, sendings: Sequence[Sending]) -> None:
        order: Order = EventTime(lateness=lateness, idle_after=0.15) if "idle" in name else EventTime(lateness=lateness)
        if arrival:
            order, name = Arrival(dedupe=50), f"{name}-arrival"
        job = witness(name, [s.name for s in specs], groups, order)
        if "fleeting" in name:
            job = replace(job, init=Fleeting, state=Fleeting, cannot_save="it holds a lock")
        out.append(Scenario(name, job, {s.name: s for s in specs}, sendings, "idle" in name))

    one, three, other = stream("ones", 1), stream("threes", 3), stream("others", 2)
    add("one-partition", [one], 1, 0, adversarial([one], 400, 1, 1))
    add("lateness", [one], 2, 40, adversarial([one], 400, 60, 2))
    add("partitions-and-groups", [three], 5, 30, adversarial([three], 500, 40, 3))
    add("two-streams", [three, other], 4, 25, adversarial([three, other], 600, 30, 4))
    add("clean", [three], 3, 10, adversarial([three], 300, 8, 5, bad=False))
    add("fleeting", [three], 2, 30, adversarial([three], 400, 40, 8))
    if not arrival:
        half = [s for s in adversarial([three], 300, 8, 6, closed=False) if s[1] != 2]
        add("idle-partition", [three], 3, 10, half)
    return out


def large(n: int = 8_000) -> Scenario:
    """One stream, clean enough for big blocks."""
    spec = stream("many", 2)
    job = witness("large", ["many"], 3, EventTime(lateness=50))
    return Scenario("large", job, {"many": spec}, adversarial([spec], n, 40, 7))


def publish(log: Log, scenario: Scenario, first: int = 0, stop: int | None = None) -> None:
    """Write the scenario's records into a log, or those from `first` to `stop`."""
    for spec in scenario.streams.values():
        log.create(spec.topic, spec.topic_spec())
    writer = log.writer()
    for topic, partition, value, headers in scenario.sendings[first:stop]:
        writer.send(topic, value, headers=headers, partition=partition)
    writer.flush()
    writer.close()

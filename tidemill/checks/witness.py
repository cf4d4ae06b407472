"""Jobs that show in every row what their state saw before, so that no difference goes unseen."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from tidemill.errors import WrongTypeError
from tidemill.job import Deadlines, Input, InputEvent, Job, Out, Output, Step, per_event
from tidemill.order import Order


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
    key = str(event.data["key"])
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


def _on_event_many(state: Witness, event: InputEvent, out: Out) -> None:
    key = str(event.data["key"])
    _saw(state, event.id, event.time, key)
    for what in ("a", "b"):
        state.due.set(event.time + 10, f"{what} {key}")
    state.due.set(event.time, f"now {key}")
    out.emit("seen", event.id, event.time, key=key, n=state.n, chain=state.chain)


def _on_deadline_many(state: Witness, time: int, item: str, out: Out) -> None:
    what, _, key = item.partition(" ")
    _saw(state, "due", time, item)
    if what == "a":
        state.due.set(time, f"c {key}")
    elif what == "b":
        state.due.set(time + 10, f"d {key}")
    out.emit("due", f"due/{state.n}/{state.chain}", time, key=key, n=state.n, chain=state.chain)


class Forgetful(msgspec.Struct):
    """How often each key came of late; once all is forgotten, a state like a new one."""

    keys: dict[str, int] = {}
    due: Deadlines = msgspec.field(default_factory=Deadlines)


def _on_event_forget(state: Forgetful, event: InputEvent, out: Out) -> None:
    key = str(event.data["key"])
    state.keys[key] = state.keys.get(key, 0) + 1
    state.due.set(event.time + 40, key)
    out.emit("seen", event.id, event.time, key=key, n=state.keys[key], chain="")


def _on_deadline_forget(state: Forgetful, time: int, key: str, out: Out) -> None:
    state.keys[key] -= 1
    if not state.keys[key]:
        del state.keys[key]
        out.emit("due", f"gone/{key}/{time}", time, key=key, n=len(state.keys), chain="")
    if not state.due.heap:
        state.due.count = 0


def _job(name: str, streams: Sequence[str], groups: int, order: Order, step: Step[Any], state: type[Any]) -> Job[Any]:
    return Job(
        name=name,
        reads=tuple(Input(s) for s in streams),
        step=step,
        init=state,
        state=state,
        writes=(Output("seen", f"data.{name}-seen", key="key"), Output("due", f"data.{name}-due", key="key")),
        groups=groups,
        order=order,
        commit_every=0.01,
        max_event_bytes=10_000,
    )


def witness(name: str, streams: Sequence[str], groups: int, order: Order) -> Job[Witness]:
    """A job that shows in every row all that it saw before, by group."""
    step = per_event(_on_event, on_deadline=_on_deadline, deadlines=lambda state: state.due)
    return _job(name, streams, groups, order, step, Witness)


def unsavable(name: str, streams: Sequence[str], groups: int, order: Order) -> Job[Any]:
    """The same with a state that cannot be saved."""
    return replace(witness(name, streams, groups, order), init=Fleeting, state=Fleeting, cannot_save="it holds a lock")


def timekeeper(name: str, streams: Sequence[str], groups: int, order: Order) -> Job[Witness]:
    """A witness with several deadlines for each event: two at one time, one at its own, and others, at that time and
    later, that are set while these are served."""
    step = per_event(_on_event_many, on_deadline=_on_deadline_many, deadlines=lambda state: state.due)
    return _job(name, streams, groups, order, step, Witness)


def forgetful(name: str, streams: Sequence[str], groups: int, order: Order) -> Job[Forgetful]:
    """A job that forgets a key 40 µs after its last event, and tells."""
    step = per_event(_on_event_forget, on_deadline=_on_deadline_forget, deadlines=lambda state: state.due)
    return _job(name, streams, groups, order, step, Forgetful)

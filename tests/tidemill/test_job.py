"""Jobs as definitions, and steps made of one-event functions."""

import msgspec
import numpy as np
import pytest

from tidemill.block import Block, column
from tidemill.errors import DeclarationError, OrphanError, SubmissionError
from tidemill.job import (
    NEEDS,
    Deadlines,
    Effects,
    Input,
    Job,
    Out,
    Output,
    events_of,
    needs_of,
    per_event,
)
from tidemill.order import Arrival, Batch
from tidemill.state import decode, encode


def make(**changes) -> Job:
    settings = {"name": "j", "reads": (Input("s"),), "step": lambda s, b: Effects(s), "init": dict, "state": dict}
    return Job(**(settings | changes))


def block(stream: str, times: list[int]) -> Block:
    n = len(times)
    return Block(
        stream,
        f"data.{stream}",
        np.array(times, np.int64),
        column([f"{stream}{t}" for t in times], np.object_),
        column([f"/{stream}"] * n, np.object_),
        np.zeros(n, np.int32),
        np.arange(n, dtype=np.int64),
        np.zeros(n, np.int32),
        {f"of_{stream}": np.array(times, np.int64)},
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "Not A Name"}, DeclarationError, "job name cannot be used"),
        ({"reads": ()}, SubmissionError, "reads nothing"),
        ({"groups": 0}, SubmissionError, "groups out of range"),
        ({"groups": 40_000}, SubmissionError, "groups out of range"),
        ({"reads": (Input("s"), Input("s"))}, SubmissionError, "stream is read twice"),
        ({"writes": (Output("o", "a"), Output("o", "b"))}, SubmissionError, "output is named twice"),
    ],
)
def test_what_cannot_be_a_job(changes, error, message):
    with pytest.raises(error, match=message):
        make(**changes)


def test_needs_follow_from_the_definition():
    assert needs_of(make()) == {"event_time"}
    assert needs_of(make(order=Arrival())) == {"arrival_order"}
    assert needs_of(make(reads=(Input("s", history="x.csv"),), needs=frozenset({"deltas"}))) == {
        "event_time",
        "history",
        "deltas",
    }
    assert needs_of(make(order=Arrival())) <= NEEDS.keys()


def test_events_come_in_the_batches_order_with_their_own_payload():
    batch = Batch.sort([block("a", [1, 4, 5]), block("b", [2, 3, 6])])
    seen = list(events_of(batch))
    assert [e.time for e in seen] == [1, 2, 3, 4, 5, 6]
    assert [e.stream for e in seen] == ["a", "b", "b", "a", "a", "b"]
    for event in seen:
        assert event.data == {f"of_{event.stream}": event.time}
        assert event.id == f"{event.stream}{event.time}"
        assert batch.blocks[event.stream].offset[event.place.offset] == event.place.offset


class Bell(msgspec.Struct):
    """Rings 10 after each event."""

    deadlines: Deadlines = msgspec.field(default_factory=Deadlines)
    log: list[str] = []


def bell_step():
    def on_event(state: Bell, event, out: Out) -> None:
        state.log.append(f"event {event.time}")
        state.deadlines.set(event.time + 10, event.time)
        if event.time == 13:
            out.refuse(event, OrphanError("no"))
        out.emit("o", event.id, event.time, value=event.time)

    def on_deadline(state: Bell, time: int, item: int, out: Out) -> None:
        state.log.append(f"ring {time} for {item}")
        if item == 1:
            state.deadlines.set(time, 99)

    return per_event(on_event, on_deadline=on_deadline, deadlines=lambda s: s.deadlines)


def test_deadlines_are_served_before_the_event_at_their_time_and_at_wakes():
    effects = bell_step()(Bell(), Batch.sort([block("s", [1, 11, 13])], wake=22))
    assert effects.state.log == ["event 1", "ring 11 for 1", "ring 11 for 99", "event 11", "event 13", "ring 21 for 11"]
    assert effects.wake_at == 23
    (rows,) = effects.emit
    assert (rows.output, list(rows.ids), list(rows.columns["value"])) == ("o", ["s1", "s11", "s13"], [1, 11, 13])
    assert [d.place.offset for d in effects.dead] == [2]


def test_deadlines_of_one_time_keep_the_order_of_setting_through_a_snapshot():
    deadlines = Deadlines()
    for item in ("b", "a", {"not": "comparable"}):
        deadlines.set(5, item)
    deadlines = decode(encode(deadlines), Deadlines)
    assert [item for _, item in deadlines.due(5)] == ["b", "a", {"not": "comparable"}]
    assert deadlines.next() is None


def test_rows_of_different_shape_stay_apart():
    out = Out()
    out.emit("o", "1", 1, a=1)
    out.emit("o", "2", 2, b=2)
    out.emit("p", "3", 3, a=3)
    assert [(r.output, list(r.ids), dict(r.columns)) for r in out.rows()] == [
        ("o", ["1"], {"a": [1]}),
        ("o", ["2"], {"b": [2]}),
        ("p", ["3"], {"a": [3]}),
    ]

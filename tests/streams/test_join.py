"""As-of observations, and predictions that wait, in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from streams.join import ENTRY_BYTES, Entry, Latest, Waiting
from tidemill.state import decode, encode

WEATHER = Latest("weather", "weather", ("origin",), ("temp", "rain"))


def test_the_newest_observation_stands_and_an_older_one_never_replaces_it() -> None:
    table = WEATHER.table()
    WEATHER.observe(table, 100, {"origin": "JFK", "temp": 1.0, "rain": None, "more": 5})
    assert table.get("JFK") == {"temp": 1.0, "rain": None, "time": 100}
    WEATHER.observe(table, 50, {"origin": "JFK", "temp": 9.0, "rain": 9.0})
    WEATHER.observe(table, 100, {"origin": "EWR", "temp": 3.0, "rain": 0.0})
    WEATHER.observe(table, 100, {"origin": None, "temp": 3.0, "rain": 0.0})
    assert table.get("JFK") == {"temp": 1.0, "rain": None, "time": 100} and len(table) == 2
    WEATHER.observe(table, 100, {"origin": "JFK", "temp": 2.0, "rain": 0.5})
    assert table.get("JFK") == {"temp": 2.0, "rain": 0.5, "time": 100}


def entry(i: int, since: int | None = None) -> Entry:
    return Entry(f"e{i}", i, i if since is None else since, "0", ("a",))


def test_queues_give_back_the_oldest_first_whatever_left_between() -> None:
    waiting = Waiting.of(1)
    slots = [waiting.add(entry(i)) for i in range(6)]
    waiting.remove(slots[2])
    waiting.settle(slots[0], 1.0, clock=9, keep=True)
    waiting.settle(slots[4], 0.0, clock=9, keep=False)
    assert (waiting.waiting, waiting.settled, waiting.since(False), waiting.since(True)) == (3, 1, 1, 9)
    again = decode(encode(waiting), Waiting)
    for held in (waiting, again):
        assert [e.id for e in held.expire(13, 10, 100)] == ["e1", "e3"]
        assert [e.id for e in held.expire(108, 1_000, 100)] == []
        assert [e.id for e in held.expire(109, 104, 100)] == ["e5", "e0"]
        assert held.slots == {} and (held.waiting, held.settled) == (0, 0)
    assert encode(again) == encode(waiting)


def test_slots_are_freed_in_the_order_of_deadlines_however_often_one_asks() -> None:
    def held() -> Waiting:
        waiting = Waiting.of(1)
        for i in range(10):
            waiting.add(entry(i))
        for i in range(0, 10, 2):
            waiting.settle(waiting.slots[f"e{i}"], 1.0, clock=i + 3, keep=True)
        return waiting

    at_once, often = held(), held()
    list(at_once.expire(100, 5, 7))
    for time in range(100):
        list(often.expire(time, 5, 7))
    assert encode(often) == encode(at_once) and often.free == at_once.free


@pytest.mark.parametrize("seed", range(3))
def test_against_a_plain_list(seed: int) -> None:
    """The linked queues and reused slots against the obvious list of what waits."""
    rng = np.random.default_rng(seed)
    waiting, model = Waiting.of(1), []
    for i in range(2_000):
        what = rng.random()
        if what < 0.5 or not model:
            slot = waiting.add(entry(i))
            waiting.fill(np.array([slot]), np.array([[float(i)]]), np.array([i / 10]))
            model.append(i)
        elif what < 0.9:
            gone = model.pop(int(rng.integers(len(model))))
            slot = waiting.slots[f"e{gone}"]
            assert waiting.X[slot, 0] == gone and waiting.score[slot] == gone / 10
            waiting.settle(slot, 1.0, i, keep=False)
        else:
            limit = model[0] + int(rng.integers(0, 20))
            assert [e.time for e in waiting.expire(limit, 0, 0)] == [m for m in model if m <= limit]
            model = [m for m in model if m > limit]
        assert waiting.waiting == len(model) and waiting.since(False) == (model[0] if model else None)


def test_memory_is_bounded_by_what_waited_at_once_and_measured() -> None:
    width, most = 30, 2_000
    tracemalloc.start()
    waiting = Waiting.of(width)
    for i in range(10 * most):
        slot = waiting.add(Entry(f"2013-01-01-UA-{i:07d}-EWR-0515", i, i, "12", (f"carrier{i}", f"route{i}", None)))
        waiting.fill(np.array([slot]), np.zeros((1, width)), np.zeros(1))
        if waiting.waiting > most:
            first = waiting.oldest()
            assert first is not None
            waiting.remove(first)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(waiting.entries) <= most + 3
    assert used <= waiting.nbytes() <= 1.6 * used
    assert waiting.nbytes() == waiting.X.nbytes + waiting.score.nbytes + ENTRY_BYTES * (len(waiting.entries) - 2)

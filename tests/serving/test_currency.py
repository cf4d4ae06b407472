"""The ends are asked for beside the follower; what was asked of other partitions says nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from connectors.memory import MemoryLog
from serving import currency
from serving.currency import Currency
from tests.serving.helpers import until
from tidemill.errors import UnavailableError
from tidemill.log import Partition, TopicSpec

A, B = Partition("a", 0), Partition("b", 0)


class Asked(MemoryLog):
    """A log that is asked for its ends, and may keep whoever asks waiting, or refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.answers.set()
        self.gave_up = False
        self.refuses: Exception | None = None
        self.asked: list[Partition] = []
        for at in (A, B):
            self.create(at.topic, TopicSpec())

    def end(self, partition: Partition) -> int:
        self.asked.append(partition)
        self.gave_up |= not self.answers.wait(20)
        if self.refuses is not None:
            raise self.refuses
        return super().end(partition)

    def grow(self, at: Partition) -> None:
        writer = self.writer()
        writer.send(at.topic, b"x")
        writer.flush()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setattr(currency, "_ASK_SECONDS", 0.01)
    return Asked()


@pytest.fixture
def started(log: Asked) -> Any:
    made = Currency(log)
    made.start()
    yield made
    log.answers.set()
    made.close()


def at(**offsets: int) -> Callable[[], dict[Partition, int]]:
    return lambda: {Partition(topic, 0): offset for topic, offset in offsets.items()}


def test_it_is_current_as_of_the_asking_once_all_ends_are_reached(log: Asked, started: Currency):
    log.grow(A)
    before = time.monotonic()
    started.watch((A, B))
    until(lambda: log.asked[-1:] == [B])
    assert started.reached(at(a=0, b=0)) is None
    asked = until(lambda: started.reached(at(a=1, b=0)))
    after = time.monotonic()
    assert before <= asked <= after
    assert until(lambda: started.reached(at(a=1, b=0))) > asked


def test_no_one_waits_for_an_answer(log: Asked, started: Currency):
    log.answers.clear()
    started.watch((A,))
    until(lambda: log.asked == [A])
    assert started.reached(at(a=9)) is None and not log.gave_up
    log.answers.set()
    assert until(lambda: started.reached(at(a=9)))


def test_what_was_asked_of_other_partitions_says_nothing(log: Asked, started: Currency):
    log.grow(B)
    log.answers.clear()
    started.watch((A,))
    until(lambda: log.asked == [A])
    started.watch((A, B))
    log.answers.set()
    early: list[float | None] = []
    until(lambda: early.append(started.reached(at(a=0, b=0))) or B in log.asked)
    assert not any(early)
    assert until(lambda: started.reached(at(a=0, b=1)))


@pytest.mark.parametrize("error", [UnavailableError("no broker"), ValueError("anything")])
def test_it_asks_again_after_a_failure(log: Asked, started: Currency, error: Exception):
    log.refuses = error
    started.watch((A,))
    until(lambda: len(log.asked) > 2)
    assert started.reached(at(a=9)) is None
    log.refuses = None
    assert until(lambda: started.reached(at(a=9)))

"""Pauses grow, have a bound, and begin anew after a good while; what stays unknown is raised."""

import pytest

from streams.engines import patience as module
from streams.engines.patience import Patience, wait
from tidemill.errors import NotFoundError, UnavailableError


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.random, "uniform", lambda low, high: high)
    return now


def test_pauses_double_to_a_bound_and_begin_anew(clock):
    patience, error = Patience(), UnavailableError("away")
    pauses = []
    for _ in range(8):
        pauses.append(patience.pause(error))
        clock[0] += pauses[-1] + 1
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    clock[0] += 31
    assert patience.pause(error) == 0.2


def test_what_is_unknown_is_given_its_time_only(clock):
    patience, error = Patience(unknown=60.0), NotFoundError("no such topic")
    start = clock[0]
    with pytest.raises(NotFoundError, match="no such topic"):
        while True:
            clock[0] += patience.pause(error)
    assert 60 <= clock[0] - start < 66


def test_an_outage_has_no_end(clock):
    patience = Patience(unknown=1.0)
    for _ in range(1000):
        clock[0] += patience.pause(UnavailableError("away"))


def test_waiting_ends_when_told_or_when_the_time_is_over(clock, monkeypatch):
    def sleep(seconds):
        assert 0 < seconds <= 0.05  # so soon a stop is noticed
        clock[0] += seconds

    monkeypatch.setattr(module.time, "sleep", sleep)
    asked = iter([False, False, True])
    wait(60.0, asked.__next__)
    assert list(asked) == [] and clock[0] < 101.0
    wait(60.0, lambda: False)
    assert 160.0 <= clock[0] < 161.1

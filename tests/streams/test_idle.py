"""Quiet partitions are moved on, and only as far as that releases something."""

import pytest

from streams.idle import Idle
from tidemill.log import Partition
from tidemill.order import PartitionClock
from tidemill.time import MIN_TIME

A, B = Partition("t", 0), Partition("t", 1)


@pytest.fixture
def idle():
    return Idle(2.0, 10, 0.0)


def test_a_quiet_partition_gets_the_largest_clock(idle):
    clocks = {A: PartitionClock(largest=500), B: PartitionClock(largest=100)}
    idle.heard(A, 9.0)
    assert idle.due(10.0, clocks, [A, B], True) == {B: 500}
    clocks[B].advance(500, False)
    assert idle.due(10.5, clocks, [A, B], True) == {}


def test_one_behind_its_end_is_not_quiet(idle):
    clocks = {A: PartitionClock(largest=500), B: PartitionClock(largest=100)}
    idle.heard(A, 9.0)
    assert idle.due(10.0, clocks, [A], True) == {}


def test_when_all_are_quiet_what_waits_is_released_once(idle):
    clocks = {A: PartitionClock(largest=500), B: PartitionClock(largest=100)}
    due = idle.due(10.0, clocks, [A, B], True)
    assert due == {A: 511, B: 511}
    for p, time in due.items():
        clocks[p].advance(time, False)
    assert min(c.floor(10) for c in clocks.values()) > 500
    assert idle.due(20.0, clocks, [A, B], False) == {}


def test_nothing_happens_before_the_first_event_or_too_soon(idle):
    assert idle.due(10.0, {A: PartitionClock()}, [A], True) == {}
    assert idle.due(1.0, {A: PartitionClock(largest=1)}, [A], True) == {}
    assert PartitionClock().largest == MIN_TIME

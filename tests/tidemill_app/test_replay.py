"""Data sets into topics: all of it, in event-time order, level streams, at the pace asked for."""

import numpy as np
import pyarrow as pa

from connectors.datasets.dataset import Dataset, DataStream
from connectors.memory import MemoryLog
from tidemill.decode import Advance, Decoder
from tidemill.log import Partition
from tidemill.stream import Field, StreamSpec
from tidemill.time import SECOND
from tidemill_app.publishing import Pace
from tidemill_app.replay import replay


def stream(name, times):
    spec = StreamSpec(
        name=name, fields=(Field("id", "string"), Field("at", "time"), Field("x", "float")), time="at", id="id"
    )
    table = pa.table({"id": [f"{name}{i}" for i in range(len(times))], "at": times, "x": [float(t) for t in times]})
    return DataStream(spec=spec, table=table)


def dataset(*streams):
    return Dataset(name="d", about="", streams=streams, features=("x",), targets=())


def read(log, made):
    """Times of the events in a stream's topic, and the promise at its end."""
    at = Partition(made.spec.topic, 0)
    reader = log.reader({at: 0})
    *blocks, last = Decoder(made.spec).decode(reader.poll(10_000, 0.1))
    assert isinstance(last, Advance) and last.promise
    return np.concatenate([b.time for b in blocks]).tolist(), last.time


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.time, self.slept = 100.0, []

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds
        self.slept.append(round(seconds, 6))


def test_all_of_it_in_order_and_level_at_the_end():
    log, a, b = MemoryLog(), stream("a", list(range(0, 5000, 2))), stream("b", [1, 3, 4999])
    for made in (a, b):
        log.create(made.spec.topic, made.spec.topic_spec())
    assert replay(log, dataset(a, b)) == 2503
    assert read(log, a) == (list(range(0, 5000, 2)), 5000)
    assert read(log, b) == ([1, 3, 4999], 5000)


def test_by_event_time_each_event_has_its_own_moment():
    log, made, clock = MemoryLog(), stream("a", [t * SECOND for t in (0, 60, 60, 90)]), Clock()
    log.create(made.spec.topic, made.spec.topic_spec())
    replay(log, dataset(made), pace=Pace(None, 60.0, now=clock.now, sleep=clock.sleep))
    assert clock.slept == [1.0, 0.5]
    assert len(read(log, made)[0]) == 4


def test_a_rate_holds_over_the_whole():
    log, made, clock = MemoryLog(), stream("a", list(range(3000))), Clock()
    log.create(made.spec.topic, made.spec.topic_spec())
    replay(log, dataset(made), pace=Pace(1000.0, now=clock.now, sleep=clock.sleep))
    assert 2.0 <= clock.time - 100.0 <= 3.0


def test_a_limit_keeps_what_the_others_said_until_then():
    log, a, b = MemoryLog(), stream("a", [0, 10, 20, 30]), stream("b", [5, 15, 25])
    for made in (a, b):
        log.create(made.spec.topic, made.spec.topic_spec())
    assert replay(log, dataset(a, b), limit=2) == 3
    assert read(log, b) == ([5], 11)

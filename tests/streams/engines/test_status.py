"""What a job tells: figures of its own, plain values only, errors until they are past, and not too often."""

import json

import pytest

from connectors.memory import MemoryLog
from streams.engines import status as module
from streams.engines.status import Status
from streams.pipeline import Pipeline, Source
from streams.sources import Sources
from tests.streams.engines.helpers import SPEC, make_job, publish, row
from tidemill.decode import Decoder
from tidemill.errors import UnavailableError
from tidemill.log import Partition

A, B = Partition(SPEC.topic, 0), Partition(SPEC.topic, 1)


class World:
    """A job that has read some of what there is."""

    def __init__(self):
        self.log, self.told = MemoryLog(), []
        publish(self.log, [row(i) for i in range(40)])
        all_ = [Source(A, "trips"), Source(B, "trips")]
        self.pipeline = Pipeline(make_job(), {"trips": SPEC}, all_)
        self.sources = Sources(all_, self.log, {}, {A: 0, B: 0})
        self.status = Status(make_job(), self.log, self.told.append)

    def read(self, count):
        for p, records in self.sources.poll(count, 0.01):
            self.pipeline.feed(p, Decoder(SPEC).decode(records), 1)
        self.pipeline.step()

    def tell(self, **more):
        self.status.tell(self.pipeline, self.sources, 7, **more)
        return self.told[-1]


@pytest.fixture
def world():
    return World()


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_lag_is_by_partition_and_the_one_that_holds_the_others_is_named(world):
    world.read(15)
    told = world.tell(force=True)
    assert told["lag"] == {"data.trips/0": 5, "data.trips/1": 20}
    assert (told["held_by"], told["watermark"], told["buffered"]) == ("data.trips/1", None, 15)
    assert told["records"] == 7 and told["memory"] > 1 << 20
    assert json.loads(json.dumps(told)) == told


def test_it_tells_once_a_second_and_the_rate_since(world, clock):
    world.status = Status(make_job(), world.log, world.told.append)
    clock[0] += 2
    world.tell()
    world.read(20)
    world.read(20)
    clock[0] += 0.9
    world.tell()
    assert len(world.told) == 1
    clock[0] += 0.1
    told = world.tell()
    assert told["stepped"] > 20 and told["events_per_second"] == pytest.approx(told["stepped"])
    world.tell(force=True)
    assert len(world.told) == 3


def test_an_error_is_shown_until_a_snapshot_is_kept_after_it(world):
    error = UnavailableError("no room", fix="Make some.")
    world.status.failed(error)
    world.status.waiting(0.5)
    assert (world.told[-1]["state"], world.told[-1]["retry_in"]) == ("waiting", 0.5)
    assert "Make some" in world.tell(force=True)["last_error"]
    world.status.checkpointed(5, 3)
    told = world.tell(force=True)
    assert (told["last_error"], told["last_checkpoint"], told["checkpoint_sequence"]) == ("", 5, 3)


def test_a_log_that_cannot_say_its_end_leaves_the_lag_open(world):
    def away(partition):
        raise UnavailableError("away")

    world.sources.end = away
    assert world.tell(force=True)["lag"] == {"data.trips/0": None, "data.trips/1": None}

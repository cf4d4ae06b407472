"""What a job tells: figures of its own, plain values only, errors until they are past, and not too often."""

import json

import pytest

from connectors.memory import MemoryLog
from streams.engines import status as module
from streams.engines.status import Status
from streams.live import LiveState
from streams.pipeline import Pipeline, Source
from streams.sources import Sources
from tests.streams.engines.helpers import SPEC, make_job, publish, row
from tidemill.decode import Decoder
from tidemill.errors import UnavailableError
from tidemill.events import ProgressMade
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


MADE = ProgressMade(
    id="sums/4",
    time=1,
    source="/jobs/sums",
    job="sums",
    sequence=4,
    offsets=[],
    watermark=0,
    last=None,
    segments=[],
    emitted={},
)


def test_an_error_is_shown_until_a_commit_succeeds_after_it(world):
    world.status.failed(UnavailableError("away", fix="Wait."))
    world.status.waiting(0.5)
    assert (world.told[-1]["state"], world.told[-1]["retry_in"]) == ("waiting", 0.5)
    world.status.checkpointed(5, 3)
    assert "Wait" in world.tell(force=True)["last_error"]
    world.status.committed(6, MADE, LiveState(make_job()))
    assert world.tell(force=True)["last_error"] == ""


@pytest.mark.parametrize("cannot_save", ["", "it holds a lock"])
def test_a_snapshot_not_kept_is_shown_until_one_is_whatever_commits(world, cannot_save):
    world.status = Status(make_job(cannot_save=cannot_save), world.log, world.told.append)
    world.status.unkept(UnavailableError("no room", fix="Make some."))
    world.status.committed(4, MADE, LiveState(make_job()))
    assert "Make some" in world.tell(force=True)["last_error"]
    world.status.checkpointed(5, 3)
    told = world.tell(force=True)
    assert told["last_error"] == ""
    assert told.get("checkpoint_sequence") == (None if cannot_save else 3)
    assert told.get("last_checkpoint") == (None if cannot_save else 5)


def test_what_is_known_is_told_while_waiting_too(world):
    world.status = Status(make_job(cannot_save="it holds a lock"), world.log, world.told.append)
    world.status.committed(6, MADE, LiveState(make_job()))
    world.status.failed(UnavailableError("away"))
    world.status.waiting(0.5)
    told = world.told[-1]
    assert (told["rebuilt_by_replay"], told["sequence"], told["last_commit"]) == ("it holds a lock", 4, 6)


def test_a_log_that_cannot_say_its_end_leaves_the_lag_open(world):
    def away(partition):
        raise UnavailableError("away")

    world.sources.end = away
    assert world.tell(force=True)["lag"] == {"data.trips/0": None, "data.trips/1": None}

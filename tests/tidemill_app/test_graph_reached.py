"""A barrier of a job is awaited by whoever does not hold its graph: of what the job has committed, and of no more."""

import json
import threading
from contextlib import contextmanager

import pytest

from streams.engines.local import LocalEngine
from streams.state_store import FolderStore
from tests.tidemill_app.in_memory import memory_platform
from tidemill.engine import Parts
from tidemill.errors import NotFoundError, UnavailableError
from tidemill.log import Partition
from tidemill.stream import Field, StreamSpec
from tidemill_app import graph_reached
from tidemill_app.graph_reached import Reached, reached
from tidemill_app.job_file import load_job
from tidemill_app.publisher import ArtefactPublisher

JOB = """
from graph.job import graph_job
from graph.mapping import BarrierFrom, EdgeFrom, GraphSpec
from graph.relation import Relation
from tidemill.order import Arrival

def job():
    return graph_job(name="roads", commit_every=0.01, order=Arrival(), ASKED spec=GraphSpec(
        nodes=["place"],
        relations=[Relation("road", "place", "place")],
        rules=[EdgeFrom("road", "roads", "here", "there"), BarrierFrom("marks", "name")],
    ))
"""
TIME = (Field("id", "string"), Field("time", "time"))
SPECS = {
    "roads": StreamSpec(
        name="roads", fields=(*TIME, Field("here", "int"), Field("there", "int")), time="time", id="id"
    ),
    "marks": StreamSpec(name="marks", fields=(*TIME, Field("name", "string")), time="time", id="id"),
}


class Town:
    """The platform in memory, both streams and the job's file."""

    def __init__(self, folder, asked=""):
        self.platform, self.folder, self.sent = memory_platform(folder), folder, 0
        self.file = folder / "roads.py"
        self.file.write_text(JOB.replace("ASKED", asked))
        for spec in SPECS.values():
            self.platform.catalogue().declare(spec)

    def publish(self, stream, **fields):
        self.sent += 1
        event = {"id": f"e{self.sent}", "time": f"2024-01-01T00:00:{self.sent:02}Z", **fields}
        writer = self.platform.log.writer()
        writer.send(SPECS[stream].topic, json.dumps(event).encode(), partition=0)
        writer.flush()
        writer.close()

    def run(self):
        """The job's process, until it has committed what there is."""
        platform, log = self.platform, self.platform.log
        job, told = load_job(self.file, "job"), {}
        parts = Parts(
            log=log,
            store=FolderStore(platform.home.path / "state"),
            clock=platform.clock,
            streams=platform.specs_of(job),
            publisher=ArtefactPublisher(platform.artefacts, log, platform.clock, pin=platform.pin),
            objects=platform.artefacts,
            report=told.update,
        )
        ends = {at: log.end(at) for spec in SPECS.values() for at in [Partition(spec.topic, 0)]}

        def done():
            committed = log.committed("tidemill.roads")
            running = told.get("state", "recovering") != "recovering"
            return running and all(committed.get(at, 0) >= end for at, end in ends.items())

        LocalEngine().run(job, parts, done)


@pytest.fixture
def town(tmp_path):
    made = Town(tmp_path)
    yield made
    made.platform.close()


def test_a_barrier_is_reached_once_the_job_has_committed_it(town):
    assert reached(town.platform, str(town.file), "noon") == Reached("roads", "noon", False, 0)  # it has not begun
    town.publish("roads", here=1, there=2)
    town.run()
    assert reached(town.platform, str(town.file), "noon") == Reached("roads", "noon", False, 1)
    town.publish("marks", name="noon")
    assert not reached(town.platform, str(town.file), "noon").reached  # it is in the log only
    town.run()
    assert reached(town.platform, str(town.file), "noon") == Reached("roads", "noon", True, 2)
    assert not reached(town.platform, str(town.file), "night").reached


def test_of_a_job_that_answers_its_copy_is_asked(tmp_path):
    town = Town(tmp_path, 'relation="road",')
    town.publish("roads", here=1, there=2)
    town.publish("marks", name="noon")
    town.run()
    assert reached(town.platform, str(town.file), "noon") == Reached("roads", "noon", True, 2)
    town.platform.close()


def test_who_waits_is_told_as_soon_as_it_is_there(town, monkeypatch):
    """It is published only once somebody has looked and not found it."""
    town.publish("roads", here=1, there=2)
    town.run()
    looked = threading.Event()

    class Watched(graph_reached.Replica):
        @contextmanager
        def held(self):
            with super().held() as told:
                yield told
            looked.set()

    monkeypatch.setattr(graph_reached, "Replica", Watched)

    def later():
        looked.wait(60)
        town.publish("marks", name="noon")
        town.run()

    thread = threading.Thread(target=later)
    thread.start()
    try:
        assert reached(town.platform, str(town.file), "noon", wait=60).reached
    finally:
        thread.join(60)


def test_a_copy_that_cannot_be_made_is_told(town, monkeypatch):
    town.publish("roads", here=1, there=2)
    town.run()

    def broken(*given):
        raise UnavailableError("the broker is away")

    monkeypatch.setattr("streams.replica.recovered", broken)
    with pytest.raises(UnavailableError, match="the broker is away"):
        reached(town.platform, str(town.file), "noon")
    with pytest.raises(NotFoundError, match="no such job"):
        reached(town.platform, "nowhere", "noon")

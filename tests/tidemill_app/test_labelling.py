"""A label that names nothing known, or that nobody reads, is doubted; one that is in order is not."""

import json

import pytest

from connectors.memory import MemoryLog
from streams import progress
from tidemill.errors import ConfigError
from tidemill.events import PredictionMade, ProgressMade
from tidemill.stream import Field, StreamSpec, label_stream, prediction_stream
from tidemill.time import SystemClock
from tidemill_app import labelling
from tidemill_app.job_table import JobTable
from tidemill_app.labelling import doubts, value_of
from tidemill_app.telling import tell

TRIPS = StreamSpec(name="trips", fields=(Field("id", "string"), Field("at", "time")), time="at", id="id", partitions=2)
LABELS = label_stream("trips")


class World:
    """Trips `t0` to `t9` over two partitions, and job `late`, which reads them and their labels."""

    def __init__(self):
        self.log = MemoryLog()
        for spec in (TRIPS, LABELS):
            self.log.create(spec.topic, spec.topic_spec())
        writer = self.log.writer()
        for i in range(10):
            value = json.dumps({"id": f"t{i}", "at": f"2024-01-01T00:0{i}:00Z"}).encode()
            writer.send(TRIPS.topic, value, partition=i % 2)
        writer.close()
        self.jobs = JobTable(self.log, SystemClock())

    def job(self, wanted, *topics):
        self.jobs.change("late", wanted=wanted)
        self.log.create("progress.late", progress.TOPIC)
        made = ProgressMade(
            id="late/0",
            time=0,
            job="late",
            sequence=0,
            offsets=[(topic, 0, 0) for topic in topics],
            watermark=0,
            last=None,
            segments=[],
            emitted={},
        )
        tell(self.log, "progress.late", made, "late")

    def doubts(self, id):
        return doubts(self.log, self.jobs, TRIPS, LABELS, id)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("1.5", 1.5),
        ('{"a": [1]}', {"a": [1]}),
        ('"1"', "1"),
        ("late", "late"),
        ("1 2", "1 2"),
        ("", ""),
    ],
)
def test_a_label_is_json_or_else_text(text, value):
    assert value_of(text) == value


@pytest.mark.parametrize("text", ["1e999", "-1e400", '{"a": [1e999]}', "9" * 5_000, "[" * 5_000, "\udcff"])
def test_a_label_that_would_not_arrive_as_it_was_given_is_refused(text):
    with pytest.raises(ConfigError, match="label cannot be sent"):
        value_of(text)


@pytest.fixture
def world():
    return World()


def test_a_known_event_and_a_job_that_reads_leave_no_doubt(world):
    world.job("running", TRIPS.topic, LABELS.topic)
    assert [world.doubts(f"t{i}") for i in (0, 9)] == [[], []]


def test_an_unknown_id_is_named(world):
    world.job("running", TRIPS.topic, LABELS.topic)
    (doubt,) = world.doubts("t10")
    assert "'t10'" in doubt and TRIPS.topic in doubt


def test_what_the_endpoint_answered_is_known_too(world):
    world.job("running", TRIPS.topic, LABELS.topic)
    spec = prediction_stream("trips")
    world.log.create(spec.topic, spec.topic_spec())
    made = PredictionMade(id="p", time=0, about="asked-1", model="late", version="1", score=0.5)
    tell(world.log, spec.topic, made, "asked-1")
    assert world.doubts("asked-1") == []
    assert "predictions.trips" in world.doubts("asked-2")[0]


def test_what_a_deployed_model_answered_is_known_where_a_job_joins_it_with_these_labels(world):
    spec = prediction_stream("net")
    world.log.create(spec.topic, spec.topic_spec())
    made = PredictionMade(id="p", time=0, about="asked-1", model="net", version="1", score=0.5)
    tell(world.log, spec.topic, made, "asked-1")
    world.job("running", TRIPS.topic, LABELS.topic)
    assert "'asked-1'" in world.doubts("asked-1")[0]
    world.job("running", spec.topic, LABELS.topic)
    assert world.doubts("asked-1") == []


def test_it_is_looked_for_in_the_newest_part_only(world, monkeypatch):
    world.job("running", LABELS.topic)
    monkeypatch.setattr(labelling, "LOOK_BACK", 2)
    monkeypatch.setattr(labelling, "_CHUNK", 1)
    assert [bool(world.doubts(f"t{i}")) for i in (5, 6, 8, 9)] == [True, False, False, False]


def test_labels_that_nobody_reads_are_said(world):
    assert "no job reads labels.trips" in world.doubts("t1")[0]
    world.job("running", TRIPS.topic)
    assert "no job reads labels.trips" in world.doubts("t1")[0]
    world.job("stopped", TRIPS.topic, LABELS.topic)
    (doubt,) = world.doubts("t1")
    assert "is stopped" in doubt and "tidemill job start late" in doubt

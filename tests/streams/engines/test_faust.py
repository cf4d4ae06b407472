"""The Faust engine on a real broker: what it takes up after an end in the middle of a commit, and what it refuses."""

import json
import time
import uuid

import msgspec
import pytest

from connectors.kafka import KafkaLog
from connectors.kafka_admin import KafkaAdmin
from streams.engines import faust_app, table_store
from streams.engines.faust import FaustEngine
from streams.engines.local import LocalEngine
from streams.engines.recovery import positions_of
from streams.state_store import FolderStore
from tests.streams.engines import helpers
from tests.streams.engines.helpers import SPEC, Shelf, content, make_job, row
from tidemill import events
from tidemill.checks.reference import read_all
from tidemill.engine import Parts, refuse_unless_fit
from tidemill.errors import GoneError, StepError, SubmissionError
from tidemill.job import Input, Live, Output
from tidemill.log import Partition
from tidemill.order import Arrival
from tidemill.time import SystemClock

pytestmark = pytest.mark.stack


class Place:
    """A job with a stream, a model and topics of its own on the broker; `run` runs it until `done()`."""

    def __init__(self, kafka, folder):
        self.name = f"faust-{uuid.uuid4().hex[:8]}"
        self.connection = {"bootstrap.servers": kafka}
        self.log, self.shelf, self.folder = KafkaLog(self.connection), Shelf(), folder
        self.spec = msgspec.structs.replace(SPEC, name=self.name, topic=f"data.{self.name}")
        self.status = {}

    def job(self, **changes):
        def step(state, batch):
            effects = helpers.step(state, batch)
            for cut in effects.versions:
                cut.model = self.name
            return effects

        settings = {
            "name": f"{self.name}-job",
            "reads": (Input(self.name),),
            "step": step,
            "writes": (Output("sums", f"data.{self.name}-sums"),),
            "live": Live(lambda state: {self.name: content(state)}),
        }
        return make_job(**(settings | changes))

    def publish(self, rows):
        self.log.create(self.spec.topic, self.spec.topic_spec())
        writer = self.log.writer()
        for i, one in enumerate(rows):
            writer.send(self.spec.topic, json.dumps(one).encode(), partition=i % self.spec.partitions)
        writer.close()

    def run(self, done, engine=None, log=None, patience=60.0):
        deadline = time.monotonic() + patience
        parts = Parts(
            log=log or self.log,
            store=FolderStore(self.folder),
            clock=SystemClock(),
            streams={self.name: self.spec},
            publisher=self.shelf,
            report=lambda told: setattr(self, "status", told),
        )
        engine = engine or FaustEngine(self.connection, max_batch=30, snapshot_every=1000)
        engine.run(self.job(), parts, lambda: bool(done()) or time.monotonic() > deadline)

    def records(self, topic):
        there = self.log.partitions(topic) if topic in self.log.topics() else []
        return [r for p in there for r in read_all(self.log, p)]

    def rows(self):
        """The rows it sent, in any order."""
        return [json.loads(r.value) for r in self.records(f"data.{self.name}-sums")]

    def ids(self):
        return [r["id"] for r in self.rows()]

    def progress(self):
        return [events.decode(r.value) for r in self.records(f"progress.{self.name}-job")]

    def all_read(self):
        """Whether everything published is read and committed, as far as this run has said."""
        self.status = {}
        return lambda: bool(self.status.get("last_commit")) and not any(self.status["lag"].values())


@pytest.fixture
def place(kafka, tmp_path):
    made = Place(kafka, tmp_path)
    yield made
    made.log.close()


class Dies(Exception):
    """The process ends here, as far as the log can see."""


class Dying:
    """A log whose plain writer ends with its `nth` flush: half of what was sent since the one before is delivered."""

    def __init__(self, log, nth):
        self.log, self.left = log, nth

    def __getattr__(self, name):
        return getattr(self.log, name)

    def writer(self, transactional_id=""):
        return _DyingWriter(self, self.log.writer(transactional_id))


class _DyingWriter:
    def __init__(self, log, writer):
        self.log, self.writer, self.sent = log, writer, []

    def send(self, *args, **kwargs):
        self.sent.append((args, kwargs))

    def flush(self):
        self.log.left -= 1
        if self.log.left == 0:
            self.sent = self.sent[: len(self.sent) // 2]
        for args, kwargs in self.sent:
            self.writer.send(*args, **kwargs)
        self.sent = []
        self.writer.flush()
        if self.log.left == 0:
            raise Dies

    def close(self):
        self.writer.close()


@pytest.mark.parametrize("nth", [pytest.param(2, marks=pytest.mark.slow), 5, pytest.param(6, marks=pytest.mark.slow)])
def test_a_commit_that_was_only_planned_is_made_again_as_it_was(place, nth, tmp_path):
    place.publish([row(i) for i in range(150)])
    with pytest.raises(Dies):
        place.run(lambda: False, log=Dying(place.log, nth))
    planned = place.progress()[-1]
    place.run(place.all_read())
    # Numbers without gap or repetition, and the planned commit is the one that was planned.
    assert [p.sequence for p in place.progress()] == list(range(len(place.progress())))
    assert place.progress()[planned.sequence] == planned
    rows = {r["id"]: r for r in place.rows()}
    assert all(r == rows[r["id"]] for r in place.rows())
    changes = {}
    for record in place.records(f"deltas.{place.name}"):
        delta = events.decode(record.value)
        assert str(changes.setdefault(delta.sequence, delta.changes)) == str(delta.changes)
    assert sorted(changes) == list(range(1, len(changes) + 1))
    other = Place(place.connection["bootstrap.servers"], tmp_path / "other")
    other.publish([row(i) for i in range(150)])
    other.run(other.all_read(), engine=LocalEngine())
    assert {r["id"]: r["sum"] for r in other.rows()} == {id: r["sum"] for id, r in rows.items()}
    other.log.close()


def test_a_job_that_was_stopped_goes_on_and_sends_nothing_again(place):
    for first in (0, 60):
        place.publish([row(i) for i in range(first, first + 60)])
        place.run(place.all_read())
    assert len(place.ids()) == len(set(place.ids())) > 90
    newest = place.progress()[-1]
    saved = table_store.load(table_store.read(place.log, f"{place.name}-job"))
    assert saved is not None
    assert saved[0] == place.status["checkpoint_sequence"] == newest.sequence
    admin = KafkaAdmin(place.connection)
    assert admin.committed(f"tidemill.{place.name}-job").items() >= positions_of(newest.offsets).items()
    admin.close()


def test_records_of_an_aborted_transaction_are_not_read_and_markers_are_passed(place):
    place.publish([row(i) for i in range(20)])
    writer = place.log.writer(f"tx-{place.name}")
    for end, numbers in ((writer.abort, range(20, 40)), (writer.commit, range(40, 60))):
        writer.begin()
        for i in numbers:
            writer.send(place.spec.topic, json.dumps(row(i)).encode(), partition=i % 2)
        writer.flush()
        end()
    writer.close()
    place.run(place.all_read())
    assert place.status["events"] == 40
    assert set(place.ids()) & {f"e{i}" for i in range(20, 40)} == set()
    assert set(place.status["lag"].values()) == {0}


class Losing:
    """Has Faust lose one run on its way to the agent, as it does around a rebalance: it is fetched, and dropped.

    `which` says whether the last of the runs that came so far, those with records, is the one.
    """

    def __init__(self, monkeypatch, which):
        self.handed, self.lost, pass_on = [], [], faust_app.Consumer.iterate

        def loses(consumer, records):
            for tp, run in pass_on(consumer, records):
                if isinstance(run, faust_app.Run) and run.records:
                    self.handed.append((tp, run))
                    if not self.lost and which(self.handed):
                        self.lost.append((tp, run))
                        continue
                yield tp, run

        monkeypatch.setattr(faust_app.Consumer, "iterate", loses)


def check_same_sums(place, count):
    other = Place(place.connection["bootstrap.servers"], place.folder / "other")
    other.publish([row(i) for i in range(count)])
    other.run(other.all_read(), engine=LocalEngine())
    assert {r["id"]: r["sum"] for r in other.rows()} == {r["id"]: r["sum"] for r in place.rows()}
    other.log.close()


def test_a_run_that_is_lost_is_seen_by_the_next_and_read_again(place, monkeypatch):
    losing = Losing(monkeypatch, lambda handed: len(handed) == 2)
    place.publish([row(i) for i in range(150)])
    place.run(place.all_read())
    assert losing.lost and place.status["events"] == 150
    check_same_sums(place, 150)


def test_a_partitions_last_run_that_is_lost_is_read_again_though_another_partition_is_busy(place, monkeypatch):
    """Its watermark holds all up: nothing that is published later comes behind it."""
    losing = Losing(monkeypatch, lambda handed: handed[-1][0].partition == 0)
    place.publish([row(i) for i in range(40)])
    writer, more = place.log.writer(), iter(range(41, 4_001, 2))

    def there():
        writer.send(place.spec.topic, json.dumps(row(next(more))).encode(), partition=1)
        writer.flush()
        return losing.lost and {f"e{i}" for i in range(0, 20, 2)} <= set(place.ids())

    place.run(there)
    assert there()
    writer.close()


def test_records_that_are_gone_are_named(place):
    place.publish([row(i) for i in range(40)])
    place.run(place.all_read())
    place.publish([row(i) for i in range(40, 80)])
    at = Partition(place.spec.topic, 0)
    admin = KafkaAdmin(place.connection)
    admin.delete_before(at, place.log.end(at))
    admin.close()
    with pytest.raises(GoneError, match=place.spec.topic):
        place.run(place.all_read())


def test_what_a_step_raises_reaches_the_user_and_a_stop_is_heeded_while_it_starts(place):
    place.publish([row(i) for i in range(40)])

    def fails(state, batch):
        raise ZeroDivisionError("in the step")

    job = place.job
    place.job = lambda: job(step=fails)
    # Tried again event by event, so that the one it raises on is named.
    with pytest.raises(StepError, match=r"raised ZeroDivisionError: in the step; got event 'e0' at data\."):
        place.run(lambda: False)
    place.job = job
    place.run(lambda: True)
    place.run(place.all_read())
    assert place.status["state"] == "running"


@pytest.mark.parametrize(
    ("changes", "need"),
    [({"order": Arrival()}, "arrival_order"), ({"needs": frozenset({"exactly_once"})}, "exactly_once")],
)
def test_what_it_lacks_is_refused_with_the_engines_that_would_do(changes, need):
    faust, local = FaustEngine({}), LocalEngine()
    with pytest.raises(SubmissionError, match=rf"faust does not provide {need}.*would do: local"):
        refuse_unless_fit(make_job(**changes), faust, [local, faust])

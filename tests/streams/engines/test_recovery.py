"""Where a job goes on after a crash between any two of its writes, or when it begins anew; versions included."""

import json
import time

import msgspec
import pytest
from river import feature_extraction, linear_model

from connectors.artefacts import ArtefactStore
from connectors.memory import MemoryLog
from connectors.segments import Segments, encode_records
from connectors.signing import make_key
from streams import journal, progress
from streams.classifier import online_classifier
from streams.engines.local import LocalEngine
from streams.learners.river import RiverLearner
from streams.reproduce import reproduce
from streams.state_store import FolderStore
from tests.streams.engines.helpers import SPEC, make_job, publish, records, row, rows_of, run
from tidemill import events
from tidemill import state as states
from tidemill.checks.faults import Crash, FaultyLog, crash_at
from tidemill.checks.reference import read_all
from tidemill.errors import GoneError, IncompatibleError, IntegrityError, SubmissionError
from tidemill.events import ModelPublished
from tidemill.log import Partition
from tidemill.order import Arrival, EventTime
from tidemill.stream import Field
from tidemill.time import SystemClock
from tidemill.version import decode_manifest
from tidemill_app.publisher import ArtefactPublisher, load_content
from tidemill_app.retention import Retention
from tidemill_app.scoring import loader

ORDERS = {"event_time": EventTime(lateness=20, idle_after=None), "arrival": Arrival()}


class Shelf:
    """A real artefact store and archive, and the versions that topic `models` of `log` says are in it."""

    def __init__(self, log, folder):
        make_key(folder / "key.pem")
        self.log = log
        self.store = ArtefactStore(str(folder / "artefacts"), folder / "key.pem")
        self.segments = Segments(str(folder / "artefacts"), self.store)
        pin = Retention(log, self.segments, lambda topic: True).pin
        self.publisher = ArtefactPublisher(self.store, log, SystemClock(), pin=pin)

    def published(self):
        there = records(self.log, "models") if "models" in self.log.topics() else []
        return [e for r in there if isinstance(e := events.decode(r.value), ModelPublished)]

    def check(self, job, spec=SPEC):
        """Every published version loads, is rebuilt equal, and what it read is archived as it stands in the log."""
        for event in self.published():
            manifest, files = self.store.load(event.model, event.version, event.version_digest)
            lineage = manifest.lineage
            streams, get = {"trips": spec}, self.store.get
            again = reproduce(job, lineage, event.model, log=self.log, streams=streams, objects=get)
            assert str(again.cut.number) == event.version
            assert states.encode(again.cut.content) == states.encode(load_content(files))
            assert again.records_hash == lineage.records_hash
            for span in lineage.read:
                kept = read_all(self.log, Partition(span.topic, span.partition))
                read = [r for r in kept if span.first <= r.offset < span.next]
                assert encode_records(self.segments.read(span)) == encode_records(read)


@pytest.mark.parametrize("order", ORDERS)
def test_a_job_begun_anew_numbers_its_versions_above_those_there_are(tmp_path, order):
    log, store = MemoryLog(), FolderStore(tmp_path / "state")
    shelf, job = Shelf(log, tmp_path), make_job(order=ORDERS[order])
    publish(log, [row(i) for i in range(170)])
    run(job, log, store, publisher=shelf.publisher)
    before = shelf.published()
    assert [e.version for e in before] == ["1", "2", "3"]
    # What `tidemill submit --reset` forgets.
    store.clear(job.name)
    log.delete(f"progress.{job.name}")
    log._committed.clear()  # `run` ends by them
    publish(log, [row(i) for i in range(170, 200)])
    run(job, log, store, publisher=shelf.publisher)
    # A restart goes on with the numbers of its own life.
    publish(log, [row(i) for i in range(200, 260)])
    run(job, log, store, publisher=shelf.publisher)
    after = shelf.published()
    assert after[:3] == before
    assert [e.version for e in after[3:]] == [str(4 + i) for i in range(len(after) - 3)]
    assert len(after) >= 7
    shelf.check(job)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("which", ["1", "2"])
def test_a_kill_between_storing_a_version_and_its_commit(tmp_path, order, which):
    """Under `arrival` the next life reads the partitions in turns of its own, so its version has another content than
    the one that was stored and never committed."""
    log, store = MemoryLog(), FolderStore(tmp_path / "state")
    shelf, job = Shelf(log, tmp_path), make_job(order=ORDERS[order])
    publish(log, [row(i) for i in range(120)])

    def dies(point):
        if point == "begin" and which in shelf.store.versions("sum"):
            raise Crash(f"version {which} is stored and not committed")

    with pytest.raises(Crash):
        engine = LocalEngine(max_batch=40, snapshot_every=0)
        run(job, FaultyLog(log, dies), store, engine=engine, publisher=shelf.publisher, done=lambda: False)
    [lost] = shelf.store.manifests("sum", which)
    assert which not in [e.version for e in shelf.published()]
    engine = LocalEngine(max_batch=4, snapshot_every=0)
    run(job, log, store, engine=engine, publisher=shelf.publisher)
    assert [e.version for e in shelf.published()] == ["1", "2"]
    assert lost not in [e.version_digest for e in shelf.published()]
    if order == "arrival":
        kept = [shelf.store.manifest("sum", which, d) for d in shelf.store.manifests("sum", which)]
        assert len({m.split(b'"content_digest": "')[1][:64] for m in kept}) == 2, "the runs met in the same order"
    shelf.check(job)


def trees(names):
    """One of River's own that cannot be saved: it knows its leaves by memory address."""
    return RiverLearner(names, feature_extraction.RandomTreesEmbedding(seed=1) | linear_model.LogisticRegression())


def replayed(order):
    return online_classifier(
        name="up",
        stream="trips",
        features=("km", "hour"),
        label="up",
        learner=trees,
        order=ORDERS[order],
        version_every=50,
        metrics_every=50,
        commit_every=0.01,
    )


TRIPS = msgspec.structs.replace(SPEC, fields=(*SPEC.fields, Field("hour", "float"), Field("up", "bool")))


def trip(i):
    return row(i) | {"hour": float(i % 24), "up": (i % 11) * 2 > i % 24}


def answers(log):
    return {r["about"]: r["score"] for r in rows_of(log, "predictions.up")}


@pytest.mark.parametrize("order", ORDERS)
def test_a_learner_that_cannot_be_saved_goes_on_as_if_nothing_had_happened(tmp_path, order):
    """Killed before and after commits, it gives every prediction once, and the same as without; its versions are
    rebuilt equal, and not served."""
    quiet = MemoryLog()
    job, parts = replayed(order), {"streams": {"trips": TRIPS}, "publisher": Shelf(quiet, tmp_path / "quiet").publisher}
    publish(quiet, [trip(i) for i in range(300)])
    run(job, quiet, FolderStore(tmp_path / "none"), **parts)
    log, store = MemoryLog(), FolderStore(tmp_path / "state")
    shelf = Shelf(log, tmp_path)
    parts |= {"publisher": shelf.publisher, "objects": shelf.store}
    publish(log, [trip(i) for i in range(300)])
    for point, nth in (("before commit", 3), ("after commit", 2), ("before commit", 2), ("after commit", 3)):
        with pytest.raises(Crash):
            engine = LocalEngine(max_batch=40, snapshot_every=0)
            run(job, FaultyLog(log, crash_at(point, nth)), store, engine=engine, done=lambda: False, **parts)
    status = run(job, log, store, engine=LocalEngine(max_batch=40, snapshot_every=0), **parts)
    made = rows_of(log, "predictions.up")
    assert len(made) == len(answers(log)) == len(answers(quiet))
    if order == "event_time":
        assert answers(log) == answers(quiet)
    assert len(set(answers(log).values())) > 20
    assert "memory address" in status["rebuilt_by_replay"] and "last_checkpoint" not in status
    assert "deltas.up" not in log.topics()
    versions = shelf.published()
    assert len(versions) >= 5
    shelf.check(job, TRIPS)
    with pytest.raises(IncompatibleError, match="rebuilt and compared, and not served"):
        loader(shelf.store)(versions[0])


@pytest.mark.parametrize("order", ORDERS)
def test_what_a_replay_needs_is_in_the_log_or_in_the_archive(tmp_path, order):
    log, store = MemoryLog(), FolderStore(tmp_path / "state")
    shelf, job = Shelf(log, tmp_path), replayed(order)
    parts = {"streams": {"trips": TRIPS}, "publisher": shelf.publisher, "objects": shelf.store}
    publish(log, [trip(i) for i in range(200)])
    run(job, log, store, **parts)
    before, versions = rows_of(log, "predictions.up"), len(shelf.published())
    read = decode_manifest(shelf.store.manifest("up", "1", shelf.published()[0].version_digest)).lineage.read
    for span in read:
        log.delete_before(Partition(span.topic, span.partition), span.next)
    publish(log, [trip(i) for i in range(200, 260)])
    with pytest.raises(GoneError, match=r"data.trips/0.*offsets 0 to.*--reset"):
        run(job, log, store, **parts)
    run(job, log, store, archive=shelf.segments.read, **parts)
    after = rows_of(log, "predictions.up")
    assert [r for r in after if r in before] == before
    assert len({r["about"] for r in after}) == len(after) > len(before)
    assert len(shelf.published()) > versions


def test_a_job_with_no_state_kept_is_refused_where_it_does_not_fit(tmp_path):
    log, store = MemoryLog(), FolderStore(tmp_path / "state")
    publish(log, [trip(i) for i in range(50)])
    parts = {"streams": {"trips": TRIPS}, "publisher": Shelf(log, tmp_path).publisher}
    run(replayed("event_time"), log, store, **parts)
    with pytest.raises(IncompatibleError, match="the job's order changed"):
        run(replayed("arrival"), log, store, done=lambda: False, **parts)


def one_sided(first, count):
    """Rows of partition 0 only."""
    return [(row(i), 0) for i in range(first, first + count)]


def send(log, rows):
    log.create(SPEC.topic, SPEC.topic_spec())
    writer = log.writer()
    for one, partition in rows:
        writer.send(SPEC.topic, json.dumps(one).encode(), partition=partition)


def until_emitted(log, count):
    deadline = time.monotonic() + 20
    return lambda: emitted(log) >= count or time.monotonic() > deadline


def emitted(log):
    return len(records(log, "data.sums")) if "data.sums" in log.topics() else 0


IDLE = EventTime(lateness=20, idle_after=0.05)


def test_a_quiet_partition_is_moved_and_nothing_is_written_into_it(tmp_path):
    """The job of a stream whose second partition says nothing goes on, its topic is left as it was, and the versions
    that were cut on the way are rebuilt, with and without snapshots."""
    log, store = MemoryLog(), FolderStore(tmp_path / "state")
    shelf, job = Shelf(log, tmp_path), make_job(order=IDLE)
    send(log, one_sided(0, 120))
    run(job, log, store, publisher=shelf.publisher, objects=shelf.store, done=until_emitted(log, 120))
    # Now the other one speaks, from before where its clock was moved to: late, then and ever after.
    send(log, [(row(10), 1), (row(200), 1), *one_sided(130, 60)])
    run(job, log, store, publisher=shelf.publisher, objects=shelf.store, done=until_emitted(log, 181))
    assert (log.end(Partition(SPEC.topic, 0)), log.end(Partition(SPEC.topic, 1))) == (180, 2)
    assert emitted(log) == 181
    assert [dict(r.headers)["dead_error"] for r in records(log, "dead.sums")] == [b"LateError"]
    assert [e.version for e in shelf.published()] == ["1", "2", "3"]
    shelf.check(job)
    before = rows_of(log, "data.sums")
    for lost in (False, True):
        if lost:
            store.clear("sums")
        run(job, log, store, publisher=shelf.publisher, done=iter([False] * 3 + [True]).__next__)
        assert rows_of(log, "data.sums") == before


@pytest.mark.parametrize("point", ["before commit", "after commit"])
def test_a_kill_around_the_commit_of_a_move(tmp_path, point):
    log, store = MemoryLog(), FolderStore(tmp_path / "state")
    shelf, job = Shelf(log, tmp_path), make_job(order=IDLE)
    send(log, one_sided(0, 120))

    # The first commit is the birth, the second what was read; nothing is complete before the third, which has the move.
    with pytest.raises(Crash):
        engine = LocalEngine(snapshot_every=0)
        run(job, FaultyLog(log, crash_at(point, 3)), store, engine=engine, done=lambda: False)
    assert (emitted(log) > 0) is (point == "after commit")
    run(job, log, store, publisher=shelf.publisher, done=until_emitted(log, 120))
    ids = [r["id"] for r in rows_of(log, "data.sums")]
    assert len(ids) == len(set(ids)) == 120


@pytest.mark.parametrize("order", ["arrival", "idle"])
def test_the_order_of_a_long_run_is_kept_in_chunks(tmp_path, monkeypatch, order):
    """Manifests stay small, and neither lost snapshots nor compacted progress lose the order."""
    monkeypatch.setattr(journal, "MOST", 5)
    log, store = MemoryLog(), FolderStore(tmp_path / "state")
    shelf = Shelf(log, tmp_path)
    job = make_job(order=Arrival() if order == "arrival" else IDLE)
    engine = LocalEngine(max_batch=4, snapshot_every=0)
    parts = {"publisher": shelf.publisher, "objects": shelf.store, "engine": engine}
    if order == "arrival":
        publish(log, [row(i) for i in range(260)])
        run(job, log, store, **parts)
    else:
        for k in range(10):  # each run of events further ahead than the moves have led
            send(log, [(row(40 * k), k % 2), *one_sided(40 * k + 1, 25)])
            run(job, log, store, done=until_emitted(log, 26 * (k + 1)), **parts)
    versions = shelf.published()
    assert len(versions) == 5
    for event in versions:
        lineage = decode_manifest(shelf.store.manifest("sum", event.version, event.version_digest)).lineage
        assert len(lineage.segments) + len(lineage.moved) < 5 + 4
    assert lineage.journal
    shelf.check(job)
    with pytest.raises(SubmissionError, match="kept by digest"):
        reproduce(job, lineage, "sum", log=log, streams={"trips": SPEC})
    # What compaction leaves: all since the newest chunk. And the snapshots are lost.
    at = progress.topic_of("sums")
    last = progress.last(log, "sums")
    sealed = journal.decode(shelf.store.get(last.journal)).sequence
    log.delete_before(at, log.end(at) - 2 * max(1, last.sequence - sealed))
    store.clear("sums")
    before = rows_of(log, "data.sums")
    run(job, log, store, done=iter([False] * 3 + [True]).__next__, **parts)
    assert rows_of(log, "data.sums") == before
    store.clear("sums")
    log.delete_before(at, log.end(at) - 2)
    if progress.last(log, "sums").journaled > sealed:
        with pytest.raises(IntegrityError, match="progress since the newest snapshot is gone"):
            run(job, log, store, done=iter([False] * 3 + [True]).__next__, **parts)

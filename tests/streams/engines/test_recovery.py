"""Where a job goes on after a crash between any two of its writes, or when it begins anew; versions included."""

import pytest

from connectors.artefacts import ArtefactStore
from connectors.memory import MemoryLog
from connectors.segments import Segments, encode_records
from connectors.signing import make_key
from streams.engines.local import LocalEngine
from streams.reproduce import reproduce
from streams.state_store import FolderStore
from tests.streams.engines.helpers import SPEC, make_job, publish, records, row, run
from tidemill import events
from tidemill import state as states
from tidemill.checks.faults import Crash, FaultyLog
from tidemill.checks.reference import read_all
from tidemill.events import ModelPublished
from tidemill.log import Partition
from tidemill.order import Arrival, EventTime
from tidemill.time import SystemClock
from tidemill_app.publisher import ArtefactPublisher, load_content
from tidemill_app.retention import Retention

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

    def check(self, job):
        """Every published version loads, is rebuilt equal, and what it read is archived as it stands in the log."""
        for event in self.published():
            manifest, files = self.store.load(event.model, event.version, event.version_digest)
            lineage = manifest.lineage
            again = reproduce(job, lineage, event.model, log=self.log, streams={"trips": SPEC})
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

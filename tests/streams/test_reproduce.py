"""A version rebuilt from its lineage is the same version; what is missing or altered is said."""

import json

import msgspec
import pytest

from connectors.memory import MemoryLog
from streams.engines.local import LocalEngine
from streams.reproduce import reproduce
from streams.state_store import FolderStore
from tests.streams.engines.helpers import SPEC, Shelf, make_job, publish, row, run
from tidemill import state as states
from tidemill.checks.reference import read_all
from tidemill.errors import GoneError, IntegrityError
from tidemill.job import Input
from tidemill.log import Partition
from tidemill.order import Arrival, EventTime

ORDERS = {"event_time": EventTime(lateness=20, idle_after=None), "arrival": Arrival(dedupe=10)}


@pytest.fixture(params=ORDERS)
def made(request, tmp_path):
    """A job that published versions while its records came in bit by bit, with a restart in between."""
    job, log, shelf = make_job(order=ORDERS[request.param]), MemoryLog(), Shelf()
    store = FolderStore(tmp_path)
    engine = LocalEngine(max_batch=30, snapshot_every=0)
    for first in (0, 170):
        publish(log, [row(i) for i in range(first, first + 170)])
        run(job, log, store, engine=engine, publisher=shelf)
    return job, log, shelf


def test_every_version_comes_out_equal(made):
    job, log, shelf = made
    assert len(shelf.versions) >= 4
    for (model, number), (cut, lineage, _) in shelf.versions.items():
        again = reproduce(job, lineage, model, log=log, streams={"trips": SPEC})
        assert again.cut.number == number
        assert again.cut.last == cut.last == lineage.last
        assert states.encode(again.cut.content) == states.encode(cut.content)
        assert (again.records, again.records_hash) == (lineage.records, lineage.records_hash)


def test_one_altered_event_shows(made):
    job, log, shelf = made
    _, lineage, _ = shelf.versions["sum", 2]
    copy = MemoryLog()
    copy.create(SPEC.topic, SPEC.topic_spec())
    writer = copy.writer()
    for p in log.partitions(SPEC.topic):
        for r in read_all(log, p):
            value = json.dumps(json.loads(r.value) | {"km": 3.25}).encode() if r.offset == 3 else r.value
            writer.send(r.topic, value, partition=r.partition)
    again = reproduce(job, lineage, "sum", log=copy, streams={"trips": SPEC})
    assert again.records_hash != lineage.records_hash
    assert states.encode(again.cut.content) != states.encode(shelf.versions["sum", 2][0].content)


def test_offsets_gone_are_named_unless_an_archive_has_them(made):
    job, log, shelf = made
    cut, lineage, _ = shelf.versions["sum", 3]
    p = Partition(SPEC.topic, 1)
    archived = read_all(log, p)
    log.delete_before(p, 10)
    with pytest.raises(GoneError, match=r"data\.trips/1.*offsets 0 to 9"):
        reproduce(job, lineage, "sum", log=log, streams={"trips": SPEC})

    def archive(span):
        assert (span.topic, span.partition, span.first, span.next) == (SPEC.topic, 1, 0, 10)
        return archived[:10]

    again = reproduce(job, lineage, "sum", log=log, streams={"trips": SPEC}, archive=archive)
    assert again.records_hash == lineage.records_hash
    assert states.encode(again.cut.content) == states.encode(cut.content)


def test_a_log_cut_short_is_named(made):
    job, _, shelf = made
    _, lineage, _ = shelf.versions["sum", 3]
    copy = MemoryLog()
    publish(copy, [row(i) for i in range(20)])
    with pytest.raises(GoneError, match="offsets 10 to"):
        reproduce(job, lineage, "sum", log=copy, streams={"trips": SPEC})


def test_a_version_that_the_replay_does_not_cut(made):
    job, log, shelf = made
    _, lineage, _ = shelf.versions["sum", 1]
    with pytest.raises(IntegrityError, match="no such version"):
        reproduce(job, msgspec.structs.replace(lineage, number=99), "sum", log=log, streams={"trips": SPEC})


def test_changed_history_files_are_named(made):
    job, log, shelf = made
    _, lineage, _ = shelf.versions["sum", 1]
    job = make_job(reads=(Input("trips", history="past.csv"),), order=job.order)

    class Files(MemoryLog):
        digest = "other"

    with pytest.raises(IntegrityError, match=r"past\.csv"):
        reproduce(
            job,
            msgspec.structs.replace(lineage, history={"past.csv": "one"}),
            log=log,
            streams={"trips": SPEC},
            history=lambda path, spec: Files(),
        )

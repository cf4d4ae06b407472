"""Topics of live events are made to keep what a follower needs; a version's lineage says what was read."""

from typing import Any

import numpy as np

from connectors.memory import MemoryLog
from streams import progress
from streams.engines.local import LocalEngine
from streams.engines.publication import DELTAS, FEATURES
from streams.learners.delta import apply_delta
from streams.learning import MEASURED
from streams.state_store import FolderStore
from tests.streams.engines.helpers import SPEC, Shelf, make_job, publish, records, row, run
from tidemill import events
from tidemill.job import Output
from tidemill.order import Arrival


def test_topics_are_made_as_their_readers_need_them(tmp_path):
    log = MemoryLog()
    publish(log, [row(i) for i in range(60)])
    job = make_job(writes=(Output("sums", "data.sums", made=MEASURED),))
    run(job, log, FolderStore(tmp_path), publisher=Shelf())
    made = {topic: log._specs[topic] for topic in log.topics()}
    assert made["deltas.sum"] == DELTAS and DELTAS.retention_bytes > 0 and DELTAS.retention_ms == -1
    assert made["features.sums"] == FEATURES and FEATURES.compacted
    assert made["progress.sums"] == progress.TOPIC and progress.TOPIC.uncompacted_ms > 0
    assert made["data.sums"] == MEASURED
    for kept in ("models", "dead.sums"):
        assert (made[kept].retention_ms, made[kept].retention_bytes, made[kept].compacted) == (-1, -1, False)


def test_a_version_says_what_was_read_and_which_delta_it_holds(tmp_path):
    log, shelf = MemoryLog(), Shelf()
    publish(log, [row(i) for i in range(120)])
    job = make_job(order=Arrival())
    engine = LocalEngine(max_batch=30)
    run(job, log, FolderStore(tmp_path), engine=engine, publisher=shelf, bundle="b" * 64, file="job.py")
    published = [events.decode(r.value) for r in records(log, "models")]
    deltas = [events.decode(r.value) for r in records(log, "deltas.sum")]
    assert [(m.version, m.bundle, m.job) for m in published] == [("1", "b" * 64, "sums"), ("2", "b" * 64, "sums")]
    assert {r.key for r in records(log, "models")} == {b"sum"}
    for model in published:
        cut, lineage, delta = shelf.versions["sum", int(model.version)]
        assert (lineage.number, lineage.last, lineage.bundle, lineage.file) == (
            cut.number,
            cut.last,
            "b" * 64,
            "job.py",
        )
        assert sum(s.next - s.first for s in lineage.segments) == sum(s.next - s.first for s in lineage.read)
        assert lineage.records == sum(s.next - s.first for s in lineage.read)
        assert lineage.streams == {"trips": SPEC.version}
        state: dict[str, Any] = {}
        for one in deltas[:delta]:
            state = apply_delta(state, one.changes)
        assert np.array_equal(state["weights"], cut.content.state["weights"])
        assert state["n"] == cut.content.state["n"] == 50 * cut.number

"""What a session publishes beside rows, where a job begins, and what it does when parts fail."""

import csv
import json

import msgspec
import numpy as np
import pytest

from connectors import arrow
from connectors.files import FileLog
from connectors.memory import MemoryLog
from streams.engines import session
from streams.engines.local import LocalEngine
from streams.learners.delta import apply_delta
from streams.state_store import FolderStore
from tests.streams.engines.helpers import SPEC, Shelf, make_job, publish, records, row, rows_of, run, step
from tidemill import events
from tidemill.checks.faults import FaultyLog, break_at
from tidemill.cloudevents import ARROW
from tidemill.errors import (
    FencedError,
    IncompatibleError,
    IntegrityError,
    NotFoundError,
    StepError,
    UnavailableError,
    WrongTypeError,
)
from tidemill.events import RecordErased
from tidemill.job import DeadRow, Effects, Input, Output, events_of
from tidemill.log import TopicSpec
from tidemill.order import Arrival, EventTime

SMALL = LocalEngine(max_batch=30, snapshot_every=0)


def ids(log):
    return [r["id"] for r in rows_of(log, "data.sums")]


def test_a_version_and_the_deltas_after_it_give_the_present_model(tmp_path):
    log, shelf, store = MemoryLog(), Shelf(), FolderStore(tmp_path)
    for first in (0, 100):
        publish(log, [row(i) for i in range(first, first + 100)])
        run(make_job(), log, store, engine=SMALL, publisher=shelf)
    deltas = [events.decode(r.value) for r in records(log, "deltas.sum")]
    assert [d.sequence for d in deltas] == list(range(1, len(deltas) + 1))
    published = [events.decode(r.value) for r in records(log, "models")]
    assert [(m.model, m.version) for m in published] == [("sum", "1"), ("sum", "2"), ("sum", "3")]
    finals = []
    for model in published:
        cut, _, _ = shelf.versions["sum", int(model.version)]
        state = cut.content.state
        for delta in deltas:
            if delta.sequence > model.delta:
                state = apply_delta(state, delta.changes)
        finals.append(state)
    assert len({f["weights"].tobytes() for f in finals}) == 1
    assert {f["n"] for f in finals} == {len(ids(log))}


def test_changed_rows_of_tables_are_published_and_nothing_else(tmp_path):
    log, store = MemoryLog(), FolderStore(tmp_path)
    publish(log, [row(i) for i in range(100)])
    run(make_job(order=Arrival()), log, store, engine=SMALL)
    features = [events.decode(r.value) for r in records(log, "features.sums")]
    newest = {f.key: f.values["km"] for f in features}
    assert newest == {f"w{w}": sum(row(i)["km"] for i in range(100) if i % 7 == w) for w in range(7)}
    publish(log, [row(100)])
    run(make_job(order=Arrival()), log, store, engine=SMALL)
    later = [events.decode(r.value) for r in records(log, "features.sums")][len(features) :]
    assert [f.key for f in later] == ["w2"]


@pytest.mark.parametrize(
    "order", [EventTime(lateness=20, idle_after=None), Arrival(dedupe=50)], ids=["time", "arrival"]
)
def test_a_history_in_files_goes_on_in_the_log_without_gap_or_overlap(tmp_path, order):
    past = [row(i) for i in range(120)]
    with open(tmp_path / "past.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, past[0])
        writer.writeheader()
        writer.writerows(past)
    log, store = MemoryLog(), FolderStore(tmp_path / "state")
    publish(log, [row(i) for i in range(90, 200)])
    job = make_job(order=order, reads=(Input("trips", history=str(tmp_path / "past.csv")),))
    parts = {"history": FileLog, "arrow_decode": arrow.decode}
    run(job, log, store, engine=LocalEngine(max_batch=40, snapshot_every=0), **parts)
    got = ids(log)
    assert len(got) == len(set(got))
    complete = {f"e{i}" for i in range(200)} if isinstance(order, Arrival) else {f"e{i}" for i in range(185)}
    assert complete <= set(got)
    run(job, log, store, done=iter([False] * 3 + [True]).__next__, **parts)
    assert ids(log) == got
    # The same, from nothing but the log and the files: the snapshots are lost.
    store.clear(job.name)
    publish(log, [row(i) for i in range(200, 230)])
    run(job, log, store, **parts)
    assert len(ids(log)) == len(set(ids(log))) > len(got)


def test_an_erased_record_is_absent(tmp_path):
    log = MemoryLog()
    publish(log, [row(i) for i in range(100)])
    log.create("erasures", TopicSpec())
    erased = RecordErased(id="x", time=0, topic=SPEC.topic, partition=0, offset=5)
    log.writer().send("erasures", events.encode(erased))
    run(make_job(), log, FolderStore(tmp_path), engine=SMALL)
    assert "e10" not in ids(log)
    assert {"e8", "e12"} <= set(ids(log))


def test_without_its_snapshots_a_job_rebuilds_itself_from_the_log(tmp_path):
    log, store = MemoryLog(), FolderStore(tmp_path)
    publish(log, [row(i) for i in range(100)])
    run(make_job(), log, store, engine=SMALL)
    before = ids(log)
    store.clear("sums")
    publish(log, [row(i) for i in range(100, 150)])
    run(make_job(), log, store, engine=SMALL)
    assert ids(log)[: len(before)] == before
    other = MemoryLog()
    publish(other, [row(i) for i in range(150)])
    run(make_job(), other, FolderStore(tmp_path / "other"))
    assert rows_of(log, "data.sums") == rows_of(other, "data.sums")


def test_a_step_that_is_not_deterministic_is_refused_on_restart(tmp_path):
    def fickle(state, batch, mood=iter(range(1000))):
        good = make_job().step(state, batch)
        return good if next(mood) < 3 else Effects(good.state)

    log, store = MemoryLog(), FolderStore(tmp_path)
    publish(log, [row(i) for i in range(100)])
    run(make_job(step=fickle), log, store, engine=LocalEngine(max_batch=30))
    store.clear("sums")
    with pytest.raises(IntegrityError, match="emitted differs"):
        run(make_job(step=fickle), log, store)


def test_a_full_disk_is_reported_and_survived(tmp_path):
    class Full(FolderStore):
        def save(self, job, sequence, data):
            raise UnavailableError("a snapshot cannot be kept", fix="Make room.")

    log = MemoryLog()
    publish(log, [row(i) for i in range(100)])
    told = []
    run(make_job(), log, Full(tmp_path), engine=SMALL, report=lambda s: told.append(s["last_error"]))
    assert any("Make room" in error for error in told)
    got = ids(log)
    run(make_job(), log, FolderStore(tmp_path), engine=SMALL, done=iter([False] * 3 + [True]).__next__)
    assert ids(log) == got


@pytest.mark.parametrize(("share", "few"), [(1.0, False), (1e-9, True)])
def test_what_snapshots_take_says_how_often_they_come(tmp_path, monkeypatch, share, few):
    class Counted(FolderStore):
        saved = 0

        def save(self, job, sequence, data):
            self.saved += 1
            super().save(job, sequence, data)

    monkeypatch.setattr(session, "SNAPSHOT_SHARE", share)
    log, store = MemoryLog(), Counted(tmp_path)
    publish(log, [row(i) for i in range(400)])
    run(make_job(), log, store, engine=SMALL)
    assert (store.saved <= 2) == few, "one when it was due first, and one at the end"


def test_two_engines_with_one_job_the_newer_wins(tmp_path):
    log = MemoryLog()
    publish(log, [row(i) for i in range(50)])
    store = FolderStore(tmp_path)

    def takes_over():
        log.writer("tidemill.sums")
        publish(log, [row(50)])
        return False

    with pytest.raises(FencedError):
        run(make_job(), log, store, done=takes_over)


def test_a_broken_connection_is_reported_and_retried(tmp_path):
    log = MemoryLog()
    publish(log, [row(i) for i in range(100)])
    told = []
    faulty = FaultyLog(log, break_at("poll", 3))
    done = lambda: len(records(log, "data.sums")) > 80  # noqa: E731
    log.create("data.sums", TopicSpec())
    run(make_job(), faulty, FolderStore(tmp_path), engine=SMALL, done=done, report=told.append)
    assert any(s["state"] == "waiting" and "connection broke" in s["last_error"] for s in told)
    assert len(ids(log)) == len(set(ids(log)))


def test_a_topic_that_the_broker_does_not_know_for_a_moment_is_waited_for(tmp_path):
    log, told, times = MemoryLog(), [], iter(range(1000))
    publish(log, [row(i) for i in range(100)])

    def hook(point):
        if point == "poll" and next(times) == 3:
            raise NotFoundError("no such topic or partition", where="data.trips/1")

    log.create("data.sums", TopicSpec())
    done = lambda: len(records(log, "data.sums")) > 80  # noqa: E731
    run(make_job(), FaultyLog(log, hook), FolderStore(tmp_path), engine=SMALL, done=done, report=told.append)
    assert any(s["state"] == "waiting" and "no such topic" in s["last_error"] for s in told)
    assert len(ids(log)) == len(set(ids(log)))


def test_a_topic_that_stays_unknown_ends_the_job(tmp_path):
    log = MemoryLog()
    publish(log, [row(i) for i in range(100)])

    def hook(point):
        if point == "poll":
            raise NotFoundError("no such topic or partition", where="data.trips/1")

    with pytest.raises(NotFoundError, match=r"data\.trips/1"):
        run(
            make_job(),
            FaultyLog(log, hook),
            FolderStore(tmp_path),
            engine=LocalEngine(unknown_for=0.5),
            done=lambda: False,
        )


def test_more_partitions_are_refused(tmp_path):
    log, store = MemoryLog(), FolderStore(tmp_path)
    publish(log, [row(i) for i in range(40)])
    run(make_job(), log, store)
    wider = MemoryLog()
    spec = msgspec.structs.replace(SPEC, partitions=3)
    publish(wider, [row(i) for i in range(40)], spec)
    for topic in ("progress.sums",):
        wider.create(topic, TopicSpec())
        for r in records(log, topic):
            wider.writer().send(topic, r.value, partition=0)
    with pytest.raises(IncompatibleError, match="partitions that the job reads changed"):
        run(make_job(), wider, store, streams={"trips": spec})


def test_arrow_blocks_in_and_out_and_the_dead_row_alone(tmp_path):
    def step(state, batch):
        effects = make_job().step(state, batch)
        for event in events_of(batch):
            if event.id == "b7":
                effects.dead.append(DeadRow(event.place, WrongTypeError("no")))
        return effects

    log = MemoryLog()
    log.create(SPEC.topic, SPEC.topic_spec())
    rows = [row(i) for i in range(60)]
    columns = {
        "id": np.array([f"b{i}" for i in range(60)], object),
        "at": np.array([r["at"] for r in rows], np.int64),
        "km": np.array([r["km"] for r in rows]),
        "who": np.array([r["who"] for r in rows], object),
    }
    log.writer().send(SPEC.topic, arrow.encode(columns), headers=[("content-type", ARROW.encode())], partition=0)
    job = make_job(step=step, order=Arrival(), writes=(Output("sums", "data.sums", format="arrow"),))
    run(job, log, FolderStore(tmp_path), arrow_decode=arrow.decode, arrow_encode=arrow.encode)
    (out,) = records(log, "data.sums")
    assert arrow.decode(out.value)["id"].tolist() == [f"b{i}" for i in range(60)]
    (dead,) = records(log, "dead.sums")
    assert dict(dead.headers)["dead_row"] == b"7"
    assert arrow.decode(dead.value)["id"].tolist() == ["b7"]


def test_status_says_where_the_job_stands(tmp_path):
    log = MemoryLog()
    publish(log, [row(i) for i in range(100)])
    told = []
    run(make_job(), log, FolderStore(tmp_path), engine=SMALL, report=told.append)
    last = [s for s in told if s["state"] == "running"][-1]
    assert last.keys() >= {"lag", "events_per_second", "last_commit", "buffered", "watermark", "held_by", "memory"}
    assert json.loads(json.dumps(last)) == last


@pytest.mark.parametrize("order", [EventTime(lateness=20, idle_after=None), Arrival()], ids=["event_time", "arrival"])
@pytest.mark.parametrize("lasting", [True, False])
def test_the_event_that_a_step_raises_on_is_named_among_many(tmp_path, order, lasting):
    """And once the job is mended, or where it passed by itself, all is as if nothing had been."""
    raised = []

    def fails(state, batch):
        for event in events_of(batch):
            if event.id == "e37" and (lasting or not raised):
                raised.append(len(batch))
                raise KeyError("colour")
        return step(state, batch)

    log, calm = MemoryLog(), MemoryLog()
    for each in (log, calm):
        publish(each, [row(i) for i in range(100)])
    run(make_job(order=order), calm, FolderStore(tmp_path / "calm"), publisher=Shelf())
    store, broken = FolderStore(tmp_path / "store"), make_job(order=order, step=fails)
    if lasting:
        with pytest.raises(
            StepError, match=r"job sums: .* raised KeyError: 'colour'; got event 'e37' at data\.trips/1/18"
        ):
            run(broken, log, store, publisher=Shelf())
        assert raised[0] > 1 and raised[1:] == [1]
        broken = make_job(order=order)
    run(broken, log, store, publisher=Shelf())
    if not lasting:
        assert len(raised) == 1
    made, wanted = rows_of(log, "data.sums"), rows_of(calm, "data.sums")
    assert len(made) == len(wanted) > 80
    if isinstance(order, EventTime):  # under arrival the partitions may be read in other turns
        assert made == wanted

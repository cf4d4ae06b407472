"""What counts as a label depends on the event alone, so its count does not depend on how batches are cut."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.memory import MemoryLog
from streams.classifier import online_classifier
from streams.engines.local import LocalEngine
from streams.erasures import Erasures
from streams.intake import Intake
from streams.labels import Labelled
from streams.pipeline import Pipeline, Saved, Source
from streams.state_store import FolderStore
from tests.streams.engines.helpers import Shelf, publish, records, run
from tests.streams.test_classifier import block, column
from tidemill import events
from tidemill import state as states
from tidemill.job import Input
from tidemill.log import Partition, Record
from tidemill.order import Arrival, EventTime
from tidemill.stream import Field, StreamSpec

SPEC = StreamSpec(
    name="trips",
    fields=(Field("id", "string"), Field("at", "time"), Field("km", "float"), Field("late", "bool", nullable=True)),
    time="at",
    id="id",
    time_unit="us",
    partitions=2,
)
N, LATENESS = 90, 20
ORDERS = {"time": EventTime(lateness=LATENESS, idle_after=None), "arrival": Arrival()}


def row(i):
    return {"id": f"e{i}", "at": i * 2 + i % 3, "km": float(i % 5), "late": None if i % 4 == 3 else i % 5 > 2}


def make_job(order="time", **changes):
    given = {"label": "late", "features": ["km"], "version_every": None, "commit_every": 0.01, "order": ORDERS[order]}
    return online_classifier(name="learn", stream="trips", **given | changes)


@pytest.mark.parametrize(
    ("name", "values", "labels"),
    [
        ("of a class or none", column(["yes", None, "no"], np.object_), [True, False, True]),
        ("numbers or none", np.array([0.0, np.nan, 1.0]), [True, False, True]),
        ("any json", column([False, None, [1, 2]], np.object_), [True, False, True]),
        ("never null", np.array([False, True, False]), [True, True, True]),
        ("whole numbers", np.array([0, 1, 2]), [True, True, True]),
    ],
)
def test_an_event_with_a_label_is_one(name, values, labels):
    given = block("s", [1, 2, 3], ["a", "b", "c"], label=values)
    told = Labelled([Input("s", label="label")])
    assert told.mask(given).tolist() == labels and told.mask(given).dtype == np.bool_
    assert told.count(given) == sum(labels)
    for reads in ([Input("s")], [Input("s", label="other")], [Input("t", label="label")]):
        assert Labelled(reads).count(given) == 0 and not Labelled(reads).mask(given).any()
    assert Labelled([Input("labels.s")]).count(block("labels.s", [1, 2], ["a", "b"], about=values[:2])) == 2


PARTS = [Partition(SPEC.topic, n) for n in range(2)]
RECORDS = {
    p: [
        Record(p.topic, p.number, at, None, json.dumps(row(i)).encode(), (), 1_000 + i)
        for at, i in enumerate([*range(p.number, N, 2), N - 2 + p.number])  # the last comes twice
    ]
    for p in PARTS
}


def labels_up_to(order):
    """How many labels are stepped when all is read, and the newest append time among them."""
    mark = N * 9 if order == "arrival" else min(max(row(i)["at"] for i in range(n, N, 2)) for n in range(2)) - LATENESS
    told = [i for i in range(N) if row(i)["at"] < mark and row(i)["late"] is not None]
    return len(told), 1_000 + max(told)


def fed(order, choices, saving):
    job, streams = make_job(order), {"trips": SPEC}
    sources = [Source(p, "trips") for p in PARTS]
    pipeline, at = Pipeline(job, streams, sources), dict.fromkeys(PARTS, 0)
    intake = Intake(job, streams, sources, pipeline, Erasures())
    for which, most, step in [*choices, *[(i, N, True) for i in range(2)]]:
        run = RECORDS[PARTS[which]][at[PARTS[which]] : at[PARTS[which]] + most]
        at[PARTS[which]] += len(run)
        if run:
            intake.take(PARTS[which], run)
        if step:
            pipeline.step()
            if saving:
                data = states.encode(pipeline.snapshot())
                pipeline = Pipeline(job, streams, sources)
                pipeline.restore(states.decode(data, Saved))
                intake = Intake(job, streams, sources, pipeline, Erasures())
    return pipeline


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 30), st.booleans()), max_size=12), st.booleans())
def test_however_the_events_are_cut_their_labels_are_as_many(order, choices, saving):
    pipeline = fed(order, choices, saving)
    assert pipeline.counts.labels == labels_up_to(order)[0]


def test_the_append_time_is_that_of_the_newest_label_and_not_of_an_event_without():
    pipeline = fed("arrival", [(n, 1, True) for _ in range(N) for n in range(2)], False)
    assert pipeline.labelled == labels_up_to("arrival")[1] == 1_000 + N - 1
    whole = fed("arrival", [], False)
    assert whole.labelled == pipeline.labelled
    silent = [r for r in RECORDS[PARTS[1]] if json.loads(r.value)["late"] is None]
    one, two = [r for r in RECORDS[PARTS[1]] if r not in silent][:2]
    job, sources = make_job("arrival"), [Source(PARTS[1], "trips")]
    pipeline = Pipeline(job, {"trips": SPEC}, sources)
    Intake(job, {"trips": SPEC}, sources, pipeline, Erasures()).take(PARTS[1], [one, two, *silent])
    pipeline.step()
    assert (pipeline.counts.labels, pipeline.labelled) == (2, two.timestamp)


def test_what_one_pipeline_admits_and_another_steps_counts_there():
    """As under Flink: the gate of a partition admits, a shard steps."""
    job, streams = make_job(), {"trips": SPEC}
    shard = Pipeline(job, streams, [Source(p, "trips") for p in PARTS])
    for p in PARTS:
        gate = Pipeline(job, streams, [Source(p, "trips")])
        Intake(job, streams, [Source(p, "trips")], gate, Erasures()).take(p, RECORDS[p])
        blocks, labels = gate.drain()
        assert gate.counts.labels == 0
        shard.receive(p, gate.clocks[p], blocks, labels)
    shard.step()
    assert shard.counts.labels == labels_up_to("time")[0]


@pytest.mark.parametrize("order", ORDERS)
def test_deltas_and_the_status_say_how_many_and_when(tmp_path, order):
    log, store, job = MemoryLog(), FolderStore(tmp_path), make_job(order)
    small, given = LocalEngine(max_batch=30, snapshot_every=0), {"streams": {"trips": SPEC}, "publisher": Shelf()}
    for first, more in ((0, 60), (60, 90)):
        publish(log, [row(i) for i in range(first, more)], SPEC)
        status = run(job, log, store, engine=small, **given)
        store.clear(job.name)  # what comes after is rebuilt by silent replay
    deltas = [events.decode(r.value) for r in records(log, "deltas.learn")]
    assert status["labels"] == deltas[-1].labels == labels_up_to(order)[0]
    assert [d.labels for d in deltas] == sorted({d.labels for d in deltas})
    appended = {r.timestamp for r in records(log, SPEC.topic) if json.loads(r.value)["late"] is not None}
    assert {d.labelled for d in deltas} <= appended

"""A job that classifies events on its live graph: the laws, what it sees and when, and who is refused."""

from contextlib import nullcontext
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from connectors.memory import MemoryLog
from graph.mapping import EdgeFrom, GraphSpec, NodeFrom
from graph.relation import NodeType, Relation
from streams.engines.local import LocalEngine
from streams.state_store import FolderStore
from streams.stats import Running, rate
from tests.streams.engines.helpers import Shelf, rows_of, run
from tidemill.block import Block
from tidemill.checks.jobs import CHECKS, Subject
from tidemill.cloudevents import headers_of
from tidemill.errors import SubmissionError
from tidemill.events import TimeAdvanced, encode
from tidemill.order import Arrival, Batch, EventTime
from tidemill.state import content_digest, decode
from tidemill.state import encode as states_encode
from tidemill.stream import Field, StreamSpec, label_stream
from training.graph_classifier import Outcome, graph_classifier

TRIPS = StreamSpec(
    name="trips",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        Field("who", "string", nullable=True),
        Field("origin", "int"),
        Field("dest", "int"),
        Field("km", "float", nullable=True),
        Field("late", "int", nullable=True),
    ),
    id="id",
    time="at",
    key="who",
)
WEATHER = StreamSpec(
    name="weather", fields=(Field("at", "time"), Field("place", "int"), Field("rain", "float")), time="at"
)
STREAMS = {"trips": TRIPS, "weather": WEATHER, "labels.trips": label_stream("trips")}
NODES = [NodeType("place", ("rain",)), "person"]
RELATIONS = [
    Relation("road", "place", "place", ("km",)),
    Relation("leaves", "person", "place"),
    Relation("came", "place", "place", ("late",)),
    Relation("brought", "person", "place", ("late",)),
]
RULES = [
    EdgeFrom("leaves", "trips", "who", "origin", optional=True),
    EdgeFrom("road", "trips", "origin", "dest"),
    NodeFrom("place", "weather", "place"),
]


def make(**changes):
    settings = {
        "name": "late",
        "spec": GraphSpec(nodes=NODES, relations=RELATIONS, rules=RULES),
        "stream": "trips",
        "seeds": {"origin": "place", "dest": "place", "who": "person"},
        "features": ["km"],
        "outcomes": [Outcome("came", "origin", "dest"), Outcome("brought", "who", "dest")],
        "positive": 1,
        "k": 3,
        "batch": 7,
        "replay": 5,
        "kept": 40,
        "timeout": 60.0,
        "corrections": 20.0,
        "max_waiting": 50,
        "metrics_every": 30,
        "version_every": 50,
        "scales": (60.0, 3600.0),
    }
    return graph_classifier(**settings | changes)


def rates(event, known):
    return [float(event["origin"]), rate(known.get("place", str(event["dest"])), 0.3, 5.0)]


VARIANTS = {
    "labels": {},
    "two hops": {"hops": 2, "k": 2},
    "one seed": {"seeds": {"dest": "place"}, "outcomes": [Outcome("came", "dest", "dest")]},
    "a field": {"label": "late", "outcomes": [Outcome("came", "origin", "dest")]},
    "tables": {
        "features": rates,
        "feature_names": ["origin", "late_dest"],
        "tables": [Running("place", ("dest",))],
        "along": [("who", "brought", "out"), ("dest", "came", "in")],
    },
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_job_and_its_copy_keep_the_laws(variant, check):
    job = make(**VARIANTS[variant])
    for one in (job, job.endpoint.replica):
        check(one, Subject("late", one, STREAMS).batch(rows=100))


START = 1_600_000_000 * 1_000_000


def events(spec, rows):
    """Rows of (seconds, id, fields…) as a block."""
    names = [f.name for f in spec.fields if f.name not in ("id", "at", "time")]
    time = np.array([START + row[0] * 1_000_000 for row in rows])
    ids, sources = (np.array(c, object) for c in ([row[1] for row in rows], [spec.source] * len(rows)))
    columns = {}
    for i, name in enumerate(names):
        values = [row[2 + i] if 2 + i < len(row) else None for row in rows]
        floats = name in ("km", "rain")
        columns[name] = np.array([np.nan if v is None else v for v in values]) if floats else np.array(values, object)
    for field in spec.fields:
        if field.type == "int" and not field.nullable:
            columns[field.name] = columns[field.name].astype(np.int64)
    columns |= {spec.time: time} if spec.time in [f.name for f in spec.fields] else {}
    zeros = np.zeros(len(rows), np.int32)
    places = np.arange(len(rows), dtype=np.int64)
    return Block(spec.name, spec.topic, time, ids, sources, zeros, places, zeros, columns)


def trip(at, id, who="ann", origin=1, dest=2, km=5.0):
    return (at, id, who, origin, dest, km, None)


def stepped(job, trips, labels=()):
    blocks = [events(TRIPS, trips)]
    if labels:
        blocks.append(
            events(label_stream("trips"), [(at, f"l{i}", about, value) for i, (at, about, value) in enumerate(labels)])
        )
    return job.step(job.init(), Batch.sort(blocks))


def test_an_outcome_is_an_edge_from_its_labels_time_on():
    trips = [trip(0, "a"), trip(5, "b", who=None), trip(6, "c", origin=3)]
    done = stepped(make(), trips, [(10, "a", 1), (12, "b", 0)])
    graph = done.state.graph
    assert not done.dead and graph.count("came") == 2 and graph.count("brought") == 1
    source, target, time, late = graph.edges("came", np.arange(2))
    assert graph.ids("place", source) == [1, 1] and graph.ids("place", target) == [2, 2]
    assert time.tolist() == [START + 10_000_000, START + 12_000_000] and late.tolist() == [[1.0], [0.0]]


def test_a_copy_grows_the_same_graph():
    job = make()
    batch = Subject("late", job, STREAMS).batch(rows=200)
    mine, copied = (one.step(one.init(), batch) for one in (job, job.endpoint.replica))
    assert copied.state.graph.digest() == mine.state.graph.digest() and mine.state.graph.count("came") > 20
    assert {d.place for d in copied.dead} == {d.place for d in mine.dead} and not copied.versions
    assert copied.state.learner.steps == 0 and mine.state.learner.steps > 5
    # As from a snapshot of the job's, of which it leaves the learner as it was.
    halves = batch.cut([len(batch) // 2])
    state = decode(states_encode(job.step(job.init(), halves[0]).state), job.endpoint.replica.state)
    learned = state.learner.steps
    again = job.endpoint.replica.step(state, halves[1]).state
    assert again.graph.digest() == mine.state.graph.digest() and again.learner.steps == learned > 0


def test_no_label_of_then_or_later_is_seen():
    """Predictions are the same when everything from their time on is otherwise."""
    trips = [trip(i, f"t{i}", who=f"w{i % 3}", origin=i % 4, dest=(i + 1) % 4, km=float(i % 5)) for i in range(120)]
    labels = [(i + 3, f"t{i}", int(i % 2)) for i in range(120)]
    cut = 80

    def scores(changed):
        effects = stepped(make(drift=None), trips, changed)
        rows = next(r for r in effects.emit if r.output == "predictions")
        return dict(zip(rows.columns["about"], rows.columns["score"], strict=True))

    want = scores(labels)
    got = scores([(at, about, value if at < cut else 1 - value) for at, about, value in labels])
    assert all(got[f"t{i}"] == want[f"t{i}"] for i in range(cut)) and len(set(want.values())) > 40
    assert any(got[f"t{i}"] != want[f"t{i}"] for i in range(cut, 120))


def test_what_cannot_be_used_is_refused_once():
    trips = [trip(0, "a"), (1, "b", "ann", 1, 2, None, None), trip(2, "c")]
    done = stepped(make(), trips)
    assert [d.place.offset for d in done.dead] == [1]
    rows = next(r for r in done.emit if r.output == "predictions")
    assert list(rows.columns["about"]) == ["a", "c"]


def test_it_asks_for_seeds_and_features():
    job = make()
    asked = job.endpoint.asked({"origin": 3, "dest": 4, "who": None, "km": 1.0})
    assert asked == {"origin": 3, "dest": 4, "who": ""} and job.endpoint.feature_names == ("km",)
    content = job.live.models(job.init())["late"]
    assert content.kind == "graph.class_question:ClassQuestion"
    assert job.endpoint.needs == {"km", "origin", "dest", "who"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"order": Arrival()}, "as of an event's time"),
        ({"spec": GraphSpec(nodes=NODES, relations=RELATIONS, rules=RULES, ttl=60.0)}, "as of their own time"),
        ({"outcomes": [Outcome("road", "origin", "dest")]}, "an outcome that does not fit"),
        ({"outcomes": [Outcome("came", "origin", "who")]}, "an outcome that does not fit"),
        ({"seeds": {"km": "place"}, "outcomes": []}, "not made a node"),
        ({"seeds": {"origin": "person"}, "outcomes": []}, "not made a node"),
        ({"seeds": {"time": "place"}, "outcomes": []}, "another input of the model"),
        ({"seeds": {"origin": "ghost"}, "outcomes": []}, "no such node type"),
        ({"along": [("origin", "leaves", "out")]}, "no such view"),
        ({"endpoint": "late"}, "one name"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, why):
    with pytest.raises(SubmissionError, match=why):
        make(**changes)


def test_a_seed_that_only_an_optional_rule_makes_needs_its_other_end():
    rules = [EdgeFrom("road", "trips", "origin", "dest", optional=True), NodeFrom("place", "weather", "place")]
    spec = GraphSpec(nodes=NODES, relations=RELATIONS, rules=rules)
    with pytest.raises(SubmissionError, match="not made a node"):
        make(spec=spec, seeds={"origin": "place", "dest": "place"}, outcomes=[])


def written(log, n=400):
    """Trips and their labels in a log, complete at the end."""
    rng = np.random.default_rng(4)
    for spec in STREAMS.values():
        log.create(spec.topic, spec.topic_spec())
    writer = log.writer()
    for i in range(n):
        at = START + i * 1_000_000
        who, origin, dest = f"w{rng.integers(5)}", *rng.integers(0, 6, 2).tolist()
        row = {"id": f"t{i}", "at": at, "who": who, "origin": origin, "dest": dest, "km": float(i % 7), "late": None}
        writer.send("data.trips", msgspec.json.encode(row))
        if i >= 5:
            label = {"type": "label.given.v1", "id": f"l{i}", "time": at, "source": "/t"}
            label |= {"about": f"t{i - 5}", "value": int((i + origin) % 2)}
            writer.send("labels.trips", msgspec.json.encode(label))
    for spec in STREAMS.values():
        event = TimeAdvanced(id=spec.name, time=START + 10**12, source="/t", promise=True)
        writer.send(spec.topic, encode(event), headers=headers_of(event), partition=0)
    writer.flush()
    writer.close()
    return log


def followed(tmp_path, name, dies=(), every=1e9):
    """What a run gave that died before these steps, each a process of its own: its versions and predictions."""
    log, shelf = written(MemoryLog()), Shelf()
    streams = {n: msgspec.structs.replace(s, time_unit="us") for n, s in STREAMS.items()}
    for step in (*dies, None):
        left = [step]

        job = make(commit_every=0.001, order=EventTime(idle_after=None))

        def dying(state, batch, left=left, job=job):
            effects = job.step(state, batch)  # what it changed in the state is lost
            if left[0] is not None and len(batch):
                left[0] -= 1
                if left[0] < 0:
                    raise MemoryError("killed")
            return effects

        parts = {"streams": streams, "publisher": shelf}
        with pytest.raises(MemoryError) if step is not None else nullcontext():
            run(
                replace(job, step=dying),
                log,
                FolderStore(tmp_path / name),
                engine=LocalEngine(max_batch=20, snapshot_every=every),
                **parts,
            )
    cuts = [(cut.number, content_digest(cut.content)) for cut, _, _ in shelf.versions.values()]
    return cuts, [(r["about"], r["score"]) for r in rows_of(log, "predictions.late")]


def test_a_run_that_died_again_and_again_gives_the_same_model(tmp_path):
    whole = followed(tmp_path, "whole")
    assert len(whole[0]) >= 5 and len(whole[1]) == 400 and len({score for _, score in whole[1]}) > 200
    for every in (1e9, 0.0):  # made anew from the log, and from states that were saved
        assert followed(tmp_path, f"died-{every}", (3, 2, 7), every) == whole

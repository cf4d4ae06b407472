"""Events become nodes and edges; what cannot is named, and the graph does not hang on how events come in blocks."""

import dataclasses

import numpy as np
import pytest

from graph.job import graph_job
from graph.mapping import BarrierFrom, EdgeFrom, ExpertFrom, GraphSpec, NodeFrom, RetractionFrom
from graph.relation import NodeType, Relation
from tidemill.block import Block, column
from tidemill.checks.jobs import CHECKS, Subject
from tidemill.errors import SubmissionError, UserError
from tidemill.order import Batch
from tidemill.stream import Field, StreamSpec

TRIPS = StreamSpec(
    name="trips",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        Field("who", "string", nullable=True),
        Field("origin", "int"),
        Field("dest", "int", nullable=True),
        Field("km", "float", nullable=True),
    ),
    id="id",
    time="at",
    key="who",
)
ENDS = StreamSpec(
    name="ends",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        Field("origin", "int"),
        Field("dest", "int"),
        Field("began", "time", nullable=True),
    ),
    id="id",
    time="at",
)
SAID = StreamSpec(
    name="said",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        Field("origin", "int"),
        Field("dest", "int"),
        Field("verdict", "string", nullable=True),
        Field("weight", "float", nullable=True),
        Field("km", "float", nullable=True),
    ),
    id="id",
    time="at",
)
STREAMS = {"trips": TRIPS, "ends": ENDS, "said": SAID}
SPEC = GraphSpec(
    nodes=[NodeType("place", ("km",)), "person"],
    relations=[
        Relation("road", "place", "place", ("km",)),
        Relation("was", "person", "place"),
        Relation("to", "person", "place"),
    ],
    rules=[
        EdgeFrom("to", "trips", "who", "dest", optional=True),
        EdgeFrom("road", "trips", "origin", "dest"),
        EdgeFrom("was", "trips", "who", "origin", optional=True),
        NodeFrom("place", "trips", "origin"),
        RetractionFrom("road", "ends", "origin", "dest"),
        EdgeFrom("road", "trips", "dest", "origin"),
    ],
)


def block(spec, rows, first=0):
    """Rows of a stream's own fields; the time is the row's number in seconds."""
    n = len(rows)
    times = np.arange(first, first + n, dtype=np.int64) * 1_000_000
    names = [f.name for f in spec.fields if f.name not in ("id", "at")]
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    kinds = {
        f.name: np.float64 if f.type == "float" else np.int64 if f.type == "int" and not f.nullable else np.object_
        for f in spec.fields
    }
    ids = column([f"{spec.name}{first + i}" for i in range(n)], np.object_)
    values = {name: column(v, kinds[name]) for name, v in columns.items()}
    zeros = np.zeros(n, np.int32)
    return Block(
        spec.name,
        spec.topic,
        times,
        ids,
        ids,
        zeros,
        np.arange(first, first + n),
        zeros,
        values | {"id": ids, "at": times},
    )


def sample(seed):
    """Trips and ends with what no rule can use among them."""
    rng = np.random.default_rng(seed)
    trips = [
        (
            None if rng.random() < 0.2 else f"p{rng.integers(6)}",
            int(rng.integers(8)),
            None if rng.random() < 0.1 else int(rng.integers(8)),
            float("nan") if rng.random() < 0.1 else float(rng.integers(100)),
        )
        for _ in range(200)
    ]
    ends = [(int(rng.integers(8)), int(rng.integers(8)), None) for _ in range(60)]
    a, b = block(TRIPS, trips), block(ENDS, ends)
    b.time[:] = rng.integers(0, 200, 60) * 1_000_000
    return [a, b]


EXPERTS = GraphSpec(
    nodes=SPEC.nodes,
    relations=SPEC.relations,
    rules=[*SPEC.rules[:5], ExpertFrom("road", "said", "origin", "dest", "verdict", "weight")],
)


WEIGHTED = GraphSpec(
    nodes=SPEC.nodes,
    relations=[*SPEC.relations[:2], Relation("to", "person", "place", weighted=True)],
    rules=[EdgeFrom("to", "trips", "who", "dest", optional=True, weight="km"), *SPEC.rules[1:5]],
)


def verdicts(seed):
    """Trips, ends, and what experts say of them, some of which cannot be used."""
    rng = np.random.default_rng(seed)
    said = [
        (
            int(rng.integers(8)),
            int(rng.integers(8)),
            [*("assert", "forbid", "weight", "revoke") * 3, "doubt", None][rng.integers(14)],
            [2.5, 0.0, -1.0, None][rng.integers(4)],
            None if rng.random() < 0.2 else 7.0,
        )
        for _ in range(80)
    ]
    told = block(SAID, said)
    told.time[:] = rng.integers(0, 200, 80) * 1_000_000
    return [*sample(seed), told]


def job(**changes):
    return graph_job(**{"name": "roads", "spec": SPEC, "metrics_every": 37} | changes)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_job_keeps_the_laws(check):
    made = job()
    check(made, Subject("roads", made, STREAMS, sample).batch())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_job_keeps_the_laws_with_blocks_of_many_rules_and_a_time_to_live(check):
    spec = GraphSpec(nodes=SPEC.nodes, relations=SPEC.relations, rules=SPEC.rules[:5], ttl=40)
    made = job(spec=spec)
    check(made, Subject("roads", made, STREAMS, sample).batch())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_job_keeps_the_laws_with_weights(check):
    made = job(spec=WEIGHTED)
    check(made, Subject("roads", made, STREAMS, sample).batch())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_job_keeps_the_laws_with_experts(check):
    made = job(spec=EXPERTS)
    check(made, Subject("roads", made, STREAMS, verdicts).batch())


def test_experts_verdicts_are_what_is_in_the_graph():
    graph = EXPERTS.graph()
    EXPERTS.take(graph, Batch.of([block(TRIPS, [("ann", 1, 2, 5.0), ("ann", 1, 4, 5.0)])]))
    said = [
        (1, 2, "forbid", None, None),
        (1, 3, "assert", None, 8.5),
        (1, 4, "weight", 0.25, None),
        (1, 2, "revoke", None, None),
    ]
    assert EXPERTS.take(graph, Batch.of([block(SAID, said, first=10)])) == []
    number = graph.numbers("place", [1])
    seen = []
    for at in (10, 12, 14):
        near = graph.neighbours("road", number, at * 1_000_000 - 1, 5)
        edges = near.edges[0, : near.counts[0]]
        ids, weights = graph.ids("place", near.nodes[0, : len(edges)]), graph.weights("road", edges, at * 1_000_000)
        seen.append((ids, graph.edges("road", edges)[3][:, 0].tolist(), weights.tolist()))
    assert seen == [
        ([4, 2], [5.0, 5.0], [1.0, 1.0]),
        ([3, 4], [8.5, 5.0], [1.0, 1.0]),
        ([3, 4, 2], [8.5, 5.0, 5.0], [1.0, 0.25, 1.0]),
    ]


def test_a_verdict_that_cannot_be_used_is_named():
    graph = EXPERTS.graph()
    said = [
        (1, 2, "doubt", None, 1.0),
        (1, 2, None, None, 1.0),
        (1, 2, "weight", None, None),
        (1, 2, "weight", -0.5, None),
        (1, 2, "weight", float("nan"), None),
        (1, 2, "weight", float("inf"), None),
        (1, 2, "assert", None, None),
        (1, 2, "forbid", -1.0, None),
    ]
    dead = EXPERTS.take(graph, Batch.of([block(SAID, said)]))
    wrong, infinite = "WrongTypeError", "NotFiniteError"
    assert [(d.place.offset, type(d.error).__name__, d.error.field) for d in dead] == [
        (0, wrong, "verdict"),
        (1, wrong, "verdict"),
        (2, infinite, "weight"),
        (3, infinite, "weight"),
        (4, infinite, "weight"),
        (5, infinite, "weight"),
        (6, infinite, "km"),
    ]
    assert graph.said("road", *graph.numbers("place", [1, 2]).reshape(2, 1), 9_000_000)[0].tolist() == [True]
    rules = [EdgeFrom("to", "trips", "who", "dest"), ExpertFrom("to", "said", "origin", "dest", "verdict")]
    spec = GraphSpec(nodes=SPEC.nodes, relations=SPEC.relations, rules=rules)
    ((row,), names) = spec.take(spec.graph(), Batch.of([block(SAID, said[3:4])])), dict(spec.reads[1].fields)
    assert (row.error.field, names.keys()) == ("verdict", {"origin", "dest", "verdict"})


def test_what_events_say_is_what_is_in_the_graph():
    spec = GraphSpec(nodes=SPEC.nodes, relations=SPEC.relations, rules=SPEC.rules[:5])
    graph = spec.graph()
    rows = [("ann", 1, 2, 5.0), (None, 2, 1, 7.5), ("bob", 1, 3, 1.0)]
    assert spec.take(graph, Batch.of([block(TRIPS, rows)])) == []
    assert graph.nodes["place"].ids() == [2, 1, 3] and graph.nodes["person"].ids() == ["ann", "bob"]
    near = graph.neighbours("road", graph.numbers("place", [1]), 10_000_000, 5)
    assert near.nodes[0, :2].tolist() == graph.numbers("place", [3, 2]).tolist()
    assert graph.edges("road", near.edges[0, :2])[3].tolist() == [[1.0], [5.0]]
    assert graph.count("was") == 2
    assert graph.features("place", graph.numbers("place", [1, 2, 3]), 2_000_000)[:, 0].tolist()[:2] == [5.0, 7.5]
    spec.take(graph, Batch.of([block(ENDS, [(1, 3, None)], first=50)]))
    near = graph.neighbours("road", graph.numbers("place", [1]), 60_000_000, 5)
    assert near.nodes[0].tolist() == [*graph.numbers("place", [2]).tolist(), -1, -1, -1, -1]


def test_one_edge_of_a_time_is_ended_where_the_time_is_said():
    rules = [EdgeFrom("road", "trips", "origin", "dest"), RetractionFrom("road", "ends", "origin", "dest", "began")]
    spec = GraphSpec(nodes=SPEC.nodes, relations=SPEC.relations, rules=rules)
    graph = spec.graph()
    spec.take(graph, Batch.of([block(TRIPS, [("a", 1, 2, 1.0), ("a", 1, 2, 2.0), ("a", 1, 2, 3.0)])]))
    dead = spec.take(graph, Batch.of([block(ENDS, [(1, 2, 1_000_000), (1, 2, None)], first=9)]))
    near = graph.neighbours("road", graph.numbers("place", [1]), 60_000_000, 5)
    assert near.times[0].tolist() == [2_000_000, 0, -1, -1, -1]
    assert [(d.place.offset, d.error.field) for d in dead] == [(10, "began")]


def test_what_no_rule_can_use_is_named_and_leaves_nothing():
    spec = GraphSpec(nodes=SPEC.nodes, relations=SPEC.relations, rules=SPEC.rules[:4])
    graph = spec.graph()
    rows = [
        ("ann", 1, None, 5.0),
        ("ann", 2, 3, float("nan")),
        ("ann", 2, 3, 1e300),
        ("ann", 2, True, 1.0),
        ("ann", 4, 5, 1.0),
    ]
    dead = spec.take(graph, Batch.of([block(TRIPS, rows)]))
    said = [(d.place.offset, type(d.error).__name__, d.error.field) for d in dead]
    wrong, infinite = "WrongTypeError", "NotFiniteError"
    assert said == [(0, wrong, "dest"), (1, infinite, "km"), (2, infinite, "km"), (3, wrong, "dest")]
    assert graph.nodes["place"].ids() == [5, 4]
    assert (graph.count("road"), graph.count("was")) == (1, 1)


def test_a_weight_is_a_field_of_the_event_and_one_that_cannot_be_is_named():
    graph = WEIGHTED.graph()
    kms = [5.0, 0.0, -1.0, float("nan"), float("inf"), None, 1e-300]
    dead = WEIGHTED.take(graph, Batch.of([block(TRIPS, [("ann", 1, 2, km) for km in kms])]))
    # All but the first and the last, of which the feature of the same name could not be kept either.
    assert [(d.place.offset, type(d.error).__name__, d.error.field) for d in dead] == [
        (i, "NotFiniteError", "km") for i in range(1, 6)
    ]
    assert "above 0" in str(dead[0].error) and "got 0.0" in str(dead[0].error)
    assert graph.weights("to", np.arange(2), 9_000_000).tolist() == [5.0, 1e-300]
    assert dict(WEIGHTED.reads[0].types) == {"km": "number"} and "km" in dict(WEIGHTED.reads[0].fields)
    again = WEIGHTED.graph()
    again.load_state(graph.state())
    assert again.digest() == graph.digest()
    plain = {k: v for k, v in graph.params()["relations"][2].items() if k != "weighted"}
    assert plain | {"name": "was"} == graph.params()["relations"][1]  # what was kept before there were weights fits


def test_an_event_passes_the_barrier_that_it_names():
    rules = [EdgeFrom("to", "trips", "who", "dest", optional=True), BarrierFrom("trips", "who")]
    spec = GraphSpec(nodes=SPEC.nodes, relations=SPEC.relations, rules=rules)
    graph = spec.graph()
    rows = [("one", 1, 2, None), (None, 1, 2, None), ("", 1, 2, None), ("two", 1, 2, None), ("x" * 257, 1, 2, None)]
    dead = spec.take(graph, Batch.of([block(TRIPS, rows)]))
    assert [(d.place.offset, type(d.error).__name__, d.error.field) for d in dead] == [
        (i, "WrongTypeError", "who") for i in (1, 2, 4)
    ]
    assert graph.barriers == ["one", "two"] and graph.count("to") == 2 and not graph.reached("three")
    assert [name for name, _ in spec.reads[0].fields] == ["who", "dest", "who"]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_job_keeps_the_laws_with_barriers(check):
    made = job(spec=dataclasses.replace(SPEC, rules=[*SPEC.rules, BarrierFrom("trips", "who")]))
    check(made, Subject("roads", made, STREAMS, sample).batch())


def test_growth_is_told_every_so_many_events():
    made = job()
    batch = Subject("roads", made, STREAMS, sample).batch()
    effects = made.step(made.init(), batch)
    counts = [rows.columns["count"][0] for rows in effects.emit]
    assert counts == list(range(37, len(batch) + 1, 37))
    values = effects.emit[-1].columns["values"][0]
    assert values["nodes.place"] == 8.0 and values["edges.road"] > 200 and set(values) >= {"living.was", "nodes.person"}


def test_what_does_not_fit_is_refused():
    relations = [Relation("road", "place", "place")]
    for error, text, make in (
        (
            SubmissionError,
            "for what is not there",
            lambda: GraphSpec(["place"], relations, [EdgeFrom("rail", "s", "a", "b")]),
        ),
        (
            SubmissionError,
            "for what is not there",
            lambda: GraphSpec(["place"], relations, [NodeFrom("town", "s", "a")]),
        ),
        (SubmissionError, "without features", lambda: GraphSpec(["place"], relations, [NodeFrom("place", "s", "a")])),
        (SubmissionError, "at least one rule", lambda: GraphSpec(["place"], relations, [])),
        (UserError, "no such node type", lambda: GraphSpec(["town"], relations, [])),
        (
            SubmissionError,
            "a weight for edges that have none",
            lambda: GraphSpec(["place"], relations, [EdgeFrom("road", "s", "a", "b", weight="w")]),
        ),
        (SubmissionError, "metrics_every", lambda: job(metrics_every=0)),
    ):
        with pytest.raises(error, match=text):
            make()


def test_a_job_says_which_fields_it_reads():
    reads = {i.stream: i for i in SPEC.reads}
    assert {name for name, _ in reads["trips"].fields} == {"origin", "dest", "km", "who"}
    assert dict(reads["trips"].types) == {"km": "number"}
    assert {name for name, _ in reads["ends"].fields} == {"origin", "dest"}


def test_an_optional_edge_that_is_none_makes_no_node_however_events_are_cut():
    relations = [Relation("road", "place", "place"), Relation("to", "person", "place")]
    rules = [EdgeFrom("road", "trips", "origin", "origin"), EdgeFrom("to", "trips", "who", "dest", optional=True)]
    spec = GraphSpec(nodes=["place", "person"], relations=relations, rules=rules)
    rows = block(TRIPS, [(None, 1, 77, 1.0), ("ann", 2, 3, 1.0)])
    whole, cut = spec.graph(), spec.graph()
    spec.take(whole, Batch.of([rows]))
    for i in range(2):
        spec.take(cut, Batch.of([rows.take(slice(i, i + 1))]))
    assert whole.digest() == cut.digest()
    assert 77 not in whole.ids("place")


def test_ids_that_no_node_can_have_are_named():
    spec = GraphSpec(nodes=SPEC.nodes, relations=SPEC.relations, rules=SPEC.rules[:1])
    rows = block(TRIPS, [("\ud800", 1, 2, 1.0), ("ann", 1, 1 << 70, 1.0), ("ann", 1, 2, 1.0)])
    graph = spec.graph()
    assert [(d.place.offset, d.error.field) for d in spec.take(graph, Batch.of([rows]))] == [(0, "who"), (1, "dest")]
    assert graph.count("to") == 1

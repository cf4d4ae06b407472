"""The job that learns which edges appear: the laws, what it tells of each edge, and a copy that grows the same past."""

import numpy as np
import pytest

from graph.link_job import METRICS, PREDICTIONS, LinkJob, LinkState, link_job
from graph.link_model import LinkModel
from graph.link_question import LinkQuestion
from graph.mapping import EdgeFrom, GraphSpec, NodeFrom, RetractionFrom
from tests.graph.test_mapping import ENDS, SPEC, STREAMS, TRIPS, block, sample
from tidemill.block import rows_of
from tidemill.checks.jobs import CHECKS, Subject
from tidemill.errors import ConfigError, IncompatibleError, SubmissionError
from tidemill.order import Arrival, Batch
from tidemill.state import decode, encode

BOTH_WAYS = (EdgeFrom("road", "trips", "origin", "dest"), EdgeFrom("road", "trips", "dest", "origin"))


def spec(*rules):
    return GraphSpec(nodes=SPEC.nodes, relations=SPEC.relations, rules=list(rules))


ONE = spec(EdgeFrom("road", "trips", "origin", "dest"))
TWO = spec(*BOTH_WAYS)
BIPARTITE = spec(EdgeFrom("to", "trips", "who", "dest", optional=True))
MANY = spec(*SPEC.rules)


def made(what=ONE, relation="road", **changes):
    settings = {"name": "roads", "spec": what, "relation": relation, "negatives": 5, "metrics_every": 7}
    return LinkJob(**settings | {"version_every": 23} | changes)


def events(n=120, nodes=15, seed=0):
    rng = np.random.default_rng(seed)
    rows = [(f"p{rng.integers(6)}", int(rng.integers(nodes)), int(rng.integers(nodes)), 1.0) for _ in range(n)]
    return block(TRIPS, rows)


def played(job, whole, sizes):
    """The batch in pieces of these sizes by turns: the state, rows by output, and cuts."""
    state, rows, cuts, at, turn = job.init(), {PREDICTIONS: [], METRICS: []}, [], 0, 0
    while at < len(whole):
        upto = min(at + sizes[turn % len(sizes)], len(whole))
        effects = job.step(state, whole.take(np.arange(at, upto)))
        state = effects.state
        for out in effects.emit:
            rows[out.output] += rows_of({"id": out.ids, "time": out.time, **out.columns}, len(out))
        cuts += effects.versions
        at, turn = upto, turn + 1
    return state, rows, cuts


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("what", "relation"),
    [(ONE, "road"), (TWO, "road"), (BIPARTITE, "to"), (MANY, "road"), (MANY, "was")],
    ids=["one edge", "both ways", "two types", "many rules", "another of many"],
)
def test_the_job_keeps_the_laws(check, what, relation):
    job = made(what, relation).job()
    check(job, Subject("roads", job, STREAMS, sample).batch())


def test_versions_and_measurements_come_after_the_same_edges_however_cut():
    job, whole = made().job(), Batch.of([events(200)])
    _, rows, cuts = played(job, whole, [200])
    assert [(cut.number, int(cut.last[0])) for cut in cuts] == [
        (n, int(whole.time[23 * n - 1])) for n in range(1, 200 // 23 + 1)
    ]
    assert [row["id"] for row in rows[METRICS]] == [f"roads/{7 * n}" for n in range(1, 200 // 7 + 1)]
    for sizes in ([1], [3, 50], [23], [22, 1, 1]):
        _, again, other = played(job, whole, sizes)
        assert encode(again) == encode(rows)
        assert encode([vars(cut) for cut in other]) == encode([vars(cut) for cut in cuts])


@pytest.mark.parametrize(("what", "relation"), [(ONE, "road"), (BIPARTITE, "to")], ids=["one type", "two types"])
def test_each_edge_is_predicted_as_the_model_follows_it(what, relation):
    job, trips = made(what, relation, seed=3).job(), events(150)
    state, rows, cuts = played(job, Batch.of([trips]), [40])
    rule = what.rules[0]
    graph = what.graph()
    what.take(graph, Batch.of([trips]))
    it = graph.relations[relation]
    src = graph.numbers(it.source, trips.columns[rule.source].tolist())
    dst = graph.numbers(it.target, trips.columns[rule.target].tolist())
    if relation == "to":
        src, dst = 2 * src, 2 * dst + 1
    model = LinkModel(negatives=5, seed=3, bipartite=relation == "to")
    told = model.follow(src, dst, trips.time / 1e6)
    assert [row["score"] for row in rows[PREDICTIONS]] == told.share.tolist()
    wanted = np.stack([(told.rank - 1) / 5, told.share], axis=1).tolist()
    assert [row["outputs"] for row in rows[PREDICTIONS]] == wanted
    assert [row["about"] for row in rows[PREDICTIONS]] == trips.ids.tolist()
    assert [row["id"] for row in rows[PREDICTIONS]] == [f"{id}/{id}#{i}" for i, id in enumerate(trips.ids)]
    versions = [str(i // 23) if i >= 23 else "" for i in range(150)]
    assert [row["version"] for row in rows[PREDICTIONS]] == versions
    assert encode(state.links.state()) == encode(model.state())
    # The measurements: means since the last version.
    for row in rows[METRICS]:
        upto = int(row["id"].partition("/")[2])
        since = slice((upto - 1) // 23 * 23, upto)
        assert row["count"] == upto - since.start
        values = {"mrr": 1 / told.rank[since], "mrr_mix": 1 / told.mix_rank[since], "share": told.share[since]}
        values |= {"mrr_edgebank": 1 / told.bank_rank[since], "auc": 1 - (told.rank[since] - 1) / 5}
        assert row["values"] == pytest.approx({name: float(v.mean()) for name, v in values.items()})
    assert cuts[-1].number == 6 and (cuts[-1].content.state["weights"] != cuts[0].content.state["weights"]).any()


def test_what_a_version_holds_is_a_question_with_the_weights_of_then():
    job, trips = made(against=9, seed=2).job(), Batch.of([events(60)])
    state, _, cuts = played(job, trips, [46])
    then, _, _ = played(job, trips.take(np.arange(46)), [46])
    content = cuts[-1].content
    assert content.kind == "graph.link_question:LinkQuestion"
    asked = LinkQuestion(**content.params)
    asked.load_state(content.state)
    assert (asked.relation, asked.against, asked.seed) == ("road", 9, 2)
    assert (asked.weights == then.links.weights).all() and (asked.weights != state.links.weights).any()
    (live,) = job.live.models(state).values()
    assert (live.state["weights"] == state.links.weights).all()
    live.state["weights"][:] = 0
    assert state.links.weights.any(), "what is told is not the model's own memory"


def test_one_event_makes_two_edges_and_each_is_predicted():
    job, trips = made(TWO, version_every=5, metrics_every=3).job(), events(20)
    state, rows, cuts = played(job, Batch.of([trips]), [20])
    assert state.edges == 40 and [cut.number for cut in cuts] == list(range(1, 9))
    assert [row["about"] for row in rows[PREDICTIONS]] == np.repeat(trips.ids, 2).tolist()
    assert len({row["id"] for row in rows[PREDICTIONS]}) == 40
    # The fifth edge is the first of the third event's two.
    assert cuts[0].last == (int(trips.time[2]), str(trips.sources[2]), str(trips.ids[2]))
    model = LinkModel(negatives=5)
    a, b = (state.graph.numbers("place", trips.columns[name].tolist()) for name in ("origin", "dest"))
    src, dst = np.stack([a, b], axis=1).ravel(), np.stack([b, a], axis=1).ravel()
    told = model.follow(src, dst, np.repeat(trips.time, 2) / 1e6)
    assert [row["score"] for row in rows[PREDICTIONS]] == told.share.tolist()
    _, again, _ = played(job, Batch.of([trips]), [1, 3])
    assert encode(again) == encode(rows)


def test_numbers_of_versions_go_on_above_those_there_are():
    job = made().job()
    state = job.init()
    job.versions_after(state, 12)
    effects = job.step(state, Batch.of([events(50)]))
    assert [cut.number for cut in effects.versions] == [13, 14]
    assert effects.emit[-1].columns["version"][0] in ("13", "14")


@pytest.mark.parametrize(
    ("what", "relation"), [(ONE, "road"), (TWO, "road"), (BIPARTITE, "to"), (MANY, "road")], ids=str
)
def test_a_copy_grows_the_same_graph_and_past_and_learns_nothing(what, relation):
    whole = made(what, relation)
    job, copy = whole.job(), whole.copy()
    batch = Subject("roads", job, STREAMS, sample).batch()
    own, other, weights = job.init(), copy.init(), copy.init().links.weights
    for piece in batch.cut(range(17, len(batch), 17)):
        told, mine = job.step(own, piece), copy.step(other, piece)
        own, other = told.state, mine.state
        assert [d.place for d in told.dead] == [d.place for d in mine.dead]
        assert not (mine.emit or mine.versions)
        assert own.graph.digest() == other.graph.digest()
        assert encode(own.links.past.state()) == encode(other.links.past.state())
    assert (other.links.weights == weights).all() and (own.links.weights != weights).any()
    assert (job.name, job.reads, job.order, job.groups) == (copy.name, copy.reads, copy.order, copy.groups)
    # So a question has one answer, whichever of both it is asked of.
    asked = LinkQuestion(relation=relation)
    row = {"source": np.array([3], object), "target": np.array([5], object), "time": np.array([300_000_000])}
    assert asked.evidence(own, row) == asked.evidence(other, row)
    assert asked.ask(own, row) == asked.ask(other, row)


def test_the_endpoint_asks_for_an_event_that_did_not_happen():
    endpoint = made(BIPARTITE, "to", endpoint="next").job().endpoint
    assert (endpoint.name, endpoint.stream, endpoint.model, endpoint.job) == ("next", "trips", "roads", "roads")
    assert endpoint.needs == {"who", "dest"}
    assert endpoint.asked({"who": "ann", "dest": 4, "km": None}) == {"source": "ann", "target": 4}
    assert endpoint.asked_from == {"source": "who", "target": "dest"}
    assert endpoint.replica.name == "roads" and endpoint.replica.endpoint is None
    assert made().job().endpoint.name == "trips"


def test_what_was_retracted_stays_in_the_past_and_goes_from_the_graph():
    what = spec(EdgeFrom("road", "trips", "origin", "dest"), RetractionFrom("road", "ends", "origin", "dest"))
    job, state = made(what).job(), made(what).job().init()
    job.step(state, Batch.of([block(TRIPS, [("a", 1, 2, 1.0)]), block(ENDS, [(1, 2, None)], first=5)]))
    near = state.graph.neighbours("road", state.graph.numbers("place", [1]), 10**9, 5)
    assert near.counts.tolist() == [0] and state.links.past.state()["size"].tolist() == [2, 1, 1]


def test_a_state_comes_back_from_its_bytes_and_goes_on():
    job, whole = made().job(), Batch.of([events(100)])
    straight, _, _ = played(job, whole, [100])
    half, _, _ = played(job, whole.take(np.arange(50)), [50])
    again = decode(encode(half), LinkState)
    assert encode(job.step(again, whole.take(np.arange(50, 100))).state) == encode(straight)


def test_a_state_from_before_that_drew_from_both_types_is_refused():
    for what, relation, refused in ((BIPARTITE, "to", True), (ONE, "road", False)):
        both = made(what, relation)
        for job in (both.job(), both.copy()):
            state, batch = job.init(), Batch.of([events(3)])
            params = {name: value for name, value in state.links.params().items() if name != "bipartite"}
            old = LinkModel(**params)
            old.load_state(state.links.state())
            state.links = old
            if refused:
                with pytest.raises(IncompatibleError, match="--reset"):
                    job.step(state, batch)
            else:
                job.step(state, batch)


def test_settings_that_do_not_fit_are_refused():
    nothing = spec(NodeFrom("place", "trips", "origin"))
    for error, text, make in (
        (SubmissionError, r"no rule makes edges of the relation.*wanted road; got was", lambda: made(ONE, "was")),
        (SubmissionError, "no rule makes edges", lambda: made(nothing)),
        (SubmissionError, "counts out of range", lambda: made(metrics_every=0)),
        (SubmissionError, "counts out of range", lambda: made(version_every=-1)),
        (SubmissionError, "job and endpoint have one name", lambda: made(name="trips")),
        (SubmissionError, "job and endpoint have one name", lambda: made(endpoint="roads")),
        (ConfigError, "link model cannot be built", lambda: made(negatives=0)),
        (ConfigError, "cannot be asked", lambda: made(against=0)),
        (ConfigError, "scales cannot be used", lambda: made(scales=[0.0])),
    ):
        with pytest.raises(error, match=text):
            make().job()


def test_it_can_be_made_from_settings_and_read_in_any_order():
    job = link_job(name="roads", spec=ONE, relation="road", order=Arrival())
    assert isinstance(job.order, Arrival) and job.endpoint.replica.order == job.order
    assert {out.topic for out in job.writes} == {"predictions.roads", "metrics.roads"}
    assert job.needs == {"versions", "deltas"}

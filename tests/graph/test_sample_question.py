"""The neighbours of a node, asked of a live graph: what the graph gives, by ids; and the job that is asked."""

import numpy as np
import pytest

from graph.job import GraphState, graph_job
from graph.mapping import EdgeFrom, GraphSpec
from graph.relation import Relation
from graph.sample_question import SampleQuestion
from graph.store import TemporalGraph
from tests.graph.test_link_job import events
from tests.graph.test_mapping import SPEC, STREAMS, sample
from tidemill.checks.jobs import CHECKS, Subject
from tidemill.errors import ConfigError, IncompatibleError, RequestError, SubmissionError
from tidemill.order import Batch
from tidemill.state import encode


def grown():
    graph = TemporalGraph(["user", "shop"], [Relation("bought", "user", "shop", features=("price",))])
    graph.add("bought", ["ann", "bob", "ann", "ann"], [1, 1, 2, 3], [10, 20, 30, 40], [[5], [6], [7], [8]])
    return GraphState(graph)


def columns(*nodes, time=35):
    return {"node": np.array(nodes, np.object_), "time": np.full(len(nodes), time, np.int64)}


def test_the_newest_strictly_before_the_moment_by_their_ids():
    state = grown()
    found = SampleQuestion(relation="bought", k=3).ask(state, columns("ann", "bob", "eve"))
    assert found["neighbours"].tolist() == [["2", "1", ""], ["1", "", ""], ["", "", ""]]
    assert found["at"].tolist() == [[30, 10, 0], [20, 0, 0], [0, 0, 0]]
    assert found["score"].tolist() == [2.0, 1.0, 0.0]
    into = SampleQuestion(relation="bought", direction="in", k=2).ask(state, columns("1", 3, time=40))
    assert into["neighbours"].tolist() == [["bob", "ann"], ["", ""]]


def test_evidence_and_explanation_are_of_the_edges():
    state, question = grown(), SampleQuestion(relation="bought", k=3)
    before = question.evidence(state, columns("ann"))
    assert (
        before == question.evidence(state, columns("ann", time=31)) != question.evidence(state, columns("ann", time=30))
    )
    told = question.explain(state, columns("ann"))["edges"]
    assert told[0] == {"edge": 2, "node": 2, "time": 30, "features": {"price": 7.0}} and len(told) == 2
    state.graph.retract("bought", "ann", 2, 33)
    assert question.evidence(state, columns("ann")) != before


def test_what_cannot_be_is_refused():
    for settings in ({"direction": "up"}, {"k": 0}):
        with pytest.raises(ConfigError, match="cannot be asked"):
            SampleQuestion(relation="bought", **settings)
    question = SampleQuestion(relation="bought")
    question.load_state({})
    assert SampleQuestion(**question.params()).params() == question.params()
    with pytest.raises(IncompatibleError):
        question.load_state({"weights": 1})
    with pytest.raises(RequestError, match="no moment"):
        question.ask(grown(), columns("ann", time=1 << 61))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_job_that_is_asked_keeps_the_laws(check):
    job = graph_job(name="roads", spec=SPEC, relation="road", metrics_every=40)
    check(job, Subject("roads", job, STREAMS, sample).batch())


def test_its_copy_grows_the_same_graph_and_its_one_version_says_what_is_asked():
    spec = GraphSpec(nodes=SPEC.nodes, relations=SPEC.relations, rules=[EdgeFrom("road", "trips", "origin", "dest")])
    job, whole = graph_job(name="roads", spec=spec, relation="road", direction="in", k=4), Batch.of([events(60)])
    cuts, state, copy = [], job.init(), job.endpoint.replica
    for piece in whole.cut([20, 40]):
        effects = job.step(state, piece)
        state, cuts = effects.state, [*cuts, *effects.versions]
    (cut,) = cuts
    assert cut.content.params == {"relation": "road", "direction": "in", "k": 4} and cut.number == 1
    assert int(cut.last[0]) == int(whole.time[0])
    again = copy.step(copy.init(), whole).state
    assert encode(again.graph) == encode(state.graph) and job.endpoint.name == "roads-neighbours"
    assert job.endpoint.asked({"origin": 1, "dest": 2}) == {"node": 2}


def test_an_endpoint_needs_a_relation_and_a_name_of_its_own():
    with pytest.raises(SubmissionError, match="asks of no relation"):
        graph_job(name="roads", spec=SPEC, endpoint="near")
    with pytest.raises(SubmissionError, match="one name"):
        graph_job(name="roads", spec=SPEC, relation="road", endpoint="roads")
    with pytest.raises(SubmissionError, match="no rule makes edges"):
        graph_job(name="roads", spec=SPEC, relation="nowhere")

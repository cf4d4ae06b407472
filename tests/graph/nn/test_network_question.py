"""Will an edge appear, asked of a network: a function of row, state and weights, and what it rests on."""

import numpy as np
import pytest

from graph.link_question import HIDDEN_SCORE
from graph.nn.network_job import NetworkState
from graph.nn.network_links import NetworkLinks
from graph.nn.network_question import NetworkQuestion
from graph.store import TemporalGraph
from tests.graph.link_reference import asked_event, drawn, rank, share
from tests.graph.test_link_question import ONE, ROWS, TWO, code, columns, tell
from tidemill.errors import ConfigError, IncompatibleError, RequestError
from tidemill.state import encode

SETTINGS = {"width": 8, "features": 16, "k": 4, "time": 4, "negatives": 5}


def grown(network, relation=ONE, n=200):
    graph = TemporalGraph(["trader", "shop"], [ONE, TWO])
    state = NetworkState(graph, NetworkLinks(network=network, settings=SETTINGS, bipartite=relation is TWO))
    rng = np.random.default_rng(0)
    for i, (a, b) in enumerate(rng.integers(0, 20, (n, 2)).tolist()):
        tell(state, relation, a, b, i * 600_000_000)
    return state


def question_of(state, relation=ONE, **settings):
    made = NetworkQuestion(relation=relation.name, network=state.links.name, settings=SETTINGS, **settings)
    made.load_state(state.links.weights())
    return made


@pytest.mark.parametrize("network", ["tgn", "graph_mixer"])
@pytest.mark.parametrize("relation", [ONE, TWO], ids=["one type", "two types"])
def test_answers_are_of_the_network_beside_drawn_others(network, relation):
    state = grown(network, relation)
    asked = question_of(state, relation, against=9, seed=3)
    before = encode(state)
    found = asked.ask(state, columns(*ROWS))
    for i, (source, target, when) in enumerate(ROWS):
        (src,), (dst,) = code(state, relation, source, target)
        others = drawn(state.links.past, src, dst, 3, asked_event(src, dst), 9)
        scores = state.links.network.score([src], [[dst, *others]], [when / 1e6])[0]
        assert found["rank_score"][i] == pytest.approx(scores[0], abs=1e-6)
        assert found["score"][i] == pytest.approx(share(scores), rel=1e-5)
        assert found["oddness"][i] == (rank(scores.tolist()) - 1.0) / 9
        alone = asked.ask(state, columns(ROWS[i]))
        assert {name: column[0] for name, column in alone.items()} == {n: c[i] for n, c in found.items()}
    assert len(set(found["score"].tolist())) > 3
    assert encode(state) == before


def test_answers_are_of_the_weights_of_the_version_and_the_memory_of_the_job():
    state = grown("tgn")
    asked, other = question_of(state), NetworkQuestion(relation="trusts", network="tgn", settings=SETTINGS, seed=0)
    row = columns(ROWS[0])
    first = asked.ask(state, row)
    assert other.ask(state, row) != first
    other.load_state(asked.state())
    assert other.ask(state, row) == first
    tell(state, ONE, 1, 2, 199 * 600_000_000 + 1)
    assert asked.ask(state, row) != first


@pytest.mark.parametrize("network", ["tgn", "graph_mixer"])
@pytest.mark.parametrize("relation", [ONE, TWO], ids=["one type", "two types"])
def test_reasons_are_the_links_looked_at_by_how_much_they_count(network, relation):
    state = grown(network, relation)
    asked = question_of(state, relation)
    source, target, when = ROWS[0]
    found = asked.explain(state, columns(ROWS[0]))["neighbours"]
    wanted = set()
    for of, node_type, id in (("source", relation.source, source), ("target", relation.target, target)):
        number = state.graph.numbers(node_type, [id])
        told = []
        for direction in ("out", "in"):
            near, far = state.graph.ends(relation.name, direction)
            if near == node_type:
                one = state.graph.found(relation.name, number, when, 4, direction=direction)
                ids = state.graph.ids(far, one.nodes)
                told += [(of, direction, n, t) for n, t in zip(ids, one.times.tolist(), strict=True)]
        wanted |= set(sorted(told, key=lambda one: -one[3])[:4])
    assert {(one["of"], one["direction"], one["node"], one["time"]) for one in found} == wanted
    sizes = [abs(one["influence"]) for one in found]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0


def test_what_experts_said_counts():
    state = grown("graph_mixer")
    asked, row = question_of(state), columns(ROWS[0])
    plain, evidence = asked.ask(state, row), asked.evidence(state, row)
    state.graph.judge("trusts", 1, 2, 10**9, "weight", 4.0)
    assert asked.ask(state, row)["rank_score"][0] == pytest.approx(plain["rank_score"][0] + np.log(4.0), rel=1e-5)
    assert asked.evidence(state, row) != evidence
    state.graph.judge("trusts", 1, 2, 10**9 + 1, "forbid")
    found = asked.ask(state, row)
    assert [found[name][0] for name in ("score", "oddness", "rank_score")] == [0.0, 1.0, HIDDEN_SCORE]
    state.graph.judge("trusts", 1, 2, 10**9 + 2, "revoke")
    assert asked.ask(state, row) == plain and asked.evidence(state, row) == evidence


def test_evidence_is_of_what_the_answer_rests_on():
    state = grown("tgn")
    asked, row = question_of(state), columns(ROWS[0])
    first = asked.evidence(state, row)
    assert asked.evidence(state, row) == first
    assert asked.evidence(state, columns(ROWS[1])) != first
    tell(state, ONE, 1, 7, 300 * 600_000_000 - 5)
    assert asked.evidence(state, row) != first


def test_what_does_not_fit_is_refused():
    state = grown("graph_mixer", n=20)
    asked = question_of(state)
    with pytest.raises(IncompatibleError, match="GraphMixer: not the weights of this network; got decoder"):
        asked.load_state({})
    with pytest.raises(IncompatibleError, match="not the weights"):
        asked.load_state({**asked.state(), "decoder.last.bias": np.zeros(2)})
    with pytest.raises(ConfigError, match="cannot be asked"):
        NetworkQuestion(relation="trusts", network="tgn", against=0)
    with pytest.raises(ConfigError, match="no such network"):
        NetworkQuestion(relation="trusts", network="gcn")
    with pytest.raises(RequestError, match="no moment"):
        asked.ask(state, columns((1, 2, 1 << 62)))

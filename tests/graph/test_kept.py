"""A graph that is taken up again is the one that was kept: by its state, and by its arrays."""

import numpy as np
import pytest

from graph.relation import Relation
from graph.store import TemporalGraph
from tests.graph.reference import history, new, play
from tidemill.errors import IncompatibleError
from tidemill.state import decode, encode


def grown():
    graph = new()
    play(graph, None, history(np.random.default_rng(5), 200, verdicts=0.2))
    graph.advance(graph.clock, {"data.said/0": 7}, barrier="loaded")
    graph.advance(graph.clock, barrier="corrected")
    return graph


def by_state(graph):
    out = new()
    out.load_state(decode(encode(graph.state()), dict))
    return out


def by_arrays(graph):
    out = new()
    with graph.held() as arrays:
        out.take({name: array.copy() for name, array in arrays.items()}, graph.clock, graph.offsets, graph.barriers)
    return out


@pytest.mark.parametrize("taken", [by_state, by_arrays])
def test_a_graph_that_is_taken_up_is_the_same_and_goes_on_alike(taken):
    graph = grown()
    other = taken(graph)
    assert other.digest() == graph.digest() and other.offsets == {"data.said/0": 7}
    assert other.barriers == ["loaded", "corrected"] and other.reached("loaded") and not other.reached("more")
    more = history(np.random.default_rng(6), 60, verdicts=0.2)
    for one in (graph, other):
        play(one, None, more)
    assert other.digest() == graph.digest()
    weights = graph.weights("buys", np.arange(graph.count("buys")), graph.clock + 1)
    assert len(set(weights.tolist())) > 2
    np.testing.assert_array_equal(other.weights("buys", np.arange(graph.count("buys")), graph.clock + 1), weights)


def test_a_relation_without_weights_is_kept_as_before_there_were_any():
    relation = Relation("met", "user", "user")
    (kept,) = TemporalGraph(["user"], [relation]).params()["relations"]
    assert kept == {"name": "met", "source": "user", "target": "user", "features": [], "directed": True}
    graph = TemporalGraph(["user"], [Relation("met", "user", "user", weighted=True)])
    with pytest.raises(IncompatibleError, match="other relations"):
        graph.load_state(TemporalGraph(["user"], [relation]).state())
    with pytest.raises(IncompatibleError, match="other edges"), TemporalGraph(["user"], [relation]).held() as arrays:
        graph.take(arrays, 0, {})

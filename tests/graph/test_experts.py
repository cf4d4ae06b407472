"""The same model's scores without and with what experts said."""

import math

import numpy as np
import pytest

from graph.experts import effect, links
from graph.link_model import LinkModel
from graph.relation import Relation
from graph.store import TemporalGraph
from tidemill.errors import UserError

SECOND = 1_000_000


@pytest.fixture(scope="module", params=["one type", "two types"])
def learned(request):
    """A graph in which everyone mostly goes on to where they went last, and a model that has learned it."""
    rng = np.random.default_rng(0)
    last: dict[int, int] = {}
    edges = []
    for i in range(4_000):
        who = int(rng.integers(30))
        last[who] = last[who] if who in last and rng.random() < 0.9 else int(rng.integers(100, 130))
        edges.append((who, last[who], i * 60 * SECOND))
    end = "user" if request.param == "one type" else "place"
    graph = TemporalGraph(list(dict.fromkeys(["user", end])), [Relation("went", "user", end)])
    graph.add("went", *(list(column) for column in zip(*edges, strict=True)))
    model = LinkModel()
    model.fit(*links(graph, "went", graph.clock + 1), block=1)
    return graph, model, last


def test_scores_follow_the_verdicts_and_are_as_of_a_moment(learned):
    graph, model, last = learned
    at = graph.clock + 60 * SECOND
    candidates = list(range(100, 130))
    state = model.state()
    plain = effect(model, graph, "went", 5, candidates, at)
    assert [e.node for e in plain[:1]] == [last[5]] and all(e.before == e.after for e in plain)
    other = next(c for c in candidates if c not in (last[5], plain[1].node))
    graph.judge("went", 5, last[5], at, "forbid")
    graph.judge("went", 5, other, at, "assert")
    graph.judge("went", 5, plain[1].node, at, "weight", 4.0)
    assert effect(model, graph, "went", 5, candidates, at) == plain
    told = {e.node: e for e in effect(model, graph, "went", 5, candidates, at + 1)}
    assert (told[last[5]].after, told[last[5]].rank_before, told[last[5]].rank_after) == (None, 1, len(candidates))
    assert told[other].rank_after == 1 < told[other].rank_before
    assert told[other].after > told[other].before
    graph.judge("went", 5, other, at + 1, "revoke")
    graph.judge("went", 5, last[5], at + 1, "revoke")
    revoked = {e.node: e for e in effect(model, graph, "went", 5, candidates, at + 2)}
    heavy = revoked[plain[1].node]
    assert (heavy.weight, heavy.after) == (4.0, pytest.approx(heavy.before + math.log(4.0), abs=1e-6))
    rest = [e for e in revoked.values() if e is not heavy]
    assert all(e.before == e.after for e in rest)
    few = effect(model, graph, "went", 5, candidates, at + 1, top=1)
    assert {e.node for e in few} == {last[5], other} and few[0].node == other
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, state[name])


def test_a_node_that_is_not_there_is_named(learned):
    graph, model, _ = learned
    with pytest.raises(UserError, match=r"no such node.*got 'eve'"):
        effect(model, graph, "went", 5, [100, "eve"], 10)

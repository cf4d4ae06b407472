"""What is around seeds, against the obvious computation, edge by edge."""

import numpy as np
import pytest

from graph.neighbourhood import Neighbourhood, types_of
from graph.relation import NodeType, Relation
from graph.store import TemporalGraph
from tidemill.errors import ConfigError

SECOND = 1_000_000
NODES = [NodeType("place", ("rain",)), "person"]
RELATIONS = [Relation("road", "place", "place", ("km",)), Relation("was", "person", "place")]
SEEDS = [("origin", "place"), ("dest", "place"), ("who", "person")]


def grown(n=400, seed=3):
    rng = np.random.default_rng(seed)
    graph = TemporalGraph(NODES, RELATIONS)
    time = np.sort(rng.integers(0, 200, n)) * SECOND
    graph.add("road", rng.integers(0, 9, n), rng.integers(0, 9, n), time, rng.normal(size=(n, 1)) * 5)
    graph.add("was", rng.integers(0, 20, n), rng.integers(0, 9, n), time)
    graph.put("place", [1, 1, 2], [50 * SECOND, 90 * SECOND, 60 * SECOND], [[1.0], [2.0], [3.0]])
    return graph


def edge_row(graph, hood, view, seeds, other, edge, before):
    """A row as the docstring says it."""
    _, _, (time,), (features,) = graph.edges(view.relation, np.array([edge]))
    age = (before - time) / SECOND
    row = [np.sign(f) * np.log1p(abs(f)) for f in features.tolist()]
    row += [np.log1p(age) / 10, *(np.exp(-age / s) for s in hood.scales)]
    return row + [float(seeds[s] == other) for s in view.same]


def brute(graph, hood, view, node, seeds, before):
    """The rows of a view, the newest first; with what is seen from the far ends."""
    if node < 0:
        return []
    near = graph.neighbours(view.relation, np.array([node]), before, hood.k, direction=view.direction)
    rows = []
    for other, edge in zip(near.nodes[0].tolist(), near.edges[0].tolist(), strict=True):
        if edge < 0:
            continue
        row = edge_row(graph, hood, view, seeds, other, edge, before)
        for far in view.second:
            more = brute(graph, hood, far, other, seeds, before)
            width = far.features + 1 + len(hood.scales) + len(far.same)
            row += [*(np.mean(more, axis=0) if more else np.zeros(width)), len(more) / hood.k]
        rows.append(row)
    return rows


@pytest.mark.parametrize("hops", [1, 2])
def test_rows_are_those_of_each_edge_by_itself(hops):
    graph = grown()
    hood = Neighbourhood(types_of(graph), SEEDS, k=4, hops=hops, scales=(20.0, 300.0))
    rng = np.random.default_rng(1)
    seeds = np.stack([rng.integers(-1, 9, 60), rng.integers(0, 9, 60), rng.integers(-1, 20, 60)], axis=1)
    before = rng.integers(0, 220, 60) * SECOND
    found = hood.around(graph, seeds, before)
    some = 0
    for i in range(60):
        for v, view in enumerate(hood.views):
            wanted = brute(graph, hood, view, seeds[i, view.seed], seeds[i], before[i])
            assert found.counts[i, v] == len(wanted)
            got = found.edges[i, v, : len(wanted), : hood.widths[v]]
            np.testing.assert_allclose(got, np.array(wanted).reshape(got.shape), rtol=1e-5, atol=1e-6)
            assert not found.edges[i, v, len(wanted) :].any()
            some += len(wanted)
    assert some > 200 and {v.same for v in hood.views} >= {(1,), (0,), (0, 1)}


def test_nodes_have_their_features_of_then():
    graph = grown()
    hood = Neighbourhood(types_of(graph), SEEDS, k=1)
    seeds = np.array([[*graph.numbers("place", [1, 2]).tolist(), -1]] * 3)
    nodes = hood.around(graph, seeds, np.array([50, 61, 91]) * SECOND).nodes
    assert hood.names == ["origin known", "origin rain", "dest known", "dest rain", "who known"]
    assert nodes.tolist() == [[0, 0, 0, 0, 0], [1, 1, 1, 3, 0], [1, 2, 1, 3, 0]]


def test_the_same_alone_as_among_others():
    graph = grown()
    hood = Neighbourhood(types_of(graph), SEEDS, k=5, hops=2)
    seeds = np.random.default_rng(2).integers(0, 9, (30, 3))
    before = np.full(30, 150 * SECOND)
    every = hood.around(graph, seeds, before)
    for i in range(30):
        one = hood.around(graph, seeds[i : i + 1], before[i : i + 1])
        assert one.edges[0].tobytes() == every.edges[i].tobytes()


def test_views_are_named_and_made_again():
    graph = grown()
    asked = [("who", "was", "out"), ("dest", "road", "in")]
    hood = Neighbourhood(types_of(graph), SEEDS, along=asked, k=2)
    again = Neighbourhood(**hood.params())
    assert [(v.seed, v.relation, v.direction) for v in again.views] == [(2, "was", "out"), (1, "road", "in")]
    assert again.widths.tolist() == hood.widths.tolist()
    for wrong in ([("who", "road", "out")], [("nobody", "was", "out")]):
        with pytest.raises(ConfigError, match="no such view"):
            Neighbourhood(types_of(graph), SEEDS, along=wrong)
    with pytest.raises(ConfigError, match="no such node type"):
        Neighbourhood(types_of(graph), [("who", "ghost")])
    with pytest.raises(ConfigError, match="hops 1 or 2"):
        Neighbourhood(types_of(graph), SEEDS, hops=3)

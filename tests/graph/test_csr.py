"""The standing graph and its sampler, beside what plain Python finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.csr import ALL, CSRGraph
from tidemill.errors import UserError


@st.composite
def edges(draw):
    n = draw(st.integers(1, 30))
    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=150))
    return n, np.array(pairs, np.int64).reshape(-1, 2)


def random_graph(n=300, degree=12, seed=0):
    rng = np.random.default_rng(seed)
    return CSRGraph.from_edges(rng.integers(0, n, n * degree), rng.integers(0, n, n * degree), n, undirected=True)


def around(graph, node):
    return graph.neighbours[graph.offsets[node] : graph.offsets[node + 1]].tolist()


def drawn(batch, layer=-1):
    """The neighbours drawn for each target of a layer, as numbers of nodes."""
    out = {int(batch.nodes[row]): [] for row in range(batch.blocks[layer].n_targets)}
    for source, target in zip(batch.blocks[layer].sources, batch.blocks[layer].targets, strict=True):
        out[int(batch.nodes[target])].append(int(batch.nodes[source]))
    return out


@given(edges(), st.booleans())
def test_rows_are_the_sets_of_neighbours(case, undirected):
    n, pairs = case
    graph = CSRGraph.from_edges(pairs[:, 0], pairs[:, 1], n, undirected=undirected)
    both = {(s, t) for s, t in pairs.tolist()} | ({(t, s) for s, t in pairs.tolist()} if undirected else set())
    assert [around(graph, v) for v in range(n)] == [sorted(s for s, t in both if t == v != s) for v in range(n)]


@given(edges(), st.integers(0, 5), st.integers(-(2**70), 2**70), st.data())
def test_a_sample_holds_k_different_neighbours_or_all_there_are(case, k, seed, data):
    n, pairs = case
    graph = CSRGraph.from_edges(pairs[:, 0], pairs[:, 1], n)
    nodes = data.draw(st.lists(st.integers(0, n - 1), unique=True))
    batch = graph.sample(np.array(nodes, np.int64), [k, ALL], seed=seed)
    for node, found in drawn(batch).items():
        assert len(found) == len(set(found)) == min(k, len(around(graph, node)))
        assert set(found) <= set(around(graph, node))
    assert all(found == around(graph, node) for node, found in drawn(batch, 0).items())
    assert batch.nodes[: len(nodes)].tolist() == nodes
    assert len(np.unique(batch.nodes)) == len(batch.nodes) == batch.blocks[0].n_sources
    assert batch.blocks[0].n_targets == batch.blocks[1].n_sources


def test_a_sample_is_the_same_alone_as_in_a_batch_and_again():
    graph = random_graph()
    nodes = np.random.default_rng(1).permutation(graph.n_nodes)[:100]
    batch = graph.sample(nodes, [4, 3], seed=7)
    for layer in (0, 1):
        together = drawn(batch, layer)
        for node in nodes:
            assert drawn(graph.sample(np.array([node]), [4, 3], seed=7), layer)[node] == together[node]
    again = graph.sample(nodes[::-1], [4, 3], seed=7)
    assert drawn(again) == drawn(batch)
    assert drawn(graph.sample(nodes, [4, 3], seed=8)) != drawn(batch)
    # Another layer draws anew, so that a node that comes again is not told the same again.
    both = graph.sample(nodes, [4, 4], seed=7)
    assert any(drawn(both, 0)[node] != drawn(both, 1)[node] for node in nodes)


def test_every_set_of_neighbours_is_as_likely_as_any_other():
    star = CSRGraph.from_edges(np.arange(1, 6), np.zeros(5, np.int64), 6)
    runs = 20_000
    sets = [tuple(drawn(star.sample(np.array([0]), [2], seed=seed))[0]) for seed in range(runs)]
    counts = np.array([sets.count(pair) for pair in sorted(set(sets))])
    assert len(counts) == 10
    # Chi-square with nine degrees of freedom: above 27.9 once in a thousand; the seeds are fixed.
    assert ((counts - runs / 10) ** 2 / (runs / 10)).sum() < 27.9


def test_the_whole_graph_is_every_neighbour_of_every_node():
    graph = random_graph(40, 3)
    batch = graph.whole(2)
    assert drawn(batch) == drawn(batch, 0) == {v: around(graph, v) for v in range(40)}
    sampled = graph.sample(np.arange(40), [ALL, ALL], seed=0)
    assert all((a == b).all() for a, b in zip(sampled.blocks[0][:2], batch.blocks[0][:2], strict=True))


@pytest.mark.parametrize("nodes", [[-1], [40], [3, 3]])
def test_nodes_that_are_not_there_or_come_twice_are_refused(nodes):
    with pytest.raises(UserError, match="each once; got"):
        random_graph(40, 3).sample(np.array(nodes), [2], seed=0)


def test_edges_to_nodes_that_are_not_there_are_refused():
    with pytest.raises(UserError, match="numbers from 0 to 2; got 1 to 3"):
        CSRGraph.from_edges(np.array([0, 1]), np.array([1, 3]), 3)

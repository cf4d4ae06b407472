import numpy as np
import pytest

from graph.relation import Relation
from graph.sampling import Hop, sample
from graph.snapshot import restore, snapshot
from graph.store import TemporalGraph
from tidemill.errors import UserError
from tidemill.state import decode, encode


def flights(seed=0, edges=400):
    rng = np.random.default_rng(seed)
    graph = TemporalGraph(
        ["airport", "plane"],
        [Relation("flew", "plane", "airport"), Relation("route", "airport", "airport", weighted=True)],
    )
    planes, airports = rng.integers(0, 12, edges).tolist(), rng.integers(0, 15, (edges, 2))
    times = np.sort(rng.integers(0, 200, edges))
    graph.add("flew", [f"N{p}" for p in planes], airports[:, 0].tolist(), times)
    graph.add("route", airports[:, 0].tolist(), airports[:, 1].tolist(), times, None, rng.choice([0.1, 1, 30], edges))
    return graph


def walked(graph, hop, frontier, seed, decreasing):
    """The edges of one hop, node by node: ((node, before), neighbour, moment, time, edge)."""
    out = []
    for node, before in zip(*(part.tolist() for part in frontier), strict=True):
        options = {"direction": hop.direction, "strategy": hop.strategy, "seed": seed, "tau": hop.tau}
        options["experts"] = hop.experts
        found = graph.neighbours(hop.relation, np.array([node]), before, hop.k, **options)
        for j in range(int(found.counts[0])):
            time = int(found.times[0, j])
            moment = time if decreasing else before
            out.append(((node, before), int(found.nodes[0, j]), moment, time, int(found.edges[0, j])))
    return out


@pytest.mark.parametrize("decreasing", [False, True])
@pytest.mark.parametrize("options", [{}, {"strategy": "uniform"}, {"strategy": "weighted", "tau": 20.0}])
@pytest.mark.parametrize("judged", [False, True, "not heard"])
@pytest.mark.parametrize("moment", [None, 150])
def test_two_hops_are_one_hop_twice(options, decreasing, judged, moment):
    graph = flights()
    if judged == "not heard":
        options = options | {"experts": False}
    for i in range(12 * bool(judged)):
        graph.judge("route", i, (i + 5) % 15, 10 * i, ("forbid", "assert", "weight")[i % 3], 2.0)
    rng = np.random.default_rng(1)
    hops = [
        [Hop("flew", 4, direction="in", **options), Hop("route", 3, **options)],
        [Hop("flew", 3, **options), Hop("route", 2, direction="in", **options)],
    ]
    nodes, before = rng.integers(0, 15, 40), np.full(40, moment) if moment else rng.integers(0, 220, 40)
    result = sample(graph, "airport", nodes, moment or before, hops, seed=7, decreasing=decreasing)
    assert len(result.frontiers) == 3 and [len(step) for step in result.blocks] == [2, 2]
    seeds = result.frontiers[0]["airport"]
    pairs = list(dict.fromkeys(zip(nodes.tolist(), before.tolist(), strict=True)))
    assert list(zip(seeds.nodes.tolist(), seeds.before.tolist(), strict=True)) == pairs
    for step, blocks in enumerate(result.blocks):
        reached = {end: set() for end in result.frontiers[step + 1]}
        for block in blocks:
            start, end = ("plane", "airport") if block.hop.relation == "flew" else ("airport", "airport")
            if block.hop.direction == "in":
                start, end = end, start
            frontier, following = result.frontiers[step][start], result.frontiers[step + 1][end]
            wanted = walked(graph, block.hop, frontier, 7, decreasing)
            got = []
            for target, source, time, edge in zip(*(part.tolist() for part in block[1:]), strict=True):
                near = (int(frontier.nodes[target]), int(frontier.before[target]))
                got.append((near, int(following.nodes[source]), int(following.before[source]), time, edge))
                assert time < near[1]
                reached[end].add(source)
            assert got == wanted
        for end, rows in reached.items():
            following = result.frontiers[step + 1][end]
            assert rows == set(range(len(following.nodes)))
            assert len(set(zip(*(part.tolist() for part in following), strict=True))) == len(rows)


@pytest.mark.parametrize("options", [{}, {"strategy": "uniform"}, {"strategy": "weighted", "tau": 20.0}])
def test_one_moment_gives_what_a_moment_for_each_gives(options):
    graph = flights(4)
    graph.retract("route", 3, 4, 150)
    hops = [
        [Hop("flew", 4, direction="in", **options), Hop("route", 3, **options), Hop("route", 9, "in", **options)],
        [Hop("flew", 3, **options), Hop("route", 2, direction="in", **options)],
        Hop("route", 5, **options),
    ]
    for nodes in (np.arange(15), np.array([3, 3, -1, 7, -1, 3]), np.array([1, 99]), np.array([-2, 4, -1])):
        for before in (0, 30, 151, 500):
            once = sample(graph, "airport", nodes, before, hops, seed=9)
            each = sample(graph, "airport", nodes, np.full(len(nodes), before), hops, seed=9)
            np.testing.assert_equal(once, each)
    assert len(once.blocks[2][0].edges) > 5
    with pytest.raises(UserError, match="out of range"):
        sample(graph, "airport", np.arange(3), 1 << 62, hops)


def test_the_live_graph_a_saved_one_and_a_mapped_one_give_the_same_sample(tmp_path):
    graph = flights(3)
    saved, mapped = (TemporalGraph(["airport", "plane"], list(graph.relations.values())) for _ in range(2))
    saved.load_state(decode(encode(graph.state()), dict))
    snapshot(graph, tmp_path / "kept")
    restore(mapped, tmp_path / "kept")
    hops = [Hop("route", 5, strategy="uniform"), Hop("flew", 5, direction="in", strategy="weighted", tau=9.0)]
    results = [sample(g, "airport", np.arange(15), 180, hops, seed=3) for g in (graph, saved, mapped)]
    for other in results[1:]:
        np.testing.assert_equal(other, results[0])
    assert len(results[0].blocks[1][0].edges) > 50


@pytest.mark.parametrize("moment", [200, [200] * 15])
def test_hops_without_experts_see_the_graph_as_it_was(moment):
    plain, told = flights(), flights()
    for i in range(225):
        told.judge("route", i // 15, i % 15, i // 2, ("forbid", "assert", "weight")[i % 3], 0.01)
    before = moment if isinstance(moment, int) else np.array(moment)
    for strategy in ({}, {"strategy": "uniform"}, {"strategy": "weighted", "tau": 20.0}):
        hops = {heard: [Hop("route", 4, experts=heard, **strategy)] * 2 for heard in (True, False)}
        of = {heard: sample(told, "airport", np.arange(15), before, hops[heard], seed=2) for heard in (True, False)}
        without = sample(plain, "airport", np.arange(15), before, hops[True], seed=2)
        np.testing.assert_equal([f["airport"] for f in of[False].frontiers], [f["airport"] for f in without.frontiers])
        np.testing.assert_equal([b[0].edges for b in of[False].blocks], [b[0].edges for b in without.blocks])
        assert of[True].blocks[0][0].edges.tolist() != without.blocks[0][0].edges.tolist()


def test_of_no_seeds_nothing_is_sampled():
    result = sample(flights(), "airport", np.empty(0, np.int64), 10, [Hop("route", 2), Hop("route", 2)])
    assert [len(f["airport"].nodes) for f in result.frontiers] == [0, 0, 0]


def test_a_hop_that_starts_nowhere_is_refused():
    graph = flights()
    with pytest.raises(
        UserError, match=r"hop 1 starts from nodes that are not reached.*wanted one of plane; got airport"
    ):
        sample(graph, "airport", np.array([0]), 10, [Hop("flew", 2, direction="in"), Hop("route", 2)])
    with pytest.raises(UserError, match="no such relation"):
        sample(graph, "airport", np.array([0]), 10, [Hop("road", 2)])

"""Neighbourhoods of the temporal graph as messages: where every neighbour is taken, what a network says of the seeds is
what it says on the whole graph as of that moment."""

import numpy as np
import pytest
import torch

from graph.nn.backend import Edges
from graph.nn.gatv2 import GATv2
from graph.nn.hgt import HGT, HeteroEdges
from graph.nn.sage import GraphSAGE
from graph.nn.sampled import messages, relation_of
from graph.relation import NodeType, Relation
from graph.sampling import Hop
from graph.store import TemporalGraph
from tidemill.errors import UserError

SHOPS, USERS, NOW = 8, 15, 2_000_000_000
ALL = 10_000
PAYS = ("shop", "rev_pays", "user"), ("user", "pays", "shop")
FRIENDS = ("user", "knows", "user")


def market(seed=0):
    """Users who pay in shops, with an amount, and know one another; some edges are of `NOW` and later."""
    graph = TemporalGraph(
        [NodeType("user", ("a", "b")), "shop"],
        [
            Relation("pays", "user", "shop", features=("amount",), weighted=True),
            Relation("knows", "user", "user", directed=False),
        ],
    )
    rng = np.random.default_rng(seed)
    n = 120
    pays = [f"u{i}" for i in rng.integers(0, USERS, n)], [f"s{i}" for i in rng.integers(0, SHOPS, n)]
    times = np.sort(rng.integers(1, 2 * NOW, n))
    graph.add("pays", *pays, times, rng.normal(size=(n, 1)), rng.uniform(0.5, 3.0, n))
    who = rng.integers(0, USERS, (2, 60))
    graph.add("knows", [f"u{i}" for i in who[0]], [f"u{i}" for i in who[1]], np.sort(rng.integers(1, 2 * NOW, 60)))
    return graph


def hops(k, strategy="recent"):
    step = [Hop("pays", k, "out", strategy), Hop("pays", k, "in", strategy), Hop("knows", k, "out", strategy)]
    return [[step[0], step[2]], step]


def inputs(graph, nodes):
    """A row of chance numbers for each node of each type, the same wherever it comes."""
    rng = np.random.default_rng(1)
    rows = {t: rng.normal(size=(len(graph.nodes[t]), 3)).astype(np.float32) for t in graph.node_types}
    return {t: torch.from_numpy(rows[t][nodes[t]]) for t in nodes}


def whole(graph, relation, direction):
    """Every message as of `NOW`, by going through the edges."""
    at = np.flatnonzero(graph.times(relation) < NOW)
    source, target, time, features = graph.edges(relation, at)
    columns = features, np.log1p(graph.weights(relation, at, NOW)), np.log1p((NOW - time) / 1e6)
    told = np.column_stack((source, target, *columns)).tolist()
    if direction == "out":
        told = [(t, s, *rest) for s, t, *rest in told]
    if not graph.relations[relation].directed:
        told += [(t, s, *rest) for s, t, *rest in told if s != t]
    return np.array(told)


def on_the_whole(graph, ways):
    kinds = {t: len(graph.nodes[t]) for t in graph.node_types}
    edges = {}
    for relation, direction in ways:
        far, name, near = relation_of(graph, Hop(relation, 1, direction))
        rows = whole(graph, relation, direction)
        ends = (torch.from_numpy(rows[:, i].astype(np.int64)) for i in range(2))
        edges[far, name, near] = Edges(*ends, kinds[far], kinds[near], torch.from_numpy(rows[:, 2:].astype(np.float32)))
    return HeteroEdges(edges, kinds)


@pytest.mark.parametrize("backend", ["pyg", "dgl"])
def test_hgt_says_of_seeds_what_it_says_on_the_whole_graph(backend):
    graph = market()
    seeds = np.array([3, 0, 7])
    found = messages(graph, "user", seeds, NOW, hops(ALL))
    assert found.nodes["user"][:3].tolist() == [3, 0, 7] and (found.before["user"] == NOW).all()
    torch.manual_seed(0)
    net = HGT({"user": 3, "shop": 3}, [*PAYS, FRIENDS], "user", 8, 2, heads=2, backend=backend)
    every = {t: np.arange(len(graph.nodes[t])) for t in graph.node_types}
    layer = on_the_whole(graph, [("pays", "out"), ("pays", "in"), ("knows", "out")])
    wanted = net(inputs(graph, every), [layer, layer])[seeds]
    got = net(inputs(graph, found.nodes), found.layers)
    assert got.shape == (3, 2) and (got - wanted).abs().max() < 1e-5
    # It is the neighbours that say so.
    nobody = messages(graph, "user", seeds, 1, hops(ALL))
    assert (net(inputs(graph, nobody.nodes), nobody.layers) - wanted).abs().max() > 1e-2


@pytest.mark.parametrize("kind", [GraphSAGE, GATv2])
def test_networks_of_one_relation_say_of_seeds_what_they_say_on_the_whole_graph(kind):
    graph = market()
    seeds = np.array([5, 2])
    found = messages(graph, "user", seeds, NOW, [Hop("knows", ALL)] * 2)
    torch.manual_seed(0)
    net = kind(3, 8, 2, **({"edge": 2, "heads": 2} if kind is GATv2 else {}))
    every = {t: np.arange(len(graph.nodes[t])) for t in graph.node_types}
    layer = on_the_whole(graph, [("knows", "out")]).relations[FRIENDS]
    wanted = net(inputs(graph, every)["user"], [layer, layer])[seeds]
    got = net(inputs(graph, found.nodes)["user"], found.of(FRIENDS))
    assert got.shape == (2, 2) and (got - wanted).abs().max() < 1e-5


def test_a_seed_says_the_same_alone_as_among_others():
    graph = market()
    net = HGT({"user": 3, "shop": 3}, [*PAYS, FRIENDS], "user", 8, 2, heads=2)

    def said(seeds):
        found = messages(graph, "user", np.array(seeds), NOW, hops(2, "uniform"), seed=4)
        return net(inputs(graph, found.nodes), found.layers)

    together = said([3, 0, 7, 9])
    for i, seed in enumerate([3, 0, 7, 9]):
        assert (said([seed])[0] - together[i]).abs().max() < 1e-6


def test_messages_say_what_their_edges_say_as_of_their_targets_moment():
    graph = market()
    moments = np.array([NOW, NOW // 2])
    found = messages(graph, "user", np.array([3, 3]), moments, [Hop("pays", 5)], seed=1)
    assert found.before["user"].tolist() == moments.tolist()
    edges = found.layers[0].relations[PAYS[0]]
    asked = graph.found("pays", np.array([3, 3]), moments, 5)
    _, _, times, amounts = graph.edges("pays", asked.edges)
    ages = (moments[asked.rows] - times) / 1e6
    columns = [amounts[:, 0], np.log1p(graph.weights("pays", asked.edges, moments[asked.rows])), np.log1p(ages)]
    assert (ages > 0).all() and len(set(asked.rows.tolist())) == 2
    assert edges.features.dtype == torch.float32
    np.testing.assert_allclose(edges.features.numpy(), np.stack(columns, axis=1), rtol=1e-6)


def test_a_layer_without_the_features_it_looks_at_is_refused():
    graph = market()
    found = messages(graph, "user", np.array([1]), NOW, [Hop("knows", 3)])
    net = GATv2(3, 8, 2, heads=2, edge=3, layers=1)
    with pytest.raises(UserError, match=r"messages without the features that the layer looks at.*3 columns.*2 columns"):
        net(inputs(graph, found.nodes)["user"], found.of(FRIENDS))


def test_a_relation_between_two_types_is_not_taken_alone():
    graph = market()
    found = messages(graph, "user", np.array([1]), NOW, [Hop("pays", 3)])
    with pytest.raises(UserError, match=r"no relation to pass messages along alone.*rev_pays"):
        found.of(PAYS[0])


def test_each_node_asked_about_finds_its_row():
    graph = market()
    asked = np.array([4, -1, 2, 4, -1])
    found = messages(graph, "user", asked, np.array([NOW, NOW, NOW, NOW, 1]), hops(2))
    assert found.seeds.tolist() == [0, 1, 2, 0, 3]
    assert found.nodes["user"][found.seeds].tolist() == asked.tolist()
    assert found.before["user"][found.seeds].tolist() == [NOW, NOW, NOW, NOW, 1]
    net = HGT({"user": 3, "shop": 3}, [*PAYS, FRIENDS], "user", 8, 2, heads=2)
    assert net(inputs(graph, found.nodes), found.layers)[found.seeds].shape == (5, 2)
    assert messages(graph, "user", np.empty(0, np.int64), NOW, hops(2)).seeds.tolist() == []


def test_all_of_a_network_s_work_goes_on_on_the_layers_device():
    graph = market()
    found = messages(graph, "user", np.array([3, 0]), NOW, hops(2))
    net = HGT({"user": 3, "shop": 3}, [*PAYS, FRIENDS], "user", 8, 2, heads=2)
    here, there = inputs(graph, found.nodes), found.to("meta")
    net.to("meta")
    assert net({t: rows.to("meta") for t, rows in here.items()}, there.layers).device.type == "meta"
    edges = there.layers[0].relations[FRIENDS]
    assert edges.features.device.type == "meta" and found.layers[0].relations[FRIENDS].sources.device.type == "cpu"
    same = found.to("cpu").layers[1].relations[PAYS[0]]
    assert torch.equal(same.sources, found.layers[1].relations[PAYS[0]].sources)


def test_types_that_do_not_come_up_need_no_inputs():
    graph = TemporalGraph(["user", "shop", "city"], [Relation("pays", "user", "shop"), Relation("in", "shop", "city")])
    graph.add("pays", ["a", "b"], ["s", "s"], [1, 2])
    graph.add("in", ["s"], ["c"], [1])
    found = messages(graph, "user", np.array([0]), 5, [Hop("pays", 3), Hop("pays", 3, "in")], features=False)
    assert sorted(found.nodes) == ["shop", "user"]
    assert all(edges.features is None for layer in found.layers for edges in layer.relations.values())
    net = HGT({"user": 3, "shop": 3}, PAYS, "user", 8, 2, heads=2)
    assert net({t: torch.ones(len(found.nodes[t]), 3) for t in found.nodes}, found.layers).shape == (1, 2)


def test_two_relations_of_one_name_are_refused():
    graph = TemporalGraph(["user", "shop"], [Relation("pays", "user", "shop"), Relation("rev_pays", "shop", "user")])
    graph.add("pays", ["a"], ["s"], [1])
    with pytest.raises(UserError, match="pays and rev_pays: messages of two relations would have one name"):
        messages(graph, "user", np.array([0]), 5, [[Hop("pays", 3), Hop("rev_pays", 3, "in")]])


def test_messages_weigh_what_experts_say_and_are_of_edges_that_stand():
    graph = market()
    ids = graph.ids("user")
    first = messages(graph, "user", np.array([3]), NOW, [Hop("knows", ALL)]).layers[0].relations[FRIENDS]
    other = int(graph.neighbours("knows", np.array([3]), NOW, 1).nodes[0, 0])
    graph.judge("knows", ids[3], ids[other], NOW - 1, "weight", 5.0)
    weighed = messages(graph, "user", np.array([3]), NOW, [Hop("knows", ALL)]).layers[0].relations[FRIENDS]
    plain = messages(graph, "user", np.array([3]), NOW, [Hop("knows", ALL, experts=False)]).layers[0].relations[FRIENDS]
    np.testing.assert_array_equal(plain.features, first.features)
    assert set(np.round(np.expm1(weighed.features[:, 0].numpy()), 4).tolist()) == {1.0, 5.0}
    graph.judge("knows", ids[3], ids[other], NOW - 1, "forbid")
    left = messages(graph, "user", np.array([3]), NOW, [Hop("knows", ALL)]).layers[0].relations[FRIENDS]
    assert 0 < len(left.sources) < len(first.sources)

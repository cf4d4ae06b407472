import numpy as np
import pytest

from graph.relation import Relation
from graph.replay import replay
from graph.sampling import Hop, sample
from graph.store import TemporalGraph
from tidemill.errors import UserError, WrongTypeError

DRAWN = [{}, {"strategy": "uniform"}, {"strategy": "weighted", "tau": 5.0}]


def new(ttl=None, folder=None):
    relations = [
        Relation("met", "node", "node", directed=False),
        Relation("paid", "node", "node", ("sum",)),
        Relation("likes", "node", "thing"),
        Relation("owes", "node", "node", weighted=True),
    ]
    return TemporalGraph(["node", "thing"], relations, ttl=ttl, folder=folder)


def stream(rng, edges, nodes=30):
    """Edges with loops, equal times and late ones; few of the nodes at first."""
    ends = (rng.integers(0, nodes, (edges, 2)) * np.linspace(0.2, 1, edges)[:, None]).astype(np.int64) * 1_000_003
    return ends[:, 0], ends[:, 1], np.arange(edges) // 3 - rng.integers(0, 9, edges)


def by_hand(graph, relation, source, target, time, hops, block, features, seed):
    """What replay says it equals: ends made, sampled, block added. With a moment for each, as that is other code."""
    for at in range(0, len(time), block):
        part = slice(at, at + block)
        ends = graph.make("node", [end for pair in zip(source[part], target[part], strict=True) for end in pair])
        before = int(time[part].min())
        around = sample(graph, "node", ends, np.full(len(ends), before), hops, seed=seed)
        rows = features if features is None else features[part]
        first = graph.add(relation, source[part], target[part], time[part], rows)
        yield first, before, ends, around


def same(played, first, before, ends, around):
    assert (played.first, played.before) == (first, before)
    seeds = played.sample.frontiers[0]["node"].nodes
    assert seeds[played.sources].tolist() == ends[0::2].tolist()
    assert seeds[played.targets].tolist() == ends[1::2].tolist()
    np.testing.assert_equal(played.sample, around)


@pytest.mark.parametrize("ahead", [1, 3])
@pytest.mark.parametrize("relation", ["met", "paid"])
@pytest.mark.parametrize("seed", range(12))
def test_a_replay_is_make_sample_and_add_block_by_block(seed, relation, ahead, tmp_path):
    rng = np.random.default_rng(seed)
    ttl = None if seed % 3 else int(rng.integers(20, 60))
    one, two = new(ttl, tmp_path if seed % 4 == 1 else None), new(ttl)
    hops = [
        Hop(relation, int(rng.integers(1, (5, 30)[seed % 2])), direction=rng.choice(["out", "in"]), **DRAWN[seed % 3])
        for _ in range(seed % 4)
    ]
    found = last = 0
    for turn in range(4):
        if seed % 5 == 2 and turn:  # experts speak
            for verdict in ("forbid", "weight"):
                pair = (rng.integers(0, 6, 2) * 1_000_003).tolist()
                for graph in (one, two):
                    graph.judge(relation, *pair, last, verdict, 3.0)
        source, target, time = stream(rng, int(rng.integers(1, 300)))
        time += 100 * turn
        if ttl is not None:  # a block of the past that is dropped would be refused
            time = np.sort(time) - time.min() + last + 2
        last = int(time.max())
        features = rng.normal(size=(len(time), 1)).astype(np.float32) if relation == "paid" else None
        block = int(rng.integers(1, 50))
        given = relation, source, target, time, hops
        played = list(replay(one, *given, block=block, ahead=ahead, features=features, seed=seed))
        wanted = list(by_hand(two, *given, block, features, seed))
        assert len(played) == len(wanted) == -(-len(time) // block)
        for mine, other in zip(played, wanted, strict=True):
            same(mine, *other)
            found += sum(len(b.edges) for step in mine.sample.blocks for b in step)
        assert one.digest() == two.digest()
        for graph in (one, two):
            graph.retract(relation, int(source[-1]), int(target[-1]), int(time.max()) + 1)
    assert found > 0 or not hops


def test_large_samples_take_new_memory_and_small_ones_share_it(monkeypatch):
    monkeypatch.setattr("graph.replay._ARENA", 64)
    rng = np.random.default_rng(5)
    source, target, time = stream(rng, 400)
    one, two, hops = new(), new(), [Hop("met", 6), Hop("met", 6)]
    given = "met", source, target, time, hops
    played = list(replay(one, *given, block=20, ahead=4))
    for mine, other in zip(played, by_hand(two, *given, 20, None, 0), strict=True):
        same(mine, *other)
    assert one.digest() == two.digest()


@pytest.mark.parametrize("kind", ["text", "mixed later", "along others"])
def test_what_native_code_does_not_know_gives_the_same(kind):
    rng = np.random.default_rng(6)
    source, target, time = stream(rng, 120)
    one, two = new(), new()
    hops = [Hop("met", 4), Hop("met", 3)]
    if kind == "text":
        source, target = ([f"n{i}" for i in ends] for ends in (source, target))
    if kind == "along others":
        for graph in (one, two):
            graph.add("likes", source, [f"t{i}" for i in target], time - 100)
        hops = [[Hop("met", 4), Hop("likes", 2)], Hop("likes", 3, "in")]
        hops[1] = Hop("likes", 3, direction="in")
    given = "met", source, target, time, hops
    pairs = zip(replay(one, *given, block=16), by_hand(two, *given, 16, None, 0), strict=True)
    for number, (mine, other) in enumerate(pairs):
        same(mine, *other)
        if kind == "mixed later" and number == 2:
            for graph in (one, two):
                graph.make("node", ["a name"])
    assert one.digest() == two.digest()


def test_a_replay_of_weighted_edges_draws_by_their_weights():
    rng = np.random.default_rng(7)
    source, target, time = stream(rng, 200)
    weights, hops = rng.choice([0.01, 1.0, 50.0], 200), [Hop("owes", 3, strategy="weighted", tau=50.0)] * 2
    one, two = new(), new()
    for at, mine in enumerate(replay(one, "owes", source, target, time, hops, block=16, ahead=4, weights=weights)):
        part = slice(16 * at, 16 * at + 16)
        ends = two.make("node", [e for pair in zip(source[part], target[part], strict=True) for e in pair])
        before = int(time[part].min())
        around = sample(two, "node", ends, np.full(len(ends), before), hops)
        same(mine, two.add("owes", source[part], target[part], time[part], None, weights[part]), before, ends, around)
    assert one.digest() == two.digest()
    with pytest.raises(UserError, match="weights along a relation without"):
        replay(one, "met", source, target, time, hops, weights=weights)


def test_of_others_edges_a_replay_sees_what_came_before_its_block():
    graph = new()
    ones, time = np.ones(4, np.int64), np.array([10, 20, 30, 40])
    played = replay(graph, "met", ones, ones + 1, time, [Hop("met", 5)], block=2)
    assert len(next(played).sample.blocks[0][0].edges) == 0
    graph.add("met", [1], [7], [25])
    second = next(played)
    assert second.first == 3 and sorted(set(second.sample.blocks[0][0].edges.tolist())) == [0, 1, 2]


def test_what_does_not_fit_is_refused_and_nothing_is_put_in():
    graph, one = new(), np.ones(2, np.int64)
    for wrong, message in (
        (("likes", one, one, one, []), "within one type of nodes: met, paid"),
        (("road", one, one, one, []), "not to be replayed"),
        (("met", one, one[:1], one, []), "lengths differ"),
        (("met", one, one, one, [Hop("met", 0)]), "k out of range"),
        (("paid", one, one, one, []), "features do not fit"),
        (("met", one, one, np.array([1, 1 << 62]), []), "out of range"),
    ):
        with pytest.raises(UserError, match=message):
            list(replay(graph, *wrong))
    with pytest.raises(WrongTypeError, match="not a node id"):
        replay(graph, "met", one, [1, None], one, [])
    with pytest.raises(UserError, match="ahead out of range"):
        replay(graph, "met", one, one, one, [], ahead=0)
    assert len(graph.nodes["node"]) == 0 and graph.count("met") == graph.count("paid") == 0
    assert list(replay(graph, "met", one[:0], one[:0], one[:0], [Hop("met", 1)])) == []

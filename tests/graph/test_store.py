import threading

import numpy as np
import pytest

from graph.adjacency import MIN_TIME
from graph.relation import NodeType, Relation
from graph.sampling import Hop, sample
from graph.snapshot import restore, snapshot
from graph.store import TemporalGraph
from tests.graph.reference import Reference, found, history, key_of, new, play, questions, told
from tidemill.errors import IncompatibleError, NotFiniteError, UserError, WrongTypeError
from tidemill.state import decode, encode

BUYS = Relation("buys", "user", "shop")
STRATEGIES = ({"strategy": "recent"}, {"strategy": "uniform"}, {"strategy": "weighted", "tau": 3.0})


def random_histories(first, count, tmp_path):
    """Sampling equals the reference on random histories, one hop and two; the same samples come from the live store and
    from one with the state of it; of every tenth, for a disk takes its time, from a snapshot and one grown event by
    event too."""
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        things = history(rng, int(rng.integers(1, 60)))
        ttl = None if rng.random() < 0.5 else int(rng.integers(1, 10))
        live, reference = new(ttl), Reference(ttl)
        play(live, reference, things, rng)
        graphs = [live, loaded(live, ttl)]
        if seed % 10 == 0:
            graphs += others(live, ttl, tmp_path / f"{seed}", things)
        for _ in range(12):
            compare(graphs, reference, rng)
        for _ in range(2):
            compare_two_hops(graphs, reference, rng)
        for node in range(6):
            before = int(rng.integers(-5, 16))
            for graph in graphs:
                value = graph.features("user", graph.numbers("user", [node]), before)[0, 0]
                np.testing.assert_equal(float(value), reference.feature(node, before))


def loaded(live, ttl):
    made = new(ttl)
    made.load_state(decode(encode(live.state()), dict))
    assert made.digest() == live.digest()
    return made


def others(live, ttl, folder, things):
    one_by_one, mapped = new(ttl), new(ttl)
    play(one_by_one, None, things)
    snapshot(live, folder)
    restore(mapped, folder, check=True)
    assert live.digest() == one_by_one.digest() == mapped.digest()
    return [one_by_one, mapped]


def compare(graphs, reference, rng):
    relation, node_type, node, direction, before, k = questions(rng)
    seen = reference.standing(relation, node, before, direction)
    for options in STRATEGIES:
        seed = int(rng.integers(1 << 40))
        answers = []
        for graph in graphs:
            try:
                answers.append(
                    found(graph, relation, node_type, node, before, k, direction=direction, seed=seed, **options)
                )
            except UserError as error:
                assert "no longer known" in str(error)
                assert reference.ttl is not None and before <= reference.clock
                answers.append(None)
        assert all(answer == answers[0] for answer in answers)
        if answers[0] is None:
            continue
        if options["strategy"] == "recent":
            assert answers[0] == seen[:k]
        elif answers[0]:
            key = key_of(graphs[0], relation, node_type, node, before, direction, seed)
            assert answers[0] == reference.drawn(relation, seen, before, k, key=key, **options)
        assert len(answers[0]) == min(k, len(seen))
        assert all(time < before for _, time, _ in answers[0])
        assert sorted(answers[0], key=lambda e: (e[1], e[2]), reverse=True) == answers[0]
        assert set(answers[0]) <= set(seen) and len(set(answers[0])) == len(answers[0])


WAYS = {"user": [("knows", "out"), ("knows", "in"), ("buys", "out")], "item": [("buys", "in")]}
ENDS = {("buys", "out"): "item"}


def compare_two_hops(graphs, reference, rng):
    """Of some nodes, known and not, as of one moment or one each; along one way or two in the first step, and each way
    on from there in the second."""
    node_type = str(rng.choice(["user", "item"]))
    ids = [int(i) if node_type == "user" else f"i{i}" for i in rng.integers(0, 7 if node_type == "user" else 4, 3)]
    before = int(rng.integers(-5, 16)) if rng.random() < 0.5 else rng.integers(-5, 16, 3)
    first = [WAYS[node_type][i] for i in rng.permutation(len(WAYS[node_type]))[:2]]
    second = [WAYS[end][int(rng.integers(len(WAYS[end])))] for end in {ENDS.get(way, "user"): 0 for way in first}]
    steps = [[hop(way, rng) for way in ways] for ways in (first, second)]
    seed, decreasing = int(rng.integers(1 << 40)), bool(rng.random() < 0.5)
    answers = []
    for graph in graphs:
        numbers = graph.numbers(node_type, ids)
        try:
            around = sample(graph, node_type, numbers, before, steps, seed=seed, decreasing=decreasing)
            answers.append(told(graph, around))
        except UserError as error:
            assert "no longer known" in str(error) and reference.ttl is not None
            answers.append(None)
    assert all(answer == answers[0] for answer in answers)
    if answers[0] is not None:
        known = [id if number >= 0 else None for id, number in zip(ids, numbers.tolist(), strict=True)]
        seeds = list(zip(known, np.broadcast_to(before, 3).tolist(), strict=True))
        assert answers[0] == reference.around(graphs[0], node_type, seeds, steps, seed, decreasing)


def hop(way, rng):
    relation, direction = way
    return Hop(relation, int(rng.integers(1, 5)), direction, **STRATEGIES[int(rng.integers(3))])


def test_sampling_equals_a_reference_that_walks_over_everything(tmp_path):
    random_histories(0, 600, tmp_path)


@pytest.mark.slow
def test_sampling_equals_the_reference_on_ten_thousand_histories(tmp_path):
    random_histories(1_000, 10_000, tmp_path)


def test_a_dropped_past_is_refused_and_the_rest_answers_as_before(tmp_path):
    rng = np.random.default_rng(1)
    graph, reference = new(ttl=500), Reference(500)
    things = [("add", "knows", int(a), int(b), i, 1.0) for i, (a, b) in enumerate(rng.integers(0, 40, (30_000, 2)))]
    play(graph, reference, things, rng)
    held = graph._edges["knows"]
    assert held.base > 20_000 and held.count < 9_000
    assert len(held.out.pool) < 60_000
    numbers = graph.numbers("user", [3])
    with pytest.raises(UserError, match="no longer known"):
        graph.neighbours("knows", numbers, 29_000, 5)
    for before in (29_999, 30_000, 30_200, 31_000):
        assert found(graph, "knows", "user", 3, before, 50) == reference.standing("knows", 3, before)[:50]
    again = new(ttl=500)
    play(again, None, things)
    assert again.digest() == graph.digest()


@pytest.mark.parametrize("gone", [False, True])
def test_each_neighbour_is_drawn_as_often(gone):
    graph = new()
    graph.add("knows", [0] * 10, list(range(1, 11)), list(range(10)))
    standing = set(range(1, 11))
    if gone:
        graph.retract("knows", 0, 3, 20)
        graph.retract("knows", 0, 8, 20)
        standing -= {3, 8}
    counts = dict.fromkeys(standing, 0)
    for seed in range(4_000):
        for who, _, _ in found(graph, "knows", "user", 0, 100, 3, strategy="uniform", seed=seed):
            counts[who] += 1
    expected = 4_000 * 3 / len(standing)
    assert all(abs(n - expected) < 5 * expected**0.5 for n in counts.values())


def test_a_weighted_draw_goes_by_age():
    graph = new()
    graph.add("knows", [0, 0, 0], [1, 2, 3], [0, 10, 20])
    tau, before = 10.0, 21
    counts = {1: 0, 2: 0, 3: 0}
    for seed in range(6_000):
        ((who, _, _),) = found(graph, "knows", "user", 0, before, 1, strategy="weighted", tau=tau, seed=seed)
        counts[who] += 1
    weights = {who: np.exp(-(before - time) / tau) for who, time in ((1, 0), (2, 10), (3, 20))}
    for who, n in counts.items():
        expected = 6_000 * weights[who] / sum(weights.values())
        assert abs(n - expected) < 5 * expected**0.5


def test_a_weighted_draw_goes_by_the_edge_s_own_weight_times_an_expert_s():
    graph = new()
    own = [4.0, 1.0, 0.5, 2.0]
    graph.add("buys", [0] * 4, ["a", "b", "c", "d"], [10] * 4, [[0.0]] * 4, own)
    graph.judge("buys", 0, "c", 11, "weight", 6.0)
    factors = np.array([1.0, 1.0, 6.0, 1.0])
    for before, expected in ((11, np.array(own)), (12, own * factors)):
        counts = dict.fromkeys("abcd", 0)
        for seed in range(4_000):
            ((who, _, _),) = found(graph, "buys", "user", 0, before, 1, strategy="weighted", tau=1e9, seed=seed)
            counts[who] += 1
        times = 4_000 * expected / expected.sum()
        assert (np.abs(np.array(list(counts.values())) - times) < 5 * times**0.5).all()
        assert graph.weights("buys", np.arange(4), before).tolist() == expected.tolist()
    assert graph.weights("buys", np.arange(4), 12, experts=False).tolist() == own


def test_an_old_edge_of_great_weight_is_drawn_though_newer_ones_are_many():
    graph = new()
    graph.add("buys", [0] * 101, ["a", *(f"i{i}" for i in range(100))], [0, *range(100, 200)], [[0.0]] * 101)
    asked = (graph, "buys", "user", 0, 201, 1)
    assert found(*asked, strategy="weighted", tau=1.0)[0][0] != "a"
    heavy = new()
    heavy.add("buys", [0], ["a"], [0], [[0.0]], [1e300])
    heavy.add("buys", [0] * 100, [f"i{i}" for i in range(100)], list(range(100, 200)), [[0.0]] * 100)
    assert found(heavy, *asked[1:], strategy="weighted", tau=1.0)[0][0] == "a"


def test_a_draw_is_the_same_alone_and_among_others():
    rng = np.random.default_rng(2)
    graph = new()
    pairs = rng.integers(0, 30, (2_000, 2))
    graph.add("knows", pairs[:, 0], pairs[:, 1], np.arange(2_000))
    nodes, before = np.arange(30), rng.integers(1_000, 2_000, 30)
    for options in STRATEGIES[1:]:
        whole = graph.neighbours("knows", nodes, before, 4, seed=9, **options)
        for i in range(30):
            alone = graph.neighbours("knows", nodes[i : i + 1], int(before[i]), 4, seed=9, **options)
            assert all((a[0] == w[i]).all() for a, w in zip(alone, whole, strict=True))
        assert (graph.neighbours("knows", nodes, before, 4, seed=10, **options).edges != whole.edges).any()


def test_a_late_edge_is_seen_where_its_time_is():
    graph = new()
    graph.add("knows", [1, 1], [2, 3], [10, 30])
    graph.add("knows", [1], [4], [20])
    assert [who for who, _, _ in found(graph, "knows", "user", 1, 25, 5)] == [4, 2]
    assert [who for who, _, _ in found(graph, "knows", "user", 1, 31, 5)] == [3, 4, 2]


def test_a_retraction_is_seen_after_its_time_only():
    graph = new()
    graph.add("knows", [1, 2], [2, 1], [10, 20])
    assert graph.retract("knows", 2, 1, 30) == 2  # not directed: both, from either end
    assert graph.retract("knows", 2, 1, 30) == graph.retract("knows", 1, 9, 30) == graph.retract("knows", 8, 9, 30) == 0
    assert len(found(graph, "knows", "user", 1, 30, 5)) == 2
    assert found(graph, "knows", "user", 1, 31, 5) == found(graph, "knows", "user", 2, 31, 5) == []
    assert graph.retract("knows", 1, 2, 15) == 1  # said later of an earlier time
    assert len(found(graph, "knows", "user", 1, 16, 5)) == 0


def test_a_node_is_first_seen_with_whatever_names_it_first():
    graph = TemporalGraph([NodeType("user", ("age",)), "shop"], [Relation("knows", "user", "user"), BUYS])
    graph.add("knows", ["a", "b"], ["b", "c"], [5, 9])
    graph.add("knows", ["c"], ["a"], [2])  # late
    graph.retract("knows", "a", "b", 6)
    graph.add("buys", ["b"], ["x"], [4])
    graph.put("user", ["b", "d"], [3, 8], [[1.0], [2.0]])
    graph.judge("knows", "e", "a", 7, "forbid")
    graph.make("user", ["f"])
    seen = dict(zip(graph.ids("user"), graph.first_seen("user").tolist(), strict=True))
    assert seen == {"a": 2, "b": 3, "c": 2, "d": 8, "e": 7, "f": MIN_TIME}
    assert graph.first_seen("shop").tolist() == [4]
    with pytest.raises(UserError, match="no such node type"):
        graph.first_seen("dog")


def test_a_node_whose_edges_were_dropped_was_seen_before_any_moment_that_can_be_asked():
    graph = TemporalGraph(["user"], [Relation("knows", "user", "user")], ttl=10)
    graph.add("knows", [0] * 5_000, [1] * 5_000, [0] * 5_000)
    graph.add("knows", [2], [3], [100])
    assert len(graph.times("knows")) == 1
    assert graph.first_seen("user").tolist() == [MIN_TIME, MIN_TIME, 100, 100]


def test_what_does_not_fit_is_refused_and_nothing_is_added():
    graph = new()
    graph.add("buys", ["anna", 7], ["tea", b"\x00"], [1, 2], [[1.0], [2.0]])
    before = graph.digest()
    for error, text, call in (
        (UserError, "no such relation", lambda: graph.add("sells", [1], [1], [1])),
        (UserError, "lengths differ", lambda: graph.add("knows", [1], [1, 2], [1])),
        (UserError, "lengths differ", lambda: graph.add("knows", [1], [2], [1, 2])),
        (WrongTypeError, "not times", lambda: graph.add("knows", [1], [2], [1.5])),
        (UserError, "out of range", lambda: graph.add("knows", [1], [2], [1 << 62])),
        (UserError, "features do not fit", lambda: graph.add("buys", [1], [2], [1])),
        (UserError, "features do not fit", lambda: graph.add("knows", [1], [2], [1], [[1.0]])),
        (UserError, "a weight out of range.*got 0.0", lambda: graph.add("buys", [1], [2], [1], [[1.0]], [0])),
        (UserError, "a weight out of range.*got -1.0", lambda: graph.add("buys", [1], [2], [1], [[1.0]], [-1.0])),
        (UserError, "a weight out of range.*got nan", lambda: graph.add("buys", [1], [2], [1], [[1.0]], [np.nan])),
        (UserError, "a weight out of range.*got inf", lambda: graph.add("buys", [1], [2], [1], [[1.0]], [np.inf])),
        (UserError, "weights do not fit", lambda: graph.add("buys", [1], [2], [1], [[1.0]], [1.0, 2.0])),
        (UserError, "weights do not fit", lambda: graph.add("buys", [1], [2], [1], [[1.0]], ["1"])),
        (UserError, "weights along a relation without", lambda: graph.add("knows", [1], [2], [1], None, [1.0])),
        (NotFiniteError, "not finite", lambda: graph.add("buys", [1], [2], [1], [[np.nan]])),
        (WrongTypeError, "not a node id", lambda: graph.add("knows", [1, True], [2, 3], [1, 2])),
        (WrongTypeError, "not a node id", lambda: graph.add("buys", ["new"], [None], [1], [[1.0]])),
        (WrongTypeError, "not a node id", lambda: graph.add("buys", [1.5], ["x"], [1], [[1.0]])),
        (WrongTypeError, "not a node id", lambda: graph.add("buys", [1 << 70], ["x"], [1], [[1.0]])),
        (UserError, "without features", lambda: graph.put("item", ["tea"], [1], [[1.0]])),
        (UserError, "no such node type", lambda: graph.numbers("dog", [1])),
        (UserError, "k out of range", lambda: graph.neighbours("knows", np.array([0]), 5, 0)),
        (UserError, "tau goes with", lambda: graph.neighbours("knows", np.array([0]), 5, 1, strategy="weighted")),
        (UserError, "no such strategy", lambda: graph.neighbours("knows", np.array([0]), 5, 1, strategy="best")),
        (UserError, "lengths differ", lambda: graph.neighbours("knows", np.array([0]), np.array([1, 2]), 1)),
        (UserError, "no such direction", lambda: graph.neighbours("knows", np.array([0]), 5, 1, direction="up")),
        (UserError, "seed out of range", lambda: graph.neighbours("knows", np.array([0]), 5, 1, seed=1 << 62)),
        (WrongTypeError, "not whole numbers", lambda: graph.neighbours("knows", np.array([0]), 5.5, 1)),
        (UserError, "number out of range", lambda: graph.neighbours("knows", np.array([0]), 1 << 63, 1)),
        (WrongTypeError, "not whole numbers", lambda: graph.features("user", np.array([0.5]), 5)),
        (WrongTypeError, "not a node id", lambda: graph.add("knows", ["\ud800"], ["x"], [1])),
        (WrongTypeError, "not times", lambda: graph.advance(1 << 70)),
        (UserError, "out of range", lambda: graph.advance(1 << 62)),
        (UserError, "no such edge", lambda: graph.edges("buys", np.array([2]))),
    ):
        with pytest.raises(error, match=text):
            call()
    assert graph.digest() == before
    assert graph.edges("buys", np.array([1]))[3].tolist() == [[2.0]]


def test_a_graph_is_made_of_what_fits_together():
    with pytest.raises(UserError, match="no such node type"):
        TemporalGraph(["a"], [Relation("r", "a", "b")])
    with pytest.raises(UserError, match="given twice"):
        TemporalGraph(["a", "a"], [])
    with pytest.raises(UserError, match="time to live"):
        TemporalGraph(["a"], [], ttl=0)
    graph = TemporalGraph(["a"], [Relation("r", "a", "a")])
    with pytest.raises(IncompatibleError, match="other nodes"):
        graph.load_state(new().state())
    with pytest.raises(IncompatibleError, match="features"):
        TemporalGraph([NodeType("user", ("age", "size")), "item"], new().relations.values()).load_state(new().state())
    assert (graph.clock, graph.count("r")) == (MIN_TIME, 0)
    empty = graph.neighbours("r", graph.numbers("a", ["nobody"]), 10, 3)
    assert (empty.nodes.tolist(), empty.counts.tolist()) == ([[-1, -1, -1]], [0])


def test_files_hold_the_same_graph_as_memory(tmp_path):
    rng = np.random.default_rng(3)
    things = history(rng, 3_000, users=300, items=50, times=2_000)
    memory, files = new(ttl=900), new(ttl=900, folder=tmp_path / "columns")
    play(memory, None, things, rng)
    play(files, None, things, rng)
    assert memory.digest() == files.digest()
    assert next((tmp_path / "columns").glob("*/edges.knows.out.pool")).stat().st_size >= 16 * 1_000


def test_readers_see_whole_blocks_while_one_writes():
    graph = TemporalGraph(["n"], [Relation("r", "n", "n")])
    width, blocks = 64, 1_500
    torn, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            numbers = graph.numbers("n", [0])
            result = graph.neighbours("r", numbers, 1 << 40, width * blocks)
            n = int(result.counts[0])
            edges = result.edges[0, :n]
            if n % width or (edges != np.arange(n)[::-1]).any() or (result.times[0, :n] != edges // width).any():
                torn.append(n)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for block in range(blocks):
        graph.add("r", [0] * width, list(range(block * width, (block + 1) * width)), [block] * width)
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert graph.count("r") == width * blocks


def test_a_barrier_is_passed_when_everything_before_it_can_be_sampled():
    graph = new()
    wanted = {"data.chat/0": 10, "data.chat/1": 5}
    assert not graph.reached(wanted)
    graph.advance(100, {"data.chat/0": 10})
    assert not graph.reached(wanted)
    later = threading.Thread(target=lambda: graph.advance(120, {"data.chat/1": 7}))
    later.start()
    assert graph.reached(wanted, timeout=30)
    later.join()
    assert (graph.clock, graph.offsets) == (120, {"data.chat/0": 10, "data.chat/1": 7})


def test_two_graphs_in_one_folder_do_not_touch_each_other_and_leave_nothing(tmp_path):
    one, two = new(folder=tmp_path), new(folder=tmp_path)
    one.add("knows", np.arange(5_000), np.arange(5_000) % 7, np.arange(5_000))
    two.add("knows", [1], [2], [3])
    assert len(found(one, "knows", "user", 3, 9_000, 9)) == 9 and len(found(two, "knows", "user", 1, 9, 9)) == 1
    del one, two
    assert list(tmp_path.iterdir()) == []


def test_numpy_s_own_texts_and_numbers_are_ids_and_times():
    graph = new()
    graph.add("knows", [np.str_("ann"), np.int32(5)], ["bob", np.str_("ann")], [np.int64(1), 2])
    assert graph.ids("user") == ["ann", "bob", 5]
    assert graph.numbers("user", np.array(["bob", "eve"])).tolist() == [1, -1]
    assert graph.retract("knows", np.str_("bob"), "ann", np.int64(9)) == 1
    assert type(graph.clock) is int

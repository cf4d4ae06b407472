"""Experts' verdicts: what is sampled equals a reference that walks over everything, live, saved and mapped."""

import numpy as np
import pytest

from graph.snapshot import restore, snapshot
from tests.graph.reference import Reference, found, history, key_of, new, play, questions
from tidemill.errors import UserError
from tidemill.state import decode, encode

STRATEGIES = ({"strategy": "recent"}, {"strategy": "uniform"}, {"strategy": "weighted", "tau": 3.0})
FAR = 1_000


def random_histories(first, count, tmp_path):
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        things = history(rng, int(rng.integers(1, 60)), users=4, verdicts=0.4)
        ttl = None if rng.random() < 0.6 else int(rng.integers(1, 10))
        live, reference = new(ttl), Reference(ttl)
        play(live, reference, things, rng)
        graphs = [live]
        if seed % 10 == 0:
            loaded, mapped = new(ttl), new(ttl)
            loaded.load_state(decode(encode(live.state()), dict))
            snapshot(live, tmp_path / f"{seed}")
            restore(mapped, tmp_path / f"{seed}", check=True)
            graphs += [loaded, mapped]
            if seed % 20 == 0:  # they go on alike
                more = history(rng, 20, users=4, verdicts=0.4)
                for graph, walked in zip(graphs, (reference, None, None), strict=True):
                    play(graph, walked, more)
            assert len({graph.digest() for graph in graphs}) == 1
        for _ in range(12):
            compare(graphs, reference, rng)


def asked(graphs, *args, **options):
    """The one answer of all graphs, None where that long ago is no longer known."""
    answers = []
    for graph in graphs:
        try:
            answers.append(found(graph, *args, **options))
        except UserError as error:
            assert "no longer known" in str(error)
            answers.append(None)
    assert all(answer == answers[0] for answer in answers)
    return answers[0]


def compare(graphs, reference, rng):
    relation, node_type, node, direction, before, k = questions(rng)
    for experts in (True, False):
        seen = reference.standing(relation, node, before, direction, experts)
        weights = [reference.weight(relation, number, before, experts) for _, _, number in seen]
        for options in STRATEGIES:
            seed = int(rng.integers(1 << 40))
            query = options | {"direction": direction, "seed": seed, "experts": experts}
            answer = asked(graphs, relation, node_type, node, before, k, **query)
            if answer is None:
                return
            weighted = options["strategy"] == "weighted"
            able = [edge for edge, w in zip(seen, weights, strict=True) if w > 0 or not weighted or len(seen) == 0]
            if options["strategy"] == "recent":
                assert answer == seen[:k]
            elif answer:
                key = key_of(graphs[0], relation, node_type, node, before, direction, seed)
                assert answer == reference.drawn(relation, seen, before, k, key=key, experts=experts, **options)
            assert len(answer) == min(k, len(able)) and set(answer) <= set(able) and len(set(answer)) == len(answer)
            assert sorted(answer, key=lambda e: (e[1], e[2]), reverse=True) == answer
    for graph in graphs:
        there = reference.standing(relation, node, before, direction)
        assert graph.weights(relation, np.array([n for _, _, n in there], np.int64), before).tolist() == [
            reference.weight(relation, number, before) for _, _, number in there
        ]
        number = graph.numbers(node_type, [node])[0]
        if number >= 0:
            assert graph.degrees(relation, before, direction=direction)[number] == len(there)
        for experts in (True, False):
            numbers = set(graph.standing(relation, before, experts=experts).tolist())
            users = range(7)
            assert numbers == {n for u in users for _, _, n in reference.standing(relation, u, before, "out", experts)}


def test_sampling_with_verdicts_equals_the_reference(tmp_path):
    random_histories(0, 500, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_sampling_with_verdicts_equals_the_reference_on_ten_thousand_histories(tmp_path):
    random_histories(1_000, 10_000, tmp_path)


def test_verdicts_that_are_all_revoked_leave_every_draw_as_it_was():
    rng = np.random.default_rng(4)
    pairs = rng.integers(0, 20, (1_500, 2))
    plain, judged = new(), new()
    for graph in (plain, judged):
        graph.add("knows", pairs[:, 0], pairs[:, 1], np.arange(1_500))
        graph.retract("knows", 3, 4, 900)
    for user in range(0, 20, 2):
        for verdict in ("forbid", "weight", "revoke"):
            judged.judge("knows", user, (user + 1) % 20, 700, verdict, 0.1)
    nodes, before = np.arange(20), np.array([650, 1_400] * 10)
    for options in STRATEGIES:
        for k in (3, FAR):
            a, b = (g.neighbours("knows", nodes, before, k, seed=5, **options) for g in (plain, judged))
            np.testing.assert_equal(a, b)
    np.testing.assert_array_equal(plain.degrees("knows", 1_000), judged.degrees("knows", 1_000))


def test_nodes_without_verdicts_are_never_looked_at_closely(monkeypatch):
    graph = new()
    graph.add("knows", [1, 2, 3], [2, 3, 4], [10, 20, 30])
    graph.judge("knows", 1, 2, 15, "forbid")

    def closely(*args):
        raise AssertionError("looked at closely")

    monkeypatch.setattr("graph.edges.select_judged", closely)
    assert [who for who, _, _ in found(graph, "knows", "user", 3, FAR, 5)] == [4, 2]
    with pytest.raises(AssertionError, match="closely"):
        found(graph, "knows", "user", 2, FAR, 5)


def test_a_weight_is_a_factor_of_weighted_draws():
    graph = new()
    graph.add("knows", [0, 0, 0, 0], [1, 2, 3, 4], [0, 10, 20, 15])
    graph.judge("knows", 1, 0, 20, "weight", 8.0)
    graph.judge("knows", 0, 4, 20, "weight", 0.0)
    tau, before = 10.0, 21
    counts = {1: 0, 2: 0, 3: 0}
    for seed in range(6_000):
        ((who, _, _),) = found(graph, "knows", "user", 0, before, 1, strategy="weighted", tau=tau, seed=seed)
        counts[who] += 1
    factors = {1: 8.0, 2: 1.0, 3: 1.0}
    weights = {who: factors[who] * np.exp(-(before - time) / tau) for who, time in ((1, 0), (2, 10), (3, 20))}
    for who, n in counts.items():
        expected = 6_000 * weights[who] / sum(weights.values())
        assert abs(n - expected) < 5 * expected**0.5
    assert len(found(graph, "knows", "user", 0, before, 9, strategy="weighted", tau=tau)) == 3
    assert len(found(graph, "knows", "user", 0, before, 9, strategy="uniform")) == 4


def test_a_heavy_old_edge_is_drawn_though_newer_ones_are_many():
    graph = new()
    graph.add("knows", [0] * 101, [1, *range(2, 102)], [0, *range(100, 200)])
    graph.judge("knows", 0, 1, 150, "weight", 1e300)
    ((who, _, _),) = found(graph, "knows", "user", 0, 201, 1, strategy="weighted", tau=1.0)
    assert who == 1

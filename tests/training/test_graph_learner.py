"""The learner on a live graph: however rows are cut, old rows as of their own time, and what it learns."""

import numpy as np
import pytest

from graph.neighbourhood import Neighbourhood, types_of
from graph.relation import Relation
from graph.store import TemporalGraph
from tidemill.errors import ConfigError, IncompatibleError
from tidemill.learner import LEARN, PREDICT, PREDICT_LEARN
from tidemill.state import encode
from training.graph_learner import GraphLearner

SECOND = 1_000_000


def grown(n=3_000, seed=0):
    """Nodes whose last edge says what comes next; rows (a feature, a node, a time) and labels."""
    rng = np.random.default_rng(seed)
    graph = TemporalGraph(["node"], [Relation("was", "node", "node", ("bad",))])
    nodes, time = rng.integers(0, 20, n), np.arange(n) * 10 * SECOND
    bad = np.zeros((20, n), bool)
    bad[:] = np.repeat(rng.random((20, n // 100)) < 0.5, 100, axis=1)
    labels = bad[nodes, np.arange(n)].astype(float)
    graph.add("was", nodes, nodes, time + SECOND, labels[:, None])
    rows = np.stack([rng.normal(size=n), graph.numbers("node", nodes).astype(float), time.astype(float)], axis=1)
    return graph, rows, labels


def learner(graph, **changes):
    around = Neighbourhood(types_of(graph), [("of", "node")], k=4, scales=(60.0,)).params()
    settings = {"around": around, "batch": 8, "replay": 4, "kept": 100, "rate": 0.01}
    made = GraphLearner(("x", "@of", "@"), **settings | changes)
    made.see(graph)
    return made


def operations(n, seed=1):
    return np.random.default_rng(seed).choice(np.array([PREDICT, LEARN, PREDICT_LEARN], np.uint8), n)


def test_blocks_give_what_rows_give_one_by_one():
    graph, X, y = grown(500)
    ops = operations(500)
    whole = learner(graph)
    want = whole.run_block(ops, X, y)
    for cuts in (range(1, 500), [3, 4, 90, 91, 400]):
        one, got = learner(graph), []
        for part in np.split(np.arange(500), list(cuts)):
            got.append(one.run_block(ops[part], X[part], y[part]))
        assert np.concatenate(got).tobytes() == want.tobytes()
        assert encode(one) == encode(whole)
    assert np.isnan(want).any() and len(set(want[~np.isnan(want)].tolist())) > 50


def test_more_than_a_span_is_the_same_as_less(monkeypatch):
    graph, X, y = grown(500)
    ops = operations(500)
    whole = learner(graph)
    want = whole.run_block(ops, X, y)
    monkeypatch.setattr("training.graph_learner.SPAN", 37)
    one = learner(graph)
    assert one.run_block(ops, X, y).tobytes() == want.tobytes() and encode(one) == encode(whole)


def test_a_state_goes_on_where_it_was():
    graph, X, y = grown(400)
    ops = operations(400)
    whole = learner(graph)
    want = whole.run_block(ops, X, y)[203:]
    first = learner(graph)
    first.run_block(ops[:203], X[:203], y[:203])
    again = GraphLearner(**first.params())
    again.load_state(first.state())
    again.see(graph)
    assert again.run_block(ops[203:], X[203:], y[203:]).tobytes() == want.tobytes()
    assert encode(again) == encode(whole)
    with pytest.raises(IncompatibleError):
        GraphLearner(**first.params()).load_state({"rows": X})


def test_what_comes_later_changes_nothing_of_the_past():
    graph, X, y = grown(400)
    before = learner(graph)
    want = before.run_block(operations(400), X, y)
    last = int(X[-1, 2])
    graph.add("was", [0] * 50, [1] * 50, [last] * 50, [[1.0]] * 50)
    after = learner(graph)
    got = after.run_block(operations(400), X, y)
    assert got.tobytes() == want.tobytes() and encode(after) == encode(before)


def test_it_learns_what_only_the_neighbourhood_tells():
    graph, X, y = grown()
    scores = learner(graph).learn_block(X, y)[1_500:]
    told = y[1_500:] != 0
    auc = (scores[told][:, None] > scores[~told][None]).mean()
    assert auc > 0.85
    alone = learner(graph, around=Neighbourhood(types_of(graph), [("of", "node")], along=[]).params())
    scores = alone.learn_block(X, y)[1_500:]
    assert (scores[told][:, None] > scores[~told][None]).mean() < 0.6


def test_the_reservoir_holds_every_row_of_the_past_alike():
    graph, X, y = grown()
    held = np.zeros(3_000)
    for seed in range(20):
        one = learner(graph, seed=seed * 10)
        one.run_block(np.full(3_000, LEARN, np.uint8), X, y)
        assert len(one.state()["old"]) == 100
        held[(one.state()["old"][:, 2] / (10 * SECOND)).astype(int)] += 1
    thirds = held.reshape(3, 1_000).sum(axis=1)
    assert thirds.sum() == 2_000 and (abs(thirds - 2_000 / 3) < 90).all()


def test_it_refuses_what_makes_no_training():
    graph, _, _ = grown(100)
    with pytest.raises(ConfigError, match="no such training"):
        learner(graph, batch=0)
    unseen = GraphLearner(**learner(graph).params())
    with pytest.raises(ConfigError, match="no graph"):
        unseen.predict_one(np.zeros(3))

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from graph.baselines import edge_bank
from graph.evaluate import (
    BATCH,
    Links,
    area_under_roc,
    average_precision,
    evaluate,
    historical_negatives,
    random_negatives,
    ranks_of,
    table,
)
from tidemill.errors import UserError


class Oracle:
    """Gives what it is told to; keeps what it was asked."""

    name = "oracle"

    def __init__(self, score):
        self.asked, self._score = [], score

    def score_and_learn(self, source, target, candidates, time, *, stale=False):
        self.asked.append((len(source), stale))
        return self._score(candidates).astype(np.float32)


def some(count=450):
    return Links(np.arange(count) % 7, np.arange(count) % 5, np.arange(count, dtype=float))


def test_metrics_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = np.r_[1.0, 0.0, rng.integers(0, 2, 200)]
        scores = rng.integers(0, 30, 202).astype(np.float32)
        assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
        assert area_under_roc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_equal_scores_count_half():
    assert ranks_of(np.array([[3, 1, 2], [1, 1, 1], [0, 5, 0]], np.float32)).tolist() == [1.0, 2.0, 2.5]


@pytest.mark.parametrize("protocol", ["causal", "stale"])
def test_a_model_that_says_nothing_gets_chance_and_one_that_knows_all_gets_one(protocol):
    links = some()
    negatives = random_negatives(links, np.arange(100, 200), 9, 1)
    nothing = evaluate(Oracle(lambda c: np.zeros(c.shape)), links, negatives, protocol)
    assert (nothing.mrr, nothing.auc) == (pytest.approx(1 / 5.5), pytest.approx(0.5))
    oracle = Oracle(lambda c: c < 100)
    known = evaluate(oracle, links, negatives, protocol)
    assert (known.mrr, known.hits10, known.ap, known.auc) == (1.0, 1.0, 1.0, 1.0)
    assert oracle.asked == [(BATCH, protocol == "stale"), (BATCH, protocol == "stale"), (50, protocol == "stale")]


def test_stale_knows_less_than_causal():
    links = Links(np.zeros(BATCH, int), np.arange(BATCH) // 2, np.arange(BATCH, dtype=float))
    negatives = random_negatives(links, np.arange(500, 600), 5, 1)
    causal, stale = (evaluate(edge_bank(), links, negatives, protocol).mrr for protocol in ("causal", "stale"))
    assert causal > 0.6 > stale == pytest.approx(1 / 3.5)


def test_negatives_come_by_seed():
    links = some()
    one, again, other = (random_negatives(links, np.arange(50), 20, seed) for seed in (1, 1, 2))
    assert (one == again).all() and (one != other).any() and set(one.ravel().tolist()) == set(range(50))


def test_historical_negatives_are_of_the_source_s_past():
    past = Links(np.array([0, 0, 1]), np.array([10, 11, 12]), np.zeros(3))
    links = Links(np.array([0, 1, 2]), np.array([5, 5, 5]), np.ones(3))
    drawn = historical_negatives(links, past, 40, 1)
    assert [set(row) for row in drawn.tolist()] == [{10, 11}, {12}, {10, 11, 12}]


def test_links_out_of_order_are_refused():
    with pytest.raises(UserError, match="order of time"):
        Links(np.zeros(2, int), np.zeros(2, int), np.array([1.0, 0.0]))
    with pytest.raises(UserError, match="lengths differ"):
        Links(np.zeros(2, int), np.zeros(1, int), np.zeros(2))


def test_a_table_names_model_and_protocol():
    links = some(10)
    quality = evaluate(edge_bank(), links, random_negatives(links, np.arange(9), 3, 1), "stale")
    assert table([quality]).splitlines()[1].split()[:2] == ["EdgeBank", "stale"]

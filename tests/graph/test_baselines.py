import numpy as np

from graph.baselines import edge_bank, popularity, recency

# 0 → 1 at 0 s, 2 → 1 at 100 s, 1 → 0 at 200 s
PAST = np.array([0, 2, 1]), np.array([1, 1, 0]), np.array([0.0, 100.0, 200.0])


def scores(baseline, source, now=1_000.0):
    baseline.learn(*PAST)
    return baseline.score(np.array([source]), np.array([[0, 1, 2, 3]]), np.array([now]))[0].tolist()


def test_edge_bank_knows_pairs():
    assert scores(edge_bank(), 0) == [0, 1, 0, 0]
    assert scores(edge_bank(950.0), 0) == [0, 0, 0, 0]
    assert scores(edge_bank(950.0), 2) == [0, 1, 0, 0]


def test_popularity_counts_links_to_a_target():
    np.testing.assert_allclose(scores(popularity(), 9), np.log1p([1, 2, 0, 0]), rtol=1e-6)


def test_recency_goes_by_the_pair_in_either_direction_then_by_the_target():
    zero, one, two, three = scores(recency(), 0)
    age = np.log1p(800.0)
    np.testing.assert_allclose(one, -age - np.log1p(900.0) / 2 + np.log1p(2) / 10, rtol=1e-5)
    assert one > zero > two == three


def test_stale_scores_do_not_see_the_block():
    links = np.array([0, 0]), np.array([1, 1]), np.array([0.0, 10.0])
    candidates = np.array([[1], [1]])
    assert edge_bank().score_and_learn(*links[:2], candidates, links[2])[:, 0].tolist() == [0, 1]
    assert edge_bank().score_and_learn(*links[:2], candidates, links[2], stale=True)[:, 0].tolist() == [0, 0]

"""Spread batches reach every cloud; k-centre is within twice the best radius."""

import itertools

import numpy as np

from streams.labelling.spread import clusters, k_centre


def clouds(seed=0, each=20):
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [10, 0], [0, 10], [10, 10.0]])
    return np.concatenate([c + rng.normal(size=(each, 2)) for c in centres])


def test_each_cloud_once():
    X = clouds()
    for found in (k_centre(X, 4), clusters(X, np.ones(len(X)), 4, seed=1)):
        assert sorted(i // 20 for i in found) == [0, 1, 2, 3]


def test_what_was_taken_is_kept_away_from():
    X = clouds()
    found = k_centre(X, 2, taken=X[[3, 25]])
    assert sorted(i // 20 for i in found) == [2, 3]


def test_the_radius_is_within_twice_the_best():
    X = np.random.default_rng(4).normal(size=(14, 2))

    def radius(chosen):
        return max(min(np.linalg.norm(x - X[c]) for c in chosen) for x in X)

    best = min(radius(c) for c in itertools.combinations(range(14), 3))
    assert radius(k_centre(X, 3)) <= 2 * best


def test_heavy_rows_draw_the_centres():
    X = np.array([[0.0], [1.0], [2.0], [10.0], [10.5]])
    weight = np.array([0.01, 0.01, 1.0, 1.0, 0.01])
    assert sorted(clusters(X, weight, 2, seed=0)) == [2, 3]


def test_more_than_there_are():
    X = clouds(each=1)
    assert sorted(k_centre(X, 9)) == sorted(clusters(X, np.ones(4), 9, seed=0)) == [0, 1, 2, 3]
    assert k_centre(X[:0], 3) == [] and clusters(X, np.ones(4), 0, seed=0) == []
    same = np.zeros((6, 2))
    assert len(set(k_centre(same, 4))) == 4 and len(set(clusters(same, np.ones(6), 4, seed=0))) == 4

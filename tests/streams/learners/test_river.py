"""The adapter drives a River estimator as one would by hand."""

import numpy as np
import pytest
from river import anomaly, compose, drift, ensemble, forest, linear_model, neighbors, preprocessing, tree

from streams.learners.river import RiverLearner
from tidemill.errors import ConfigError, IncompatibleError, NotFiniteError, SubmissionError


def rows(n=300):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    return X, (X.sum(axis=1) > 0).astype(float)


def dicts(X):
    return [dict(zip("ab", row, strict=True)) for row in X.tolist()]


@pytest.mark.parametrize(
    "make",
    [
        lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
        lambda: forest.ARFClassifier(n_models=3, seed=1),
        lambda: tree.HoeffdingAdaptiveTreeClassifier(seed=1, grace_period=20),
        lambda: neighbors.KNNClassifier(n_neighbors=3, engine=neighbors.LazySearch(window_size=50)),
        lambda: preprocessing.StandardScaler() | neighbors.KNNClassifier(engine=neighbors.SWINN(seed=1)),
        lambda: ensemble.LeveragingBaggingClassifier(linear_model.LogisticRegression(), n_models=3, seed=1),
        linear_model.Perceptron,
    ],
)
def test_a_classifier_scores_as_by_hand_and_survives_saving(make):
    X, y = rows()
    by_hand, want = make(), []
    for x, label in zip(dicts(X), y.tolist(), strict=True):
        want.append((by_hand.predict_proba_one(x) or {True: 0.5}).get(True, 0.0))
        by_hand.learn_one(x, bool(label))
    learner = RiverLearner(["a", "b"], make())
    first = learner.learn_block(X[:150], y[:150])
    resumed = RiverLearner(**learner.params())
    resumed.load_state(learner.state())
    assert np.concatenate([first, resumed.learn_block(X[150:], y[150:])]).tolist() == want


def test_a_regressor_and_an_anomaly_detector():
    X, _ = rows()
    by_hand, want = linear_model.LinearRegression(), []
    for x, target in zip(dicts(X), X[:, 0].tolist(), strict=True):
        want.append(by_hand.predict_one(x))
        by_hand.learn_one(x, target)
    assert RiverLearner(["a", "b"], linear_model.LinearRegression()).learn_block(X, X[:, 0]).tolist() == want
    detector = RiverLearner(["a", "b"], preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=3, window_size=50))
    detector.learn_block(X, np.zeros(len(X)))
    assert detector.predict_one(np.array([9.0, 9.0])) > detector.predict_one(np.array([0.0, 0.0]))


def test_before_any_class_is_seen_nothing_is_known():
    assert RiverLearner(["a"], tree.HoeffdingTreeClassifier()).predict_one(np.array([1.0])) == 0.5


def test_an_estimator_without_a_seed_is_refused():
    with pytest.raises(ConfigError, match="without a seed"):
        RiverLearner(["a"], forest.ARFClassifier())


def test_an_estimator_that_cannot_be_saved_says_so_and_still_learns():
    model = compose.FuncTransformer(lambda x: x) | linear_model.LogisticRegression()
    learner = RiverLearner(["a", "b"], model)
    assert "func" in learner.cannot_save
    X, y = rows(20)
    assert len(learner.learn_block(X, y)) == 20
    for ask in (learner.state, learner.params):
        with pytest.raises(SubmissionError, match=r"func.*replaying"):
            ask()


def test_weights_reach_the_estimator_or_are_refused():
    X, y = rows(50)
    by_hand = linear_model.LogisticRegression()
    for x, label, w in zip(dicts(X), y.tolist(), np.arange(50.0), strict=True):
        if w:
            by_hand.learn_one(x, bool(label), w=w)
    learner = RiverLearner(["a", "b"], linear_model.LogisticRegression())
    learner.learn_block(X, y, np.arange(50.0))
    assert learner.estimator.weights == by_hand.weights
    knn = RiverLearner(["a", "b"], neighbors.KNNClassifier(engine=neighbors.LazySearch()))
    assert not knn.takes_weights
    with pytest.raises(ConfigError, match="no weights"):
        knn.learn_block(X, y, np.full(50, 2.0))
    knn.learn_block(X, y, np.ones(50))


def test_wrong_things_are_named():
    with pytest.raises(ConfigError, match="ADWIN"):
        RiverLearner(["a"], drift.ADWIN())
    with pytest.raises(ConfigError, match="features"):
        RiverLearner([], linear_model.LogisticRegression())
    learner = RiverLearner(["a"], linear_model.LogisticRegression())
    with pytest.raises(IncompatibleError, match="another estimator"):
        learner.load_state(RiverLearner(["a"], tree.HoeffdingTreeClassifier()).state())
    with pytest.raises(NotFiniteError):
        learner.predict_one(np.array([np.nan]))

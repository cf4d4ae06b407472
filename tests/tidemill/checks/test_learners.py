"""The suite sees each kind of broken learner. A suite that cannot fail proves nothing."""

import numpy as np
import pytest

from streams.learners.logistic import ScaledLogistic
from streams.learners.statistics import Statistics
from tidemill.checks import learners as suite
from tidemill.errors import TidemillError


class ForgetsTheLastRow(ScaledLogistic):
    def run_block(self, ops, X, y, w=None):
        out = super().run_block(ops, X, y, w)
        if len(X) > 1:
            self._count -= 1
        return out


class AveragesTheBlock(ScaledLogistic):
    """What River's `learn_many` does: one step for the whole block."""

    def learn_block(self, X, y, w=None):
        out = self.predict_block(X)
        if len(X):
            self.learn_one(X.mean(axis=0), float(round(y.mean())))
        return out


class IgnoresWeights(ScaledLogistic):
    def learn_block(self, X, y, w=None):
        return super().learn_block(X, y)


class LearnsWhilePredicting(ScaledLogistic):
    def predict_block(self, X):
        out = super().predict_block(X)
        self._count += len(X)
        return out


class SavesAView(ScaledLogistic):
    def state(self):
        return {**super().state(), "mean": self._state[0]}


class LosesTheIntercept(ScaledLogistic):
    def load_state(self, state):
        super().load_state({**state, "intercept": np.zeros(1)})


class ForgetsAParameter(ScaledLogistic):
    def params(self):
        return {k: v for k, v in super().params().items() if k != "l2"}


class IsRandom(ScaledLogistic):
    def __init__(self, features, **numbers):
        super().__init__(features, **numbers)
        self._bias += np.random.default_rng().normal()


class ExplainsSomethingElse(ScaledLogistic):
    def explain_one(self, x):
        return {**super().explain_one(x), "bias": 1.0}


class PredictsWhereItOnlyLearns(ScaledLogistic):
    def run_block(self, ops, X, y, w=None):
        return np.nan_to_num(super().run_block(ops, X, y, w))


class SaysItMerges(ScaledLogistic):
    exact_merge = True


class MergesRoundedMeans(ScaledLogistic):
    """The textbook formula for means: right, but for the last bits."""

    exact_merge = True

    def learn_block(self, X, y, w=None):
        out = super().learn_block(X, y, w)
        self._state[1:] = 0.0
        self._bias[:] = 0.0
        return out

    def merge(self, other):
        n, m = self._count[0], other._count[0]
        if n + m:
            self._state[0] += (other._state[0] - self._state[0]) * m / (n + m)
        self._count += m


class ChangesWhatItMerges(Statistics):
    def merge(self, other):
        super().merge(other)
        other._moments = self._moments


BROKEN = {
    ForgetsTheLastRow: {"one_by_one", "operations", "split_invariance"},
    AveragesTheBlock: {"one_by_one"},
    IgnoresWeights: {"one_by_one"},
    LearnsWhilePredicting: {"one_by_one", "predict_is_pure"},
    SavesAView: {"save_and_load"},
    LosesTheIntercept: {"save_and_load", "rebuild"},
    ForgetsAParameter: {"rebuild"},
    IsRandom: {"determinism"},
    ExplainsSomethingElse: {"explanation_adds_up"},
    PredictsWhereItOnlyLearns: {"operations"},
    SaysItMerges: {"merge"},
    MergesRoundedMeans: {"merge"},
    ChangesWhatItMerges: {"merge"},
}


def _rows():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 3)) + 1.0
    return X, (X[:, 0] + X[:, 1] > 2.0).astype(float)


@pytest.mark.parametrize(("cls", "name"), [(cls, name) for cls, names in BROKEN.items() for name in sorted(names)])
def test_a_broken_learner_is_seen(cls, name):
    X, y = _rows()
    with pytest.raises((AssertionError, TidemillError)):
        settings = {"lr": 0.1, "l2": 0.01} if issubclass(cls, ScaledLogistic) else {}
        getattr(suite, f"check_{name}")(lambda: cls(["a", "b", "c"], **settings), X, y)


def test_a_sound_learner_passes():
    X, y = _rows()
    suite.check_learner(lambda: ScaledLogistic(["a", "b", "c"], lr=0.1, l2=0.01), X, y)


def test_a_learner_whose_merge_is_exact_passes():
    X, y = _rows()
    suite.check_learner(lambda: Statistics(["a", "b", "c"]), X, y)


def test_every_check_has_been_seen_to_fail():
    assert {name for names in BROKEN.values() for name in names} == {
        check.__name__.removeprefix("check_") for check in suite.CHECKS
    }


def test_learners_are_found_in_a_package_and_in_one_module():
    assert ScaledLogistic in suite.find_learners("streams.learners")
    assert suite.find_learners("streams.learners.logistic") == [ScaledLogistic]
    assert suite.find_learners("tidemill.errors") == []

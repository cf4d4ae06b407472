"""Any River estimator as a learner: the same object, driven one event at a time."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from river import anomaly, base, compose, linear_model, naive_bayes, preprocessing, tree

from streams.learners.restore import decode
from streams.learners.rows import as_labels, as_ops, as_row, as_rows, as_targets, as_weights
from streams.learners.save import can_save, encode, unseeded
from tidemill.errors import ConfigError, IncompatibleError, SubmissionError
from tidemill.learner import LEARN, PREDICT, PREDICT_LEARN, Float, Ops

CLASSIFIER, REGRESSOR, ANOMALY = "classifier", "regressor", "anomaly"


class RiverLearner:
    """A River classifier (binary), regressor or anomaly detector, or a pipeline ending in one.

    The score is `predict_proba_one(x)[True]` (`predict_one` where the classifier has no probabilities; 0.5 before it
    has seen any class), `predict_one(x)` or `score_one(x)`. A block is exactly the loop over its rows, never River's
    mini-batches, which are another algorithm. A row of weight 0 is not learned at all (some estimators divide by it).

    State is saved structurally (`streams.learners.save`). Where that cannot be, `cannot_save` says why, `state()`
    raises `SubmissionError`, and the model can only be rebuilt by replaying its input; `answers()` shows whether that
    led to the same.

    Parameters
    ----------
    features: names of the columns, in order; the estimator sees dicts with these keys.
    estimator: a River estimator, which the learner then owns, or the plain form of one from `params()`. An
        estimator that draws random numbers needs a seed (`ConfigError` names the part that has none).
    """

    exact_merge = False

    def __init__(self, features: Sequence[str], estimator: Any) -> None:
        self.features = tuple(features)
        if not self.features or len(set(self.features)) != len(self.features):
            raise ConfigError("features must be named once each, and at least one", got=repr(self.features))
        self._estimator = decode(estimator) if isinstance(estimator, Mapping) else estimator
        if (where := unseeded(self._estimator)) is not None:
            raise ConfigError(f"{where} draws random numbers without a seed", fix="Give it one, such as seed=1")
        self.cannot_save = can_save(self._estimator)
        self._initial = None if self.cannot_save else encode(self._estimator)
        # Only where it is asked for: a hash cannot be copied as the rest of a learner can.
        self._answers = hashlib.sha256() if self.cannot_save else None
        self._find_entry_points()

    def _find_entry_points(self) -> None:
        last = self._estimator
        while isinstance(last, compose.Pipeline):
            last = list(last.steps.values())[-1]
        if isinstance(last, base.Classifier):
            self.kind = CLASSIFIER
        elif isinstance(last, base.Regressor):
            self.kind = REGRESSOR
        elif isinstance(last, (base.AnomalyDetector, base.SupervisedAnomalyDetector)):
            self.kind = ANOMALY
        else:
            wanted = "a classifier, regressor or anomaly detector, or a pipeline ending in one"
            raise ConfigError("not an estimator that gives scores", wanted=wanted, got=type(last).__qualname__)
        self._supervised = isinstance(last, base.SupervisedAnomalyDetector) or self.kind != ANOMALY
        parameters = inspect.signature(last.learn_one).parameters
        self.takes_weights = "w" in parameters

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, str]]:
        """Untrained learners that the conformance suite proves the laws on, with the kind of target each takes."""
        pair = ["a", "b"]
        yield cls(pair, preprocessing.StandardScaler() | linear_model.LogisticRegression()), "binary"
        yield cls(pair, tree.HoeffdingTreeClassifier(grace_period=50)), "binary"
        yield cls(pair, naive_bayes.GaussianNB()), "binary"
        yield cls(pair, preprocessing.StandardScaler() | linear_model.LinearRegression()), "number"
        yield cls(pair, preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(n_trees=5, height=3, seed=1)), "none"

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """The untrained learner behind `params()`. Raises `IntegrityError` where they name anything not allowed."""
        return cls(params["features"], decode(params["estimator"]))

    @property
    def estimator(self) -> Any:
        """The River object itself."""
        return self._estimator

    def predict_one(self, x: Float) -> float:
        return float(self.predict_block(as_row(x, self.features))[0])

    def learn_one(self, x: Float, y: float, w: float = 1.0) -> None:
        weights = None if w == 1.0 else np.array([w])
        self.run_block(np.array([LEARN], dtype=np.uint8), as_row(x, self.features), np.array([y]), weights)

    def predict_block(self, X: Float) -> Float:
        rows = as_rows(X, self.features)
        return np.array([self._score(x) for x in self._dicts(rows)], dtype=np.float64)

    def learn_block(self, X: Float, y: Float, w: Float | None = None) -> Float:
        return self.run_block(np.full(len(X), PREDICT_LEARN, dtype=np.uint8), X, y, w)

    def run_block(self, ops: Ops, X: Float, y: Float, w: Float | None = None) -> Float:
        rows = as_rows(X, self.features)
        ops = as_ops(ops, len(rows))
        check = as_labels if self.kind == CLASSIFIER else as_targets
        targets, weights = check(y, len(rows), ops).tolist(), as_weights(w, len(rows), ops)
        if len(weights) and not self.takes_weights and not (weights[ops != PREDICT] == 1.0).all():
            raise ConfigError(f"{type(self._estimator).__qualname__} takes no weights", fix="Leave the weights out")
        out = np.full(len(rows), np.nan)
        for i, (op, x) in enumerate(zip(ops.tolist(), self._dicts(rows), strict=True)):
            if op != LEARN:
                out[i] = self._score(x)
            if op != PREDICT and not (len(weights) and weights[i] == 0.0):
                weight = {"w": float(weights[i])} if len(weights) and self.takes_weights else {}
                self._learn(x, targets[i], weight)
        if self._answers is not None:
            self._answers.update(out.astype("<f8").tobytes())
        return out

    def _dicts(self, rows: Float) -> Iterator[dict[str, float]]:
        return (dict(zip(self.features, row, strict=True)) for row in rows.tolist())

    def _learn(self, x: dict[str, float], y: float, weight: dict[str, float]) -> None:
        if not self._supervised:
            self._estimator.learn_one(x, **weight)
        else:
            self._estimator.learn_one(x, bool(y) if self.kind == CLASSIFIER else y, **weight)

    def _score(self, x: dict[str, float]) -> float:
        if self.kind == ANOMALY:
            return float(self._estimator.score_one(x))
        if self.kind == REGRESSOR:
            return float(self._estimator.predict_one(x))
        try:
            probabilities = self._estimator.predict_proba_one(x)
        except NotImplementedError:
            answer = self._estimator.predict_one(x)
            return 0.5 if answer is None else float(bool(answer))
        return float(probabilities.get(True, 0.0)) if probabilities else 0.5

    def explain_one(self, x: Float) -> None:
        """None: River's estimators name no contributions of their own."""
        return None

    def answers(self) -> str:
        """Of an estimator that cannot be saved, the SHA-256 over what every row of `run_block` gave; else empty."""
        return "" if self._answers is None else self._answers.hexdigest()

    def params(self) -> dict[str, Any]:
        """The features, and the estimator as it was given, as plain data."""
        self._refuse_unless_savable()
        return {"features": list(self.features), "estimator": self._initial}

    def state(self) -> dict[str, Any]:
        """`{"structure": ...}`: the whole estimator as plain data. `SubmissionError` where it cannot be saved."""
        self._refuse_unless_savable()
        self.cannot_save = can_save(self._estimator)  # some estimators make their parts while learning
        self._refuse_unless_savable()
        return {"structure": encode(self._estimator)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if set(state) != {"structure"}:
            raise IncompatibleError("not a state of this learner", wanted="structure", got=str(sorted(state)))
        loaded = decode(state["structure"])
        if type(loaded) is not type(self._estimator):
            wanted, got = type(self._estimator).__qualname__, type(loaded).__qualname__
            raise IncompatibleError("state of another estimator", wanted=wanted, got=got)
        self._estimator = loaded

    def _refuse_unless_savable(self) -> None:
        if self.cannot_save:
            raise SubmissionError(self.cannot_save, fix="Such a model is rebuilt by replaying its input")

"""Served learners: every learner that ships, restored from a version's bytes; nothing else is ever loaded."""

from __future__ import annotations

import numpy as np
import pytest

from connectors import content as contents
from serving.online import ServedLearner, learner_class
from streams.learners.softmax import Softmax
from tests.serving.helpers import content
from tidemill.checks.learners import find_learners, subjects
from tidemill.errors import IncompatibleError, RequestError
from tidemill.job import ModelContent
from tidemill.servable import Tensor

SUBJECTS = list(subjects(find_learners("streams.learners"), rows=60))


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: s.name)
def test_a_served_learner_scores_as_the_learner_did(subject):
    learner = subject.make()
    learner.learn_block(subject.X, subject.y)
    kind = f"{type(learner).__module__}:{type(learner).__qualname__}"
    data = contents.encode(ModelContent(kind, learner.params(), learner.state()))
    served = ServedLearner(contents.decode(data))
    assert served.score(subject.X[3]) == learner.predict_one(subject.X[3])
    out = served.predict({"features": Tensor("features", subject.X[:5])})["score"].data
    assert out.tolist() == learner.predict_block(subject.X[:5]).tolist()
    assert served.explain(subject.X[3]) == learner.explain_one(subject.X[3])


@pytest.mark.parametrize(
    "kind",
    [
        "os:system",
        "streams.learners.logistic:sqrt",
        "streams.learners.logistic:IncompatibleError",
        "streams.learners.nothing:Thing",
        "streams.learners.logistic:ScaledLogistic.examples",
        "streams.learners..logistic:ScaledLogistic",
        "serving.online:ServedLearner",
        "onnx",
        "",
    ],
)
def test_no_other_code_is_loaded(kind: str):
    with pytest.raises(IncompatibleError, match="unknown kind"):
        learner_class(kind)


def test_parameters_and_states_that_do_not_fit_are_said():
    good = content()
    with pytest.raises(IncompatibleError, match="parameters"):
        ServedLearner(ModelContent(good.kind, {"bogus": 1}, good.state))
    with pytest.raises(IncompatibleError):
        ServedLearner(ModelContent(good.kind, good.params, {}))


def test_what_is_not_finite_is_named():
    with pytest.raises(RequestError) as caught:
        ServedLearner(content()).score(np.array([1.0, np.nan, 2.0]))
    assert caught.value.field == "hour"


def test_a_learner_of_several_classes_gives_all_of_them():
    learner = Softmax(["a", "b"], classes=["x", "y", "z"])
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    learner.learn_block(X, np.where(X[:, 0] > 0, 2.0, np.where(X[:, 1] > 0, 1.0, 0.0)))
    served = ServedLearner(learner.content())
    want = learner.probabilities(X[:4])
    out = served.predict({"features": Tensor("features", X[:4])})
    assert [(s.name, s.shape) for s in served.outputs] == [("probabilities", [-1, 3]), ("score", [-1])]
    assert (out["probabilities"].data == want).all() and (out["score"].data == want[:, -1]).all()
    assert served.probabilities(X[1]) == want[1].tolist() and served.score(X[1]) == want[1, -1]
    with pytest.raises(RequestError) as caught:
        served.probabilities(np.array([1.0, np.nan]))
    assert caught.value.field == "b"

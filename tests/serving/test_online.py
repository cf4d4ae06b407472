"""Served learners: every learner that ships, restored from a version's bytes; nothing else is ever loaded."""

from __future__ import annotations

import numpy as np
import pytest

from connectors import content as contents
from serving.online import ServedLearner, learner_class
from tests.serving.helpers import content
from tidemill.checks.learners import find_learners, subjects
from tidemill.errors import IncompatibleError, RequestError, SubmissionError
from tidemill.job import ModelContent
from tidemill.servable import Tensor

SUBJECTS = list(subjects(find_learners("streams.learners"), rows=60))


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: s.name)
def test_a_served_learner_scores_as_the_learner_did(subject):
    learner = subject.make()
    learner.learn_block(subject.X, subject.y)
    kind = f"{type(learner).__module__}:{type(learner).__qualname__}"
    try:
        data = contents.encode(ModelContent(kind, learner.params(), learner.state()))
    except SubmissionError as error:
        pytest.skip(f"cannot be published: {error.message}")
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

"""The whole year of flights, labels arriving when the planes do: the native learner against River's pipeline."""

import itertools

import numpy as np
import pytest
from river import linear_model, optim, preprocessing

from connectors.datasets import flights
from streams.learners.encode import RowEncoder
from streams.learners.logistic import ScaledLogistic
from streams.metrics import Prequential
from tidemill.learner import LEARN, PREDICT

NUMBERS = ["distance", "month", "weekday", "hour", "sched_dep_time", "sched_minutes"]


def _year():
    """Operations in order of event time: predict at scheduled departure, learn at arrival."""
    planes = flights.flights().to_pydict()
    marks = flights.labels().to_pydict()
    carriers = sorted(set(planes["carrier"]))
    encoder = RowEncoder(numbers=NUMBERS, categories={"carrier": carriers, "origin": ["EWR", "JFK", "LGA"]})
    names = [*NUMBERS, "carrier", "origin"]
    X = encoder.block(dict(zip(names, row, strict=True)) for row in zip(*(planes[n] for n in names), strict=True))
    at = {flight: i for i, flight in enumerate(planes["id"])}
    rows = np.concatenate([np.arange(len(X)), [at[flight] for flight in marks["about"]]])
    ops = np.repeat(np.array([PREDICT, LEARN], dtype=np.uint8), [len(X), len(marks["about"])])
    y = np.concatenate([np.full(len(X), np.nan), np.array(marks["value"], dtype=float)])
    order = np.argsort(np.concatenate([planes["time"], marks["time"]]), kind="stable")
    return encoder.features, ops[order], np.ascontiguousarray(X[rows[order]]), y[order], rows[order]


def _river(names, ops, X, y):
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optimizer=optim.SGD(0.01))
    scores = np.full(len(ops), np.nan)
    for i, (op, row) in enumerate(zip(ops.tolist(), X, strict=True)):
        x = dict(zip(names, row.tolist(), strict=True))
        if op == PREDICT:
            scores[i] = model.predict_proba_one(x)[True]
        else:
            model.learn_one(x, bool(y[i]))
    return scores, model["LogisticRegression"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_predictions_and_weights_are_rivers():
    names, ops, X, y, rows = _year()
    want, river = _river(names, ops, X, y)
    n, rng = len(ops), np.random.default_rng(1)
    cuts = {
        "whole": [],
        "1,000 rows": range(0, n, 1000),
        "random": sorted(rng.integers(0, n, 300).tolist()),
        "one row": range(n),
    }
    learner = ScaledLogistic(names)
    for name, cut in cuts.items():
        learner = ScaledLogistic(names)
        got = np.concatenate([learner.run_block(ops[a:b], X[a:b], y[a:b]) for a, b in itertools.pairwise([0, *cut, n])])
        assert np.array_equal(np.isnan(got), np.isnan(want))
        off = np.nanmax(np.abs(got - want))
        weights = dict(zip(names, learner.state()["weight"].tolist(), strict=True))
        apart = max(abs(weights[feature] - river.weights[feature]) for feature in names)
        print(f"{name}: predictions within {off:.1e}, weights within {apart:.1e}")
        assert off <= 1e-9 and apart <= 1e-9 and abs(learner.state()["intercept"][0] - river.intercept) <= 1e-9
    scores = dict(zip(rows[ops == PREDICT].tolist(), want[ops == PREDICT].tolist(), strict=True))
    metrics = Prequential()
    metrics.update_block(y[ops == LEARN], [scores[row] for row in rows[ops == LEARN].tolist()])
    figures = metrics.report()["overall"]
    print({name: figures[name] for name in ("roc_auc", "log_loss", "base_rate", "accuracy")})
    assert figures["roc_auc"] > 0.5

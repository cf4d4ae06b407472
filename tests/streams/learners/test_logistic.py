"""The native learner is River's pipeline, to 1e-9, however the stream is cut."""

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from river import linear_model, optim, preprocessing

from streams.learners.logistic import ScaledLogistic
from tidemill.errors import ConfigError, IncompatibleError, NotFiniteError, WrongTypeError
from tidemill.learner import LARGEST, LEARN, PREDICT, PREDICT_LEARN

ELEC2 = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "elec2" / "electricity.csv.gz"


def elec2(limit: int | None = None):
    if not ELEC2.exists():
        pytest.skip(f"no elec2 under TIDEMILL_DATA ({ELEC2})")
    with gzip.open(ELEC2, "rt") as lines:
        rows = list(csv.DictReader(lines))[:limit]
    names = [name for name in rows[0] if name != "class"]
    X = np.array([[float(row[name]) for name in names] for row in rows])
    return names, X, np.array([float(row["class"] == "UP") for row in rows])


def river_pipeline(lr=0.01, l2=0.0, intercept_lr=0.01, intercept_init=0.0, weight_pos=1.0, weight_neg=1.0, clip=1e12):
    return preprocessing.StandardScaler() | linear_model.LogisticRegression(
        optimizer=optim.SGD(lr),
        loss=optim.losses.Log(weight_pos, weight_neg),
        l2=l2,
        intercept_lr=intercept_lr,
        intercept_init=intercept_init,
        clip_gradient=clip,
    )


def drive_river(model, names, X, y, w=None):
    """River's predictions, and its state in our names."""
    predictions = np.empty(len(X))
    for i, row in enumerate(X.tolist()):
        x = dict(zip(names, row, strict=True))
        predictions[i] = model.predict_proba_one(x)[True]
        model.learn_one(x, bool(y[i]), **({} if w is None else {"w": float(w[i])}))
    scaler, regression = model["StandardScaler"], model["LogisticRegression"]
    return predictions, {
        "count": np.array([scaler.counts[names[0]]], dtype=float),
        "mean": np.array([scaler.means[name] for name in names]),
        "var": np.array([scaler.vars[name] for name in names]),
        "weight": np.array([regression.weights[name] for name in names]),
        "intercept": np.array([regression.intercept]),
    }


def cuts_of(n):
    rng = np.random.default_rng(11)
    yield [n]
    yield [1] * n
    yield [1000] * (n // 1000) + [n % 1000]
    cuts = np.sort(rng.integers(0, n, size=60))
    yield np.diff([0, *cuts, n]).tolist()


def assert_parity(names, X, y, learner, model, w=None, tolerance=1e-9):
    want, state = drive_river(model, names, X, y, w)
    for sizes in cuts_of(len(X)):
        fresh = ScaledLogistic(**learner.params())
        parts, start = [], 0
        for size in sizes:
            rows = slice(start, start + size)
            parts.append(fresh.learn_block(X[rows], y[rows], None if w is None else w[rows]))
            start += size
        got = np.concatenate(parts)
        assert start == len(X)
        assert np.abs(got - want).max() <= tolerance
        for name, value in fresh.state().items():
            scale = np.maximum(1.0, np.abs(state[name]))
            assert (np.abs(value - state[name]) / scale).max() <= tolerance, name


def test_parity_on_elec2():
    names, X, y = elec2(10_000)
    assert_parity(names, X, y, ScaledLogistic(names), river_pipeline(), tolerance=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.1, "l2": 0.001},
        {"lr": 0.05, "intercept_lr": 0.2, "intercept_init": -1.5},
        {"weight_pos": 5.0, "weight_neg": 0.3},
        {"lr": 2.0, "clip": 0.2},
        {"lr": 40.0, "intercept_lr": 40.0},  # far beyond ±30, where sigmoid and loss take their shortcuts
    ],
    ids="-".join,
)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_parity_of_every_setting(settings, weighted):
    rng = np.random.default_rng(2)
    names = list("abcde")
    X = rng.normal(size=(1500, 5)) * [1, 100, 1e-4, 1, 0] + [0, 5, 0, 1e6, 3]
    y = (X[:, 0] + rng.normal(size=len(X)) > 0.5).astype(float)
    w = rng.integers(0, 3, size=len(X)) + 0.5 if weighted else None
    ours = {"clip_gradient" if name == "clip" else name: value for name, value in settings.items()}
    assert_parity(names, X, y, ScaledLogistic(names, **ours), river_pipeline(**settings), w)


def test_labels_that_come_late_interleave_in_one_call():
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(300, 2)), rng.integers(0, 2, size=300).astype(float)
    model, names = river_pipeline(), ["a", "b"]
    order = [(PREDICT, i) for i in range(40)]
    for i in range(40, 300):
        order += [(PREDICT, i), (LEARN, i - 40)]
    want = []
    for op, i in order:
        x = dict(zip(names, X[i].tolist(), strict=True))
        if op == PREDICT:
            want.append(model.predict_proba_one(x)[True])
        else:
            model.learn_one(x, bool(y[i]))
    ops = np.array([op for op, _ in order], dtype=np.uint8)
    at = np.array([i for _, i in order])
    got = ScaledLogistic(names).run_block(ops, X[at], y[at])
    assert np.isnan(got[ops == LEARN]).all()
    assert np.abs(got[ops == PREDICT] - want).max() <= 1e-12


@pytest.mark.slow
def test_parity_on_all_of_elec2():
    names, X, y = elec2()
    assert_parity(names, X, y, ScaledLogistic(names, lr=0.05, l2=1e-4), river_pipeline(lr=0.05, l2=1e-4))


def test_an_untrained_learner_predicts_the_intercept():
    learner = ScaledLogistic(["a"], intercept_init=2.0)
    assert learner.predict_one(np.array([123.0])) == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert len(learner.learn_block(np.empty((0, 1)), np.empty(0))) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_and_nothing_is_learned(bad):
    learner = ScaledLogistic(["a", "b"])
    X = np.ones((5, 2))
    learner.learn_block(X, np.zeros(5))
    before = learner.state()
    X[3, 1] = bad
    with pytest.raises(NotFiniteError, match="feature 'b' of row 3") as refused:
        learner.learn_block(X, np.zeros(5))
    assert refused.value.field == "b"
    with pytest.raises(NotFiniteError):
        learner.predict_one(X[3])
    assert all(np.array_equal(before[name], value) for name, value in learner.state().items())


def test_huge_but_finite_values_are_not_mistaken_for_missing():
    ScaledLogistic(["a", "b"]).predict_block(np.full((4, 2), np.nextafter(LARGEST, 0.0)))


def test_no_row_that_is_taken_makes_the_state_infinite():
    learner, limit = ScaledLogistic(["a"]), np.nextafter(LARGEST, 0.0)
    for x in (0.0, limit, -limit, limit, 1.0):
        learner.learn_one(np.array([x]), 1.0)
    assert all(np.isfinite(value).all() for value in learner.state().values())
    assert 0.0 <= learner.predict_one(np.array([-limit])) <= 1.0


@pytest.mark.parametrize(
    ("X", "y", "w", "message"),
    [
        (np.ones((2, 3)), np.zeros(2), None, "wrong block shape"),
        (np.ones(2), np.zeros(2), None, "wrong block shape"),
        (np.ones((2, 2)), np.zeros(3), None, "wrong number of labels"),
        (np.ones((2, 2)), np.array([0.0, 2.0]), None, "label of row 1 is not a class"),
        (np.ones((2, 2)), np.array([0.0, np.nan]), None, "label of row 1 is not a class"),
        (np.ones((2, 2)), np.zeros(2), np.ones(1), "wrong number of weights"),
    ],
)
def test_wrong_input_is_named(X, y, w, message):
    with pytest.raises(WrongTypeError, match=message):
        ScaledLogistic(["a", "b"]).learn_block(X, y, w)


def test_wrong_operations_and_weights_are_refused():
    learner = ScaledLogistic(["a"])
    with pytest.raises(WrongTypeError, match="unknown operation"):
        learner.run_block(np.array([PREDICT_LEARN + 1], dtype=np.uint8), np.ones((1, 1)), np.zeros(1))
    with pytest.raises(NotFiniteError, match="weight"):
        learner.learn_block(np.ones((1, 1)), np.zeros(1), np.array([-1.0]))


def test_wrong_parameters_and_states_are_refused():
    for settings in ({"lr": -1}, {"l2": float("nan")}, {"features": []}, {"features": ["a", "a"]}):
        with pytest.raises(ConfigError):
            ScaledLogistic(**{"features": ["a"], **settings})
    state = ScaledLogistic(["a", "b"]).state()
    with pytest.raises(IncompatibleError, match="mean"):
        ScaledLogistic(["a"]).load_state(state)
    with pytest.raises(IncompatibleError, match="not a state"):
        ScaledLogistic(["a", "b"]).load_state({"mean": state["mean"]})


def test_contributions_are_weights_times_scaled_values():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(500, 2)) * [1, 10]
    learner = ScaledLogistic(["used", "noise"], lr=0.1)
    learner.learn_block(X, (X[:, 0] > 0).astype(float))
    parts = learner.explain_one(np.array([2.0, 0.0]))
    assert parts["used"] > 1.0 > abs(parts["noise"])

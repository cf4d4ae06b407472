"""Every River estimator that can be saved goes on after loading as if nothing had happened; the rest are listed."""

import inspect
import random
import re
from pathlib import Path

import msgspec
import pytest
from river import api, base, compose, drift, forest, linear_model, naive_bayes, optim, preprocessing, proba

from streams.learners.restore import decode
from streams.learners.save import CannotSave, can_save, encode, unseeded

PAGE = Path(__file__).parents[3] / "docs" / "river-estimators.md"
LEARNERS = (base.Classifier, base.Regressor, base.AnomalyDetector, base.Transformer)
DETECTORS = (base.DriftDetector, base.BinaryDriftDetector)
ROWS = 60


def _all():
    """Every estimator River offers that can be built from its own test parameters or from none."""
    found = {}
    for room, module in inspect.getmembers(api, inspect.ismodule):
        for name, cls in inspect.getmembers(module, inspect.isclass):
            if not issubclass(cls, (*LEARNERS, *DETECTORS)) or inspect.isabstract(cls):
                continue
            parameters = list(cls._unit_test_params()) if hasattr(cls, "_unit_test_params") else [{}]
            for params in parameters:
                try:
                    found.setdefault(f"{room}.{name}", cls(**params))
                except (TypeError, ValueError, RuntimeError):
                    continue  # needs something of the user's, a function or a fitted model
    return found


ESTIMATORS = _all()

# Texts, counts, and vectors: what `_row` makes is nothing to them.
OTHER_DATA = {
    "feature_extraction.BagOfWords",
    "feature_extraction.TFIDF",
    "naive_bayes.ComplementNB",
    "naive_bayes.MultinomialNB",
    "preprocessing.GapEncoder",
    "tree.ISOUPTreeRegressor",
}


def _row(rng):
    x = {name: rng.gauss(0, 1) for name in "ab"} | {"c": rng.random()}
    return x, x["a"] + x["b"] + rng.gauss(0, 0.3) > 0


def _drive(model, x, y):
    """Learn one row and return what the model now says of it."""
    if isinstance(model, DETECTORS):
        model.update(y if isinstance(model, base.BinaryDriftDetector) else x["a"])
        return model.drift_detected
    if isinstance(model, base.Transformer):
        model.learn_one(x, y) if model._supervised else model.learn_one(x)
        return repr(model.transform_one(x))
    if isinstance(model, base.AnomalyDetector):
        model.learn_one(x)
        return model.score_one(x)
    model.learn_one(x, float(y) if isinstance(model, base.Regressor) else y)
    try:
        return repr(model.predict_proba_one(x))
    except (NotImplementedError, AttributeError):
        return model.predict_one(x)


def _trained(model, rng):
    for _ in range(ROWS):
        _drive(model, *_row(rng))
    return model


def _listed():
    return set(re.findall(r"^\| `([\w.]+)` \|", PAGE.read_text(), flags=re.M))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(ESTIMATORS.keys() - OTHER_DATA))
def test_save_load_continue(name):
    rng = random.Random(1)
    model = _trained(ESTIMATORS[name], rng)
    reason = can_save(model)
    assert (reason is not None) == (name in _listed()), f"docs/river-estimators.md is out of date: {name}: {reason}"
    if reason:
        assert "cannot be saved" in reason and "estimator" in reason
        return
    data = msgspec.msgpack.encode(encode(model))
    loaded = decode(msgspec.msgpack.decode(data))
    assert msgspec.msgpack.encode(encode(loaded)) == data
    rows = [_row(rng) for _ in range(ROWS)]
    assert [_drive(loaded, *row) for row in rows] == [_drive(model, *row) for row in rows]


def test_many_are_tried():
    assert len(ESTIMATORS) > 90 and ESTIMATORS.keys() > OTHER_DATA
    assert len(_listed()) < 10


def test_shared_parts_and_cycles_stay_shared():
    shared = [1, 2]
    scaler = preprocessing.StandardScaler()
    scaler.a, scaler.b, scaler.own, scaler.key = shared, (shared, scaler), scaler, {("x", 1): shared}
    loaded = decode(encode(scaler))
    assert loaded.a is loaded.b[0] is loaded.key["x", 1] and loaded.own is loaded is loaded.b[1]


def test_long_chains_need_no_deep_stack():
    scaler = preprocessing.StandardScaler()
    scaler.chain = None
    for _ in range(20_000):
        scaler.chain = [scaler.chain]
    loaded, depth = decode(encode(scaler)).chain, 0
    while loaded is not None:
        loaded, depth = loaded[0], depth + 1
    assert depth == 20_000


def test_bound_methods_and_native_state_come_back():
    for detector in (drift.PageHinkley(threshold=5), drift.ADWIN()):
        rng = random.Random(0)
        for i in range(500):
            detector.update(rng.gauss(i > 300, 0.1))
        loaded = decode(encode(detector))
        values = [rng.gauss(i > 100, 0.3) for i in range(300)]
        found = []
        for model in (detector, loaded):
            found.append([])
            for value in values:
                model.update(value)
                found[-1].append(model.drift_detected)
        assert found[0] == found[1] and any(found[0])


def test_what_cannot_be_saved_is_named():
    model = compose.FuncTransformer(lambda x: x) | linear_model.LogisticRegression()
    assert can_save(model).startswith("estimator.steps['<lambda>'].func cannot be saved: ")
    with pytest.raises(CannotSave, match="odd"):
        scaler = preprocessing.StandardScaler()
        scaler.odd = iter([])
        encode(scaler)


def test_predicting_before_learning_is_not_part_of_the_state():
    model = preprocessing.MinMaxScaler() | linear_model.LogisticRegression(optimizer=optim.Adam())
    model.learn_one({"a": 1.0}, True)
    before = encode(model)
    model.predict_proba_one({"a": 2.0})
    assert encode(model) == before


def test_generators_without_a_seed_are_found():
    assert unseeded(forest.ARFClassifier()) == "estimator"
    assert unseeded(preprocessing.StandardScaler() | forest.ARFClassifier(seed=1)) is None
    assert unseeded(naive_bayes.GaussianNB()) is None
    assert len(msgspec.msgpack.encode(encode(proba.Gaussian()))) > 2500  # its generator, once

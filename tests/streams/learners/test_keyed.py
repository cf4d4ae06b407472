"""Each key's model is the one that saw its rows alone."""

import time

import numpy as np
import pytest

from streams.learners.keyed import KeyedLogistic, key_code
from streams.learners.logistic import ScaledLogistic
from tidemill.errors import ConfigError, IncompatibleError

NAMES = ["who", "a", "b"]


def rows(n, keys, seed=1):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.integers(0, keys, n).astype(float), rng.normal(size=(n, 2))])
    return X, (X[:, 1] * np.where(X[:, 0] % 2, 1, -1) > 0).astype(float)


def test_each_key_has_the_model_of_its_rows():
    X, y = rows(2_000, 40)
    keyed = KeyedLogistic(NAMES, lr=0.1)
    got = keyed.learn_block(X, y)
    assert len(keyed) == 40
    for key in range(40):
        mine, one = X[:, 0] == key, ScaledLogistic(NAMES[1:], lr=0.1)
        assert np.array_equal(one.learn_block(X[mine][:, 1:], y[mine]), got[mine])
        for name, value in one.state().items():
            assert np.array_equal(keyed.model(float(key)).state()[name], value), name


def test_an_unknown_key_is_predicted_as_by_a_new_model_and_kept_nowhere():
    X, y = rows(100, 3)
    keyed = KeyedLogistic(NAMES, intercept_init=-1.0)
    keyed.learn_block(X, y)
    assert keyed.predict_one(np.array([99.0, 1.0, 2.0])) == pytest.approx(1 / (1 + np.e))
    assert len(keyed) == 3


def test_codes_are_whole_and_null_is_none():
    assert key_code("UA") == key_code("UA") != key_code("AA")
    assert key_code("UA") == int(key_code("UA")) < 2**53
    assert np.isnan(key_code(None)) and np.isnan(key_code(float("nan")))


def test_what_does_not_fit():
    with pytest.raises(ConfigError):
        KeyedLogistic(["who"])
    with pytest.raises(IncompatibleError):
        KeyedLogistic(NAMES).load_state(ScaledLogistic(["a"]).state())


def test_many_keys_are_no_loop_over_models():
    """A hundred thousand rows of as many keys: far below what a model object each would take."""
    X, y = rows(100_000, 10**9)
    keyed = KeyedLogistic(NAMES)
    keyed.learn_block(X[:10], y[:10])
    began = time.perf_counter()
    keyed.learn_block(X, y)
    print(f"{len(X) / (time.perf_counter() - began):,.0f} rows/s")
    assert len(keyed) > 99_000

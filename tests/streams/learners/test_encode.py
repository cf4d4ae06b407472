"""Rows are dense, named, the same everywhere, and learn what their categories mean."""

import subprocess
import sys

import numpy as np
import pytest

from streams.learners.encode import RowEncoder
from streams.learners.logistic import ScaledLogistic
from tidemill.errors import ConfigError, NotFiniteError, WrongTypeError


def encoder():
    return RowEncoder(
        numbers=["distance"], categories={"carrier": ["UA", "AA"]}, hashed={"route": 8}, missing={"distance": -1.0}
    )


def test_columns_are_named_in_order():
    e = encoder()
    assert e.features[:4] == ("distance", "carrier=UA", "carrier=AA", "carrier=*")
    assert e.features[4:] == tuple(f"route#{i}" for i in range(8))
    row = e.row({"distance": 100, "carrier": "AA", "route": "JFK-LAX"})
    assert row[:4].tolist() == [100, 0, 1, 0] and np.abs(row[4:]).sum() == 1


@pytest.mark.parametrize("carrier", ["ZZ", None, 7, True])
def test_an_unknown_value_is_other(carrier):
    assert encoder().row({"distance": 1, "carrier": carrier, "route": ""})[1:4].tolist() == [0, 0, 1]


def test_a_list_of_no_values_still_has_other():
    e = RowEncoder(categories={"a": [], "b": ["x"]})
    assert e.features == ("a=*", "b=x", "b=*")
    assert e.row({"a": "q", "b": "x"}).tolist() == [1, 1, 0]


def test_a_block_is_its_rows_and_params_rebuild():
    e = encoder()
    events = [{"distance": i, "carrier": "UA", "route": f"r{i}"} for i in range(50)]
    block = e.block(iter(events))
    assert np.array_equal(block, np.array([e.row(event) for event in events]))
    assert np.array_equal(RowEncoder(**e.params()).block(events), block)
    assert e.block([]).shape == (0, 12)


def test_hashing_is_the_same_in_every_process_and_spreads():
    code = (
        "from streams.learners.encode import RowEncoder\n"
        "e = RowEncoder(hashed={'route': 64})\n"
        "print([int(e.row({'route': f'r{i}'}) @ range(1, 65)) for i in range(40)])"
    )
    answers = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(answers) == 1
    columns = RowEncoder(hashed={"route": 64}).block({"route": f"r{i}"} for i in range(640))
    assert (np.abs(columns).sum(axis=0) > 0).all() and abs(columns.sum()) < 120


def test_missing_numbers():
    e = encoder()
    for value in (None, float("nan")):
        assert e.row({"distance": value, "carrier": "UA", "route": "x"})[0] == -1.0
    strict = RowEncoder(numbers=["a"])
    with pytest.raises(WrongTypeError, match="'a' is missing") as missing:
        strict.row({})
    assert missing.value.field == "a"
    with pytest.raises(NotFiniteError):
        strict.row({"a": float("inf")})
    with pytest.raises(NotFiniteError):
        strict.row({"a": float("nan")})
    with pytest.raises(WrongTypeError, match="no number"):
        strict.row({"a": "12"})
    with pytest.raises(WrongTypeError, match="no category"):
        encoder().row({"distance": 1, "carrier": 1.5, "route": "x"})


def test_wrong_settings_are_refused():
    for settings in ({}, {"numbers": ["a", "a"]}, {"hashed": {"a": 1}}, {"numbers": ["a"], "missing": {"b": 0.0}}):
        with pytest.raises(ConfigError):
            RowEncoder(**settings)


def test_a_learner_learns_from_categories():
    e = RowEncoder(categories={"c": ["x", "y"]}, hashed={"r": 16})
    rng = np.random.default_rng(0)
    events = [{"c": rng.choice(["x", "y", "z"]), "r": f"r{rng.integers(5)}"} for _ in range(3000)]
    y = np.array([float(event["c"] == "x") for event in events])
    learner = ScaledLogistic(e.features, lr=0.05)
    learner.learn_block(e.block(events), y)
    assert (
        learner.predict_one(e.row({"c": "x", "r": "r1"}))
        > 0.9
        > 0.1
        > learner.predict_one(e.row({"c": "z", "r": "r1"}))
    )

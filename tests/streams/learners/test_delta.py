"""Deltas carry the touched parameters, whole values, in an order of their own, and apply once or twice alike."""

import base64

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.learners.delta import apply_delta, delta_since, is_empty, touched
from streams.learners.logistic import ScaledLogistic
from tidemill.checks.learners import first_difference
from tidemill.errors import IncompatibleError


def wire(delta):
    return msgspec.json.decode(msgspec.json.encode(delta))


def text(data):
    return base64.b64encode(data).decode()


def test_only_touched_parameters_travel():
    before = {"w": np.zeros(1000), "n": 3, "name": "m"}
    after = {**before, "w": before["w"].copy(), "n": 4}
    after["w"][[5, 17]] = [1.5, -2.0]
    delta = delta_since(before, after)
    assert touched(delta) == 3
    assert np.frombuffer(base64.b64decode(delta["arrays"]["w"]["index"]), "<u4").tolist() == [5, 17]
    assert len(msgspec.json.encode(delta)) < 200
    applied = apply_delta(before, wire(delta))
    assert first_difference(applied, after) is None
    assert before["w"].sum() == 0 and before["n"] == 3


def test_twice_is_once_and_nothing_is_nothing():
    learner = ScaledLogistic(["a", "b"])
    first = learner.state()
    learner.learn_one(np.array([1.0, 2.0]), 1.0)
    second = learner.state()
    delta = wire(delta_since(first, second))
    once = apply_delta(first, delta)
    assert first_difference(apply_delta(once, delta), once) is None
    assert is_empty(delta_since(second, second)) and not is_empty(delta)


def test_a_replica_follows_by_deltas():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(300, 3)), rng.integers(0, 2, 300).astype(float)
    leader, replica = ScaledLogistic(["a", "b", "c"]), ScaledLogistic(["a", "b", "c"])
    sent = replica_state = replica.state()
    for start in range(0, 300, 50):
        leader.learn_block(X[start : start + 50], y[start : start + 50])
        now = leader.state()
        replica_state = apply_delta(replica_state, wire(delta_since(sent, now)))
        sent = now
    replica.load_state(replica_state)
    assert replica.predict_block(X).tobytes() == leader.predict_block(X).tobytes()


def test_signed_zero_nan_and_types_count_as_changes():
    before = {"w": np.array([0.0, np.nan, 1.0] * 9), "flag": 1}
    after = {"w": before["w"].copy(), "flag": True}
    assert set(delta_since(before, after)["plain"]) == {"flag"}
    assert not delta_since(before, after)["arrays"]
    after["w"][0] = -0.0
    assert touched(delta_since({"w": before["w"]}, {"w": after["w"]})) == 1


arrays = st.lists(st.floats(allow_nan=True), max_size=30).map(lambda v: np.array(v, dtype=np.float64))
states = st.dictionaries(
    st.sampled_from("abcd"),
    arrays
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.sampled_from(["", "a", "ä", b"\xff\x00", [1, [b"deep", float("nan")]], {"x": [b"\x80"]}]),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(states, states)
def test_any_state_becomes_any_other(before, after):
    applied = apply_delta(before, wire(delta_since(before, after)))
    assert first_difference(dict(sorted(applied.items())), dict(sorted(after.items()))) is None


def test_a_whole_state_is_a_delta_from_nothing():
    state = ScaledLogistic(["a", "b"]).state()
    assert first_difference(apply_delta({}, wire(delta_since({}, state))), state) is None


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [3]},
        {"shape": [-1]},
        {"shape": [1 << 40, 1 << 40]},
        {"dtype": "O"},
        {"dtype": "nonsense"},
        {"index": text(np.array([99], "<u4").tobytes())},
        {"index": text(b"123")},
        {"index": "no base64"},
        {"values": ""},
        {"values": None},
    ],
    ids=str,
)
def test_a_delta_that_does_not_fit_is_refused(change):
    before = {"w": np.zeros(20)}
    after = {"w": np.zeros(20)}
    after["w"][3] = 1
    delta = delta_since(before, after)
    delta["arrays"]["w"] |= change
    with pytest.raises(IncompatibleError):
        apply_delta(before, delta)


def test_a_delta_of_another_learner_is_refused():
    small, large = {"w": np.zeros(20)}, {"w": np.zeros(40)}
    after = {"w": np.eye(1, 40)[0]}
    with pytest.raises(IncompatibleError, match="another state"):
        apply_delta(small, delta_since(large, after))
    with pytest.raises(IncompatibleError, match="another state"):
        apply_delta({}, delta_since(large, after))
    with pytest.raises(IncompatibleError, match="not a delta"):
        apply_delta(small, {"arrays": {}})
    with pytest.raises(IncompatibleError, match="cannot be shipped"):
        delta_since({}, {"w": np.array(["text"])})

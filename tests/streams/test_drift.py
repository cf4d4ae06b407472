"""Changes are found where they are, however the stream is cut, and by River's own detectors."""

import csv
import gzip
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from river import drift

from streams.drift import DriftMonitor
from streams.learners.logistic import ScaledLogistic
from streams.learners.save import encode
from tidemill.errors import ConfigError, IncompatibleError, NotFiniteError, WrongTypeError

FOLDER = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "drift_synthetic"


def errors_of_a_learner(name, window=None):
    """Test-then-train errors of the native learner on a synthetic stream with changes at 10, 20 and 30 thousand."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no drift_synthetic under TIDEMILL_DATA ({path})")
    with gzip.open(path, "rt") as lines:
        rows = [[float(cell) for cell in row] for row in list(csv.reader(lines))[1:]]
    X, y = np.array(rows)[:, :-1], np.array(rows)[:, -1]
    learner = ScaledLogistic([f"x{j}" for j in range(X.shape[1])], lr=0.05, intercept_lr=0.05)
    return ((learner.learn_block(X, y) > 0.5) != y).astype(float)


def step(n=3000, at=1500, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random(n) < np.where(np.arange(n) < at, 0.1, 0.5)).astype(float)


SETTINGS = [("adwin", {}), ("adwin", {"delta": 1e-4, "clock": 1}), ("page_hinkley", {"threshold": 20.0, "delta": 0.1})]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_a_change_is_found_soon_with_its_time_and_place(name, settings):
    errors = step()
    times = np.arange(len(errors)) * 1_000_000
    places = [("labels.x", 0, 2 * i) for i in range(len(errors))]
    found = DriftMonitor(name, **settings).update_block(errors, times, places)
    points = [point for point in found if 1500 <= point.index < 1800]
    assert points and len(found) <= 2
    point = points[0]
    assert point.time == point.index * 1_000_000 and point.place == ("labels.x", 0, 2 * point.index)
    assert point.before < 0.2 and point.worse


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_points_are_those_of_the_detector_by_hand_for_every_cut(name, settings):
    errors = np.concatenate([step(seed=1), step(seed=2)])
    by_hand = {"adwin": drift.ADWIN, "page_hinkley": drift.PageHinkley}[name](**settings)
    want = []
    for i, value in enumerate(errors.tolist()):
        by_hand.update(value)
        if by_hand.drift_detected:
            want.append(i)
    assert want
    states = []
    for size in (1, 37, len(errors)):
        monitor, found = DriftMonitor(name, **settings), []
        for a in range(0, len(errors), size):
            block = errors[a : a + size]
            found += monitor.update_block(block, np.arange(a, a + len(block)))
        assert [point.index for point in found] == want
        states.append(msgspec.msgpack.encode(monitor.state()))
    assert states[0] == states[1] == states[2]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_a_saved_monitor_goes_on(name, settings):
    errors = step(seed=3)
    times = np.arange(len(errors))
    whole = DriftMonitor(name, **settings).update_block(errors, times)
    first = DriftMonitor(name, **settings)
    found = first.update_block(errors[:1400], times[:1400])
    second = DriftMonitor(**first.params())
    second.load_state(msgspec.msgpack.decode(msgspec.msgpack.encode(first.state())))
    assert found + second.update_block(errors[1400:], times[1400:]) == whole


def test_a_state_saved_as_rivers_own_class_goes_on_too():
    """As it was saved before the compiled part was used by itself: jobs have such snapshots."""
    errors, times = step(seed=3), np.arange(3000)
    for cut in (1400, 1 + DriftMonitor().update_block(errors, times)[0].index):
        first, rivers = DriftMonitor(), drift.ADWIN()
        first.update_block(errors[:cut], times[:cut])
        for value in errors[:cut].tolist():
            rivers.update(value)
        state, second = first.state(), DriftMonitor()
        second.load_state({**state, "structure": encode(rivers)})
        assert second.state() == state
        assert second.update_block(errors[cut:], times[cut:]) == first.update_block(errors[cut:], times[cut:])


def test_sine_changes_are_found_each_within_a_thousand_rows():
    errors = errors_of_a_learner("sine_abrupt.csv.gz")
    found = DriftMonitor().update_block(errors, np.arange(len(errors)))
    for change in (10_000, 20_000, 30_000):
        near = [point for point in found if change <= point.index < change + 1000]
        assert near and near[0].worse, f"change at {change} not found: {[point.index for point in found]}"
    false = [p.index for p in found if p.worse and not any(c <= p.index < c + 2000 for c in (10_000, 20_000, 30_000))]
    assert len(false) <= 1


def test_nothing_is_found_where_nothing_changes():
    errors = (np.random.default_rng(5).random(20_000) < 0.3).astype(float)
    assert len(DriftMonitor(delta=1e-4).update_block(errors, np.arange(20_000))) <= 1


def test_wrong_things_are_named():
    with pytest.raises(ConfigError, match="adwin or page_hinkley"):
        DriftMonitor("magic")
    with pytest.raises(ConfigError, match="settings do not fit"):
        DriftMonitor("adwin", colour="blue")
    monitor = DriftMonitor()
    with pytest.raises(WrongTypeError):
        monitor.update_block([0.0], [1, 2])
    with pytest.raises(NotFiniteError):
        monitor.update_block([0.0, np.nan], [1, 2])
    assert monitor.state()["seen"] == 0
    with pytest.raises(IncompatibleError):
        monitor.load_state({})
    with pytest.raises(IncompatibleError, match="another detector"):
        monitor.load_state(DriftMonitor("page_hinkley").state())

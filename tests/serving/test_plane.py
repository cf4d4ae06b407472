"""Swaps, aliases, deltas in order and once, gaps."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from serving.online import ServedLearner
from serving.plane import DataPlane, Loaded
from streams.learners.delta import delta_since
from streams.learners.logistic import ScaledLogistic
from tests.serving.helpers import KIND, NAMES, content, loaded
from tidemill import events
from tidemill.errors import NotFoundError
from tidemill.events import DeltaPublished
from tidemill.job import ModelContent

ROW = np.array([1400.0, 5.0, 3.0])


def run_of_deltas(n: int, start: int = 0) -> tuple[ModelContent, list[DeltaPublished], list[dict[str, Any]]]:
    """A model, `n` deltas as they come over the wire, and the states after each."""
    rng = np.random.default_rng(9)
    base = content()
    learner = ScaledLogistic(NAMES, lr=0.05)
    learner.load_state(base.state)
    deltas, states, before = [], [], learner.state()
    for i in range(n):
        learner.learn_one(rng.normal(size=3), float(i % 2))
        after = learner.state()
        delta = DeltaPublished(
            id=f"d{i}", time=i, model="trips", base="1", sequence=start + i + 1, changes=delta_since(before, after)
        )
        wire = events.decode(events.encode(delta))
        assert isinstance(wire, DeltaPublished)
        deltas.append(wire)
        states.append(after)
        before = after
    return base, deltas, states


def score_of(state: dict[str, Any]) -> float:
    learner = ScaledLogistic(NAMES, lr=0.05)
    learner.load_state(state)
    return learner.predict_one(ROW)


def plane_with(base: ModelContent, delta: int = 0) -> DataPlane:
    plane = DataPlane()
    plane.install(Loaded("trips", "1", ServedLearner(base), delta))
    return plane


def live_score(plane: DataPlane) -> float:
    servable = plane.resolve("trips").servable
    assert isinstance(servable, ServedLearner)
    return servable.score(ROW)


def test_the_newest_version_is_live_and_a_named_one_is_as_published():
    plane = DataPlane()
    plane.install(loaded("1"))
    plane.install(loaded("2"))
    assert plane.resolve("trips").version == "2"
    assert plane.resolve("trips", "1").version == "1"
    assert plane.resolve("trips", "champion").version == "2"


def test_unknown_models_and_versions_are_named():
    plane = DataPlane()
    with pytest.raises(NotFoundError, match="nothing"):
        plane.resolve("nothing")
    plane.install(loaded("1"))
    with pytest.raises(NotFoundError, match="'7'"):
        plane.resolve("trips", "7")


def test_a_rollback_pins_and_latest_unpins():
    plane = DataPlane()
    for version in "12":
        plane.install(loaded(version))
    plane.alias("trips", "champion", "1")
    plane.install(loaded("3"))
    assert plane.resolve("trips").version == "1"
    assert plane.resolve("trips", "latest").version == "3"
    plane.alias("trips", "champion", "latest")
    assert plane.resolve("trips").version == "3"


def test_only_some_versions_stay_and_aliased_ones_always():
    plane = DataPlane(keep=2)
    plane.install(loaded("1"))
    plane.alias("trips", "champion", "1")
    for version in "2345":
        plane.install(loaded(version))
    assert plane.versions("trips") == ["1", "4", "5"]


def test_deltas_give_the_learners_own_state_in_order_and_once():
    base, deltas, states = run_of_deltas(20)
    plane = plane_with(base)
    for i, delta in enumerate(deltas):
        assert plane.apply(delta) == "applied"
        assert plane.apply(delta) == "old"
        assert live_score(plane) == score_of(states[i])
    assert plane.resolve("trips").delta == 20
    assert plane.resolve("trips", "1").delta == 0


def test_a_request_keeps_the_state_it_began_with():
    base, deltas, _ = run_of_deltas(5)
    plane = plane_with(base)
    begun = plane.resolve("trips")
    servable = begun.servable
    assert isinstance(servable, ServedLearner)
    before = servable.score(ROW)
    for delta in deltas:
        plane.apply(delta)
    plane.install(loaded("2", seed=4))
    assert (servable.score(ROW), begun.delta, begun.version) == (before, 0, "1")
    assert live_score(plane) != before


def test_a_gap_falls_back_to_the_full_version_and_rereading_heals():
    base, deltas, states = run_of_deltas(6)
    plane = plane_with(base)
    plane.apply(deltas[0])
    assert plane.apply(deltas[3]) == "gap"
    assert plane.resolve("trips").delta == 0
    assert [plane.apply(d) for d in deltas] == ["applied"] * 6
    assert live_score(plane) == score_of(states[-1])


def test_a_gap_that_cannot_be_healed_stays_on_the_version_until_the_next():
    base, deltas, _ = run_of_deltas(6)
    plane = plane_with(base)
    assert plane.apply(deltas[3]) == "gap"
    plane.abandon("trips")
    assert plane.apply(deltas[4]) == "waiting"
    assert plane.resolve("trips").delta == 0
    plane.install(loaded("2", delta=5))
    assert plane.apply(deltas[5]) == "applied"


def test_a_version_published_behind_the_live_deltas_catches_up_at_once():
    base, deltas, states = run_of_deltas(10)
    plane = plane_with(base)
    for delta in deltas:
        plane.apply(delta)
    at_four = ServedLearner(ModelContent(KIND, base.params, states[3]))
    assert plane.install(Loaded("trips", "2", at_four, 4)) == "applied"
    assert plane.resolve("trips").version == "2"
    assert plane.resolve("trips").delta == 10
    assert live_score(plane) == score_of(states[-1])


def test_deltas_before_the_first_version_are_kept_for_it():
    base, deltas, states = run_of_deltas(5)
    plane = DataPlane()
    assert {plane.apply(d) for d in deltas} == {"waiting"}
    plane.install(Loaded("trips", "1", ServedLearner(base), 0))
    assert live_score(plane) == score_of(states[-1])


def test_a_delta_of_another_model_shape_is_a_gap_not_a_crash():
    base, deltas, _ = run_of_deltas(2)
    plane = plane_with(base)
    wrong = msgspec.structs.replace(
        deltas[0], changes={"arrays": {"weight": {"dtype": "<f8"}}, "plain": {}, "gone": []}
    )
    assert plane.apply(wrong) == "gap"
    assert plane.apply(deltas[0]) == "applied"


def test_a_restarted_job_waits_for_its_first_version():
    base, deltas, states = run_of_deltas(8)
    plane = plane_with(base)
    for delta in deltas:
        plane.apply(delta)
    plane.restart("trips")
    assert plane.apply(deltas[0]) == "waiting"
    assert plane.resolve("trips").delta == 8
    plane.install(Loaded("trips", "1", ServedLearner(base), 0))
    assert plane.resolve("trips").delta == 1
    assert live_score(plane) == score_of(states[0])

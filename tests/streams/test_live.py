"""Deltas lead from any version to the present model, numbered without gaps; only changed rows are told."""

import numpy as np

from streams.learners.delta import apply_delta
from streams.live import LiveState, key_of
from tests.streams.engines.helpers import Learned, content, make_job
from tidemill.events import DeltaPublished, ModelPublished
from tidemill.job import VersionCut


def learned(state, rider="w"):
    state.n += 1
    state.weights[state.n % 8] += 1.5
    state.rides.count += 1
    state.rides.km[rider] = state.rides.km.get(rider, 0.0) + 1.0
    state.rides.changed_at[rider] = state.rides.count
    return state


def cut(state, number):
    return VersionCut("sum", number, (0, "", ""), content(state), {})


def test_a_delta_holds_what_changed_and_nothing_is_told_twice():
    live, state = LiveState(make_job()), Learned()
    (first,) = live.deltas({0: learned(state)}, [], 5, 1, 2)
    assert (first.sequence, first.base, first.labels, first.labelled, first.time) == (1, "", 1, 2, 5)
    assert list(live.deltas({0: state}, [], 6, 1, 2)) == []
    (second,) = live.deltas({0: learned(state)}, [], 7, 2, 2)
    assert second.sequence == 2
    model = apply_delta({}, first.changes)
    model = apply_delta(model, second.changes)
    assert np.array_equal(model["weights"], state.weights) and model["n"] == 2


def test_a_version_stands_between_the_deltas_that_lead_to_it_and_on():
    live, state = LiveState(make_job()), Learned()
    list(live.deltas({0: learned(state)}, [], 0, 0, 0))
    at_cut = cut(learned(state), 1)
    made = list(live.deltas({0: learned(state)}, [at_cut], 0, 0, 0))
    assert [type(m) for m in made] == [DeltaPublished, VersionCut, DeltaPublished]
    before, version, after = made
    assert (before.sequence, before.base, after.sequence, after.base) == (2, "", 3, "1")
    # Whoever loads the version needs only what is numbered above it.
    model = apply_delta(version.content.state, after.changes)
    assert np.array_equal(model["weights"], state.weights) and model["n"] == state.n


def test_after_a_restart_the_present_state_counts_as_told():
    live, state = LiveState(make_job()), Learned()
    list(live.deltas({0: learned(state)}, [], 0, 0, 0))
    again = LiveState(make_job())
    again.sequences, again.versions = dict(live.sequences), {"sum": 4}
    again.follow({0: state})
    assert list(again.deltas({0: state}, [], 0, 0, 0)) == [] == list(again.features({0: state}, 0, 9))
    (delta,) = again.deltas({0: learned(state)}, [], 0, 0, 0)
    assert (delta.sequence, delta.base) == (2, "4")


def test_only_changed_rows_are_told_by_their_newest_values():
    live, state = LiveState(make_job()), Learned()
    for rider in ("a", "b", "a"):
        learned(state, rider)
    told = {e.key: (e.values, e.sequence) for e in live.features({0: state}, 0, 3)}
    assert told == {"a": ({"km": 2.0}, 3), "b": ({"km": 1.0}, 3)}
    learned(state, "b")
    (event,) = live.features({0: state}, 0, 4)
    assert (event.key, event.values, key_of(event)) == ("b", {"km": 2.0}, b"rides/b")


def test_a_version_is_keyed_by_its_model():
    event = ModelPublished(
        id="", time=0, model="m", version="3", uri="", content_digest="", version_digest="", kind="k"
    )
    assert key_of(event) == b"m"

"""Waiting until a graph has come so far: by offsets, and by the name of a barrier."""

import threading

from graph.barrier import _KEPT, Barrier
from graph.relation import Relation
from graph.store import TemporalGraph


def test_offsets_and_names_are_reached_once_they_are_passed():
    barrier = Barrier()
    assert not barrier.reached({"a/0": 1}, 0) and not barrier.reached("loaded", 0)
    barrier.passed({"a/0": 5}, "loaded")
    assert barrier.reached({"a/0": 5}, 0) and barrier.reached("loaded", 0)
    assert not barrier.reached({"a/0": 6}, 0) and not barrier.reached({"a/0": 5, "b/0": 1}, 0.01)


def test_whoever_waits_is_woken():
    barrier, woken = Barrier(), []
    waits = threading.Thread(target=lambda: woken.append(barrier.reached("loaded", 30)))
    waits.start()
    barrier.passed({}, "other")
    barrier.passed({}, "loaded")
    waits.join(30)
    assert woken == [True]


def test_old_names_are_forgotten_and_used_ones_renewed():
    barrier = Barrier()
    for i in range(_KEPT):
        barrier.passed({}, f"n{i}")
    barrier.passed({}, "n0")
    barrier.passed({}, "one more")
    assert barrier.reached("n0", 0) and not barrier.reached("n1", 0)


def test_a_graph_passes_a_barrier_when_it_is_told_so():
    graph = TemporalGraph(["user"], [Relation("wrote", "user", "user")])
    graph.add("wrote", [1], [2], [10])
    assert not graph.reached("backfill")
    graph.advance(11, {"data.wrote/0": 1}, barrier="backfill")
    assert graph.reached("backfill") and graph.reached({"data.wrote/0": 1}) and graph.offsets == {"data.wrote/0": 1}

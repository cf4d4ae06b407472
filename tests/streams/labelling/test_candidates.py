"""What is remembered is bounded, the oldest goes first, and a state that was saved goes on in the same order."""

from streams.labelling import candidates
from streams.labelling.candidates import Region, State
from streams.labelling.items import Item
from tidemill import state as states


def grown(ids):
    state = State()
    for i, id in enumerate(ids):
        one = state.candidate(id, 3)
        one.outputs["m@1"], one.newest = [0.5 + i / 20, 0.5 - i / 20], "m@1"
        one.item = Item("", "", {}, f"g{i}", "here", [float(i), 1.0])
    return state


def test_the_oldest_candidate_goes_first():
    state = grown(["z", "y", "x", "w"])
    assert list(state.pool) == ["y", "x", "w"]
    again = states.decode(states.encode(state), State)
    assert list(again.pool) == ["y", "x", "w"]
    again.candidate("v", 3)
    assert list(again.pool) == ["x", "w", "v"]


def test_labels_are_remembered_within_bounds():
    state = grown(["a", "b"])
    assert state.label("a", 2) == ("here", 0) and state.label("a", 2) is None
    for id in ("c", "d"):
        assert state.label(id, 2) is None
    assert list(state.labelled) == ["c", "d"] and not state.known("a") and state.known("c")


def test_regions_rise_where_errors_come_of_late():
    steady, rising = Region(), Region()
    for i in range(100):
        steady.add(i % 5 == 0)
        rising.add(i >= 90)
    assert rising.rise > 0.3 > 0.15 > steady.rise
    few = Region()
    for _ in range(9):
        few.add(True)
    assert few.rise == 0.0


def test_a_rise_that_was_told_counts_at_once_and_fades_with_labels():
    region = Region(told=0.5)
    assert region.rise == 0.5
    for _ in range(20):
        region.add(False)
    assert 0.0 < region.rise < 0.07
    assert states.decode(states.encode([3.0, 1.0, 0.5]), Region) == Region(3.0, 1.0, 0.5)  # as it was saved before


def test_regions_are_remembered_within_bounds_and_the_least_used_goes(monkeypatch):
    monkeypatch.setattr(candidates, "REGIONS", 3)
    state = State(regions={"old": Region(5.0, 1.0, 0.2)})  # as it was saved before uses were counted
    for i in range(50):
        state.region(f"junk {i}").add(False)
        state.region("s").add(i > 25)
    assert len(state.regions) == len(state.uses) == 3 and state.regions["s"].rise > 0.3
    again = states.decode(states.encode(state), State)
    assert (again.uses, again.regions) == (state.uses, state.regions)


def test_a_pool_of_the_doubtful():
    state = grown(["a", "b", "c"])
    state.candidate("no prediction", 9)
    assert state.as_pool(0.0).ids == ["a", "b", "c"]
    pool = state.as_pool(0.95)
    assert pool.ids == ["a"] and pool.groups == ["g0"] and pool.embeddings.tolist() == [[0.0, 1.0]]
    state.pool["b"].item.embedding = None
    assert state.as_pool(0.0).embeddings is None and State().as_pool(0.0).ids == []

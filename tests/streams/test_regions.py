"""Each region has a detector of its own, and there are so many and no more: those that are used."""

import random
from collections import Counter

import pytest

from streams import regions
from streams.regions import use, watch


def fed(kept, region, errors, start=0):
    return [p for i, wrong in enumerate(errors) for p in watch(*kept, "adwin", region, wrong, start + i)]


def test_a_change_in_one_region_is_found_there_and_nowhere_else():
    kept = {}, {}
    assert not fed(kept, "a", [False] * 200) and not fed(kept, "b", [False] * 200)
    found = fed(kept, "a", [True] * 100, 1_000)
    assert found and found[0].worse and found[0].index >= 200 and found[0].time >= 1_000
    assert not fed(kept, "b", [False] * 100) and set(kept[0]) == {"a", "b"} and kept[1] == {"a": 300, "b": 300}


def test_a_region_without_a_name_is_not_watched_and_a_new_one_takes_the_place_of_the_least_used(monkeypatch):
    monkeypatch.setattr(regions, "MOST", 2)
    kept = monitors, uses = {}, {}
    for region in ("", "a", "b", "a", "c"):
        fed(kept, region, [False])
    assert list(monitors) == ["a", "c"] and monitors["a"].state()["seen"] == 2 and uses == {"a": 2, "c": 2}
    fed(kept, "b", [False])
    assert set(monitors) == set(uses) == {"b", "c"} and uses["b"] == 3 and monitors["b"].state()["seen"] == 1


@pytest.mark.parametrize("first", [True, False])
def test_what_has_its_share_of_the_labels_is_among_those_counted_whatever_else_comes(first):
    """Junk before or between: each name once."""
    rng = random.Random(1)
    junk, real = [f"junk {i}" for i in range(3_000)], [f"s{i % 3}" for i in range(600)]
    order = junk + real
    if not first:
        rng.shuffle(order)
    uses, truth = {}, Counter(order)
    for name in order:
        assert len(use(uses, name, 20)) <= 1
    assert len(uses) == 20 and {"s0", "s1", "s2"} <= set(uses) and sum(uses.values()) == len(order)
    assert all(0 <= uses[name] - truth[name] <= len(order) / 20 for name in uses)


def test_more_than_there_may_be_leave_at_once():
    uses = {"a": 3, "b": 1, "c": 2}
    assert use(uses, "d", 2) == ["b", "c"] and uses == {"a": 3, "d": 3}

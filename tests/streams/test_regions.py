"""Each region has a detector of its own, and there are so many and no more."""

from streams import regions
from streams.regions import watch


def fed(monitors, region, errors, start=0):
    return [p for i, wrong in enumerate(errors) for p in watch(monitors, "adwin", region, wrong, start + i)]


def test_a_change_in_one_region_is_found_there_and_nowhere_else():
    monitors = {}
    assert not fed(monitors, "a", [False] * 200) and not fed(monitors, "b", [False] * 200)
    found = fed(monitors, "a", [True] * 100, 1_000)
    assert found and found[0].worse and found[0].index >= 200 and found[0].time >= 1_000
    assert not fed(monitors, "b", [False] * 100) and set(monitors) == {"a", "b"}


def test_a_region_without_a_name_and_one_too_many_are_not_watched(monkeypatch):
    monkeypatch.setattr(regions, "MOST", 2)
    monitors = {}
    for region in ("", "a", "b", "c", "a"):
        fed(monitors, region, [False])
    assert list(monitors) == ["a", "b"] and monitors["a"].state()["seen"] == 2

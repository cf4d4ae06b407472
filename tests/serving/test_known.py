"""Feature tables: the newest row, the fallback until fresh, tombstones."""

from __future__ import annotations

from serving.known import FeatureTables
from tidemill.events import FeatureUpdated


def update(key: str, value: float, sequence: int) -> FeatureUpdated:
    return FeatureUpdated(id=key, time=0, table="t", key=key, values={"v": value}, sequence=sequence)


def test_the_newest_row_counts_and_the_highest_sequence():
    tables = FeatureTables()
    for value, sequence in ((1.0, 1), (2.0, 5)):
        tables.apply(update("a", value, sequence))
    tables.apply(update("b", 3.0, 4))
    assert (tables.get("t", "a"), tables.get("t", "c"), tables.get("u", "a")) == ({"v": 2.0}, None, None)
    assert (tables.sequence, len(tables)) == (5, 2)
    tables.remove("t", "a")
    tables.remove("u", "a")
    assert tables.get("t", "a") is None


def test_the_fallback_is_asked_only_until_fresh_and_only_for_what_is_missing():
    asked: list[tuple[str, str]] = []

    def fallback(table: str, key: str) -> dict[str, float]:
        asked.append((table, key))
        return {"v": 9.0}

    tables = FeatureTables(fallback)
    tables.apply(update("a", 1.0, 1))
    assert (tables.get("t", "a"), tables.get("t", "b")) == ({"v": 1.0}, {"v": 9.0})
    tables.fresh = True
    assert tables.get("t", "b") is None
    assert asked == [("t", "b")]

"""Feature tables: rows by key, what changed, and back from saved bytes."""

from __future__ import annotations

import numpy as np
import pytest

from streams.table import Table, Tables
from tidemill.errors import ConfigError, IncompatibleError
from tidemill.job import Table as TableProtocol
from tidemill.state import decode, encode


def grown(rows: int = 100) -> Table:
    table = Table(("a", "n", "s"))
    for i in np.random.default_rng(3).permutation(rows).tolist():
        table.set(f"k{i}", {"a": i / 2, "n": i, "s": f"v{i}"})
    return table


def test_rows_are_plain_values_and_what_is_missing_none() -> None:
    table = Table(("a", "n", "s"))
    table.set("x", {"a": None, "s": "there"})
    assert table.get("x") == {"a": None, "n": None, "s": "there"}
    table.set("x", {"a": 2.5})
    assert table.get("x") == {"a": 2.5, "n": None, "s": "there"}
    assert table.get("y") is None and len(table) == 1


def test_changed_gives_the_rows_touched_since_oldest_first() -> None:
    table = grown(40)
    mark = table.changes()
    table.set("k7", {"n": -7})
    table.set("k3", {"n": -3})
    table.set("k7", {"n": -8})
    assert [(key, row["n"]) for key, row in table.changed(mark)] == [("k3", -3), ("k7", -8)]
    assert len(list(table.changed(0))) == 40
    assert list(table.changed(table.changes())) == []
    assert isinstance(table, object) and callable(TableProtocol.changed)


@pytest.mark.parametrize("rows", [0, 1, 16, 17, 100])
def test_a_table_read_back_goes_on_as_the_one_saved(rows: int) -> None:
    was = Tables({"t": grown(rows)})
    now = decode(encode(was), Tables)
    assert encode(now) == encode(was)
    for tables in (was, now):
        tables.by_name["t"].set("new", {"a": 1.0, "n": 1, "s": "n"})
        tables.by_name["t"].set("k0", {"n": 77})
    assert encode(now) == encode(was)
    assert list(now.by_name["t"].changed(0)) == list(was.by_name["t"].changed(0))
    assert now.get("t", "k0") == was.get("t", "k0")


def test_wrong_columns_are_refused() -> None:
    with pytest.raises(ConfigError):
        Table(())
    with pytest.raises(ConfigError):
        Table(("a", "a"))
    with pytest.raises(IncompatibleError):
        Table(("a",)).load_state(grown(1).state())

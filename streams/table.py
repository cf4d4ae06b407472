"""Feature tables: rows of values by key, as part of a job's state, that know what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from tidemill.errors import ConfigError, IncompatibleError

Row = dict[str, Any]

ROW_BYTES = 500
"""About what a row of a few numbers takes, with its key (measured by the test of this module)."""


class Table:
    """Rows of named plain values by key; a `tidemill.job.Table`.

    A row is a dict, so that one event reads and changes it at the cost of a look-up. `stamps` holds the number of the
    change that touched each row last, in the order of those numbers: what changed since a number stands at its end.
    As part of a state it is saved by `params` and `state` (`tidemill.state.Restorable`), numbers as arrays.

    Raises `ConfigError` for no columns, or one named twice.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        if not columns or len(set(columns)) != len(columns):
            raise ConfigError("a table's columns must be named, once each", got=", ".join(columns))
        self.columns = tuple(columns)
        self.rows: dict[str, Row] = {}
        self.stamps: dict[str, int] = {}
        self.newest = 0

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, key: str) -> Row | None:
        """The present values of a row, or None. To be read at once: the row changes with the table."""
        return self.rows.get(key)

    def set(self, key: str, values: Mapping[str, Any]) -> None:
        """Give the row of `key` these values; of a new row, the other columns are None."""
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = dict.fromkeys(self.columns)
        row.update(values)
        self.touch(key)

    def touch(self, key: str) -> None:
        """The row of `key` has new values."""
        self.newest = newest = self.newest + 1
        stamps = self.stamps
        if key in stamps:
            del stamps[key]
        stamps[key] = newest

    def changes(self) -> int:
        return self.newest

    def changed(self, since: int) -> Iterator[tuple[str, Row]]:
        """The rows changed after change number `since`, oldest change first; copies."""
        keys = []
        for key in reversed(self.stamps):
            if self.stamps[key] <= since:
                break
            keys.append(key)
        for key in reversed(keys):
            yield key, dict(self.rows[key])

    def nbytes(self) -> int:
        """About the memory of the rows."""
        return ROW_BYTES * len(self.rows)

    def params(self) -> dict[str, Any]:
        return {"columns": list(self.columns)}

    def state(self) -> dict[str, Any]:
        """The rows, by columns, the one changed last at the end."""
        rows = [self.rows[key] for key in self.stamps]
        columns = {name: _packed([row[name] for row in rows]) for name in self.columns}
        stamps = np.array(list(self.stamps.values()), dtype=np.int64)
        return {"keys": list(self.stamps), "columns": columns, "stamps": stamps, "newest": self.newest}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state from `state()`. Raises `IncompatibleError` where its columns are others."""
        if set(state) != {"keys", "columns", "stamps", "newest"} or set(state["columns"]) != set(self.columns):
            raise IncompatibleError("not a state of this table", wanted=str(self.columns), got=str(sorted(state)))
        keys = list(state["keys"])
        values = [state["columns"][name] for name in self.columns]
        listed = [v.tolist() if isinstance(v, np.ndarray) else list(v) for v in values]
        if any(len(v) != len(keys) for v in listed):
            raise IncompatibleError("a table's columns differ in length", got=str([len(v) for v in listed]))
        self.rows = {
            key: dict(zip(self.columns, row, strict=True))
            for key, row in zip(keys, zip(*listed, strict=True), strict=True)
        }
        self.stamps = dict(zip(keys, np.asarray(state["stamps"]).tolist(), strict=True))
        self.newest = int(state["newest"])


def _packed(values: list[Any]) -> Any:
    """An array where all are floats or all whole numbers; else as they are."""
    if values and all(type(v) is float for v in values):
        return np.array(values, dtype=np.float64)
    if values and all(type(v) is int and -(1 << 63) <= v < 1 << 63 for v in values):
        return np.array(values, dtype=np.int64)
    return values


class Tables(msgspec.Struct):
    """The tables of a job's state; what its features know (`tidemill.endpoint.Known`)."""

    by_name: dict[str, Table]

    def get(self, table: str, key: str) -> Row | None:
        return self.by_name[table].rows.get(key)

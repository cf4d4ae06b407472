"""Feature tables: rows of values by key, as part of a job's state, that know what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
import numpy as np

from tidemill.errors import ConfigError, IncompatibleError

ColumnType = Literal["float", "int", "string"]

_DTYPES: dict[str, Any] = {"float": np.float64, "int": np.int64, "string": np.object_}
_EMPTY: dict[str, Any] = {"float": np.nan, "int": 0, "string": None}
_START = 16


class Table:
    """Rows of named values by key; a `tidemill.job.Table`.

    Each key has a slot; each column is one array over the slots, twice as long whenever it is full. `stamp` holds, per
    slot, the number of the change that touched it last, so that `changed(since)` is one comparison over an array.
    Missing floats are NaN inside and None outside, as in JSON, so a job and a server that read the same row see the
    same. As part of a state it is saved by `params` and `state` (`tidemill.state.Restorable`).

    Raises `ConfigError` for no columns, or one of a type unknown.
    """

    def __init__(self, types: Mapping[str, ColumnType]) -> None:
        if not types or set(types.values()) - set(_DTYPES):
            raise ConfigError("a table's columns are wrong", wanted=f"columns of {sorted(_DTYPES)}", got=str(types))
        self.types = dict(types)
        self.keys: list[str] = []
        self.slots: dict[str, int] = {}
        self.columns = {name: np.full(_START, _EMPTY[t], dtype=_DTYPES[t]) for name, t in types.items()}
        self.stamp = np.zeros(_START, dtype=np.int64)
        self.newest = 0

    def __len__(self) -> int:
        return len(self.keys)

    def slot(self, key: str) -> int:
        """The key's slot; a new one with empty values (NaN, 0, None) where the key is new."""
        at = self.slots.get(key)
        if at is None:
            at = self.slots[key] = len(self.keys)
            self.keys.append(key)
            if at == len(self.stamp):
                self._resize(2 * at)
        return at

    def touch(self, slot: int) -> None:
        """The row in `slot` has new values."""
        self.newest += 1
        self.stamp[slot] = self.newest

    def set(self, key: str, values: Mapping[str, Any]) -> None:
        """Give the row of `key` these values; other columns keep theirs."""
        at = self.slot(key)
        for name, value in values.items():
            if value is None:
                value = _EMPTY[self.types[name]]
            self.columns[name][at] = value
        self.touch(at)

    def get(self, key: str) -> dict[str, Any] | None:
        """The row's values as plain Python values, or None."""
        at = self.slots.get(key)
        return None if at is None else self._row(at)

    def changes(self) -> int:
        return self.newest

    def changed(self, since: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """The rows changed after change number `since`, oldest change first."""
        used = self.stamp[: len(self.keys)]
        touched = np.flatnonzero(used > since)
        if not len(touched):
            return
        for at in touched[np.argsort(used[touched])].tolist():
            yield self.keys[at], self._row(at)

    def nbytes(self) -> int:
        """Bytes of the arrays; the keys come on top."""
        return self.stamp.nbytes + sum(column.nbytes for column in self.columns.values())

    def _row(self, at: int) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for name, column in self.columns.items():
            value = column.item(at)
            row[name] = value if value == value else None
        return row

    def _resize(self, size: int) -> None:
        more = size - len(self.stamp)
        self.stamp = np.concatenate([self.stamp, np.zeros(more, dtype=np.int64)])
        for name, column in self.columns.items():
            empty = np.full(more, _EMPTY[self.types[name]], dtype=column.dtype)
            self.columns[name] = np.concatenate([column, empty])

    def params(self) -> dict[str, Any]:
        return {"types": dict(self.types)}

    def state(self) -> dict[str, Any]:
        """The rows, in slot order; copies."""
        n = len(self.keys)
        columns = {name: column[:n].copy() for name, column in self.columns.items()}
        return {"keys": list(self.keys), "columns": columns, "stamp": self.stamp[:n].copy(), "newest": self.newest}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state from `state()`. Raises `IncompatibleError` where its columns are others."""
        if set(state) != {"keys", "columns", "stamp", "newest"} or set(state["columns"]) != set(self.types):
            raise IncompatibleError("not a state of this table", wanted=str(self.types), got=str(sorted(state)))
        self.__init__(self.types)  # type: ignore[misc]
        n = len(state["keys"])
        size = _START
        while size < n:
            size *= 2
        self._resize(size)
        self.keys = list(state["keys"])
        self.slots = {key: at for at, key in enumerate(self.keys)}
        self.stamp[:n] = state["stamp"]
        for name in self.types:
            self.columns[name][:n] = state["columns"][name]
        self.newest = int(state["newest"])


class Tables(msgspec.Struct):
    """The tables of a job's state; what its features know (`tidemill.endpoint.Known`)."""

    by_name: dict[str, Table]

    def get(self, table: str, key: str) -> dict[str, Any] | None:
        return self.by_name[table].get(key)

"""Blocks: many events of one stream as numpy columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.stream import FieldType

Column = NDArray[Any]
Columns = Mapping[str, Column]
Times = NDArray[np.int64]

_DTYPES: dict[FieldType, Any] = {"int": np.int64, "float": np.float64, "bool": np.bool_, "time": np.int64}


def dtype_of(type: FieldType, nullable: bool) -> Any:
    """The numpy type of a column: int64, float64, bool_, int64 microseconds, or object.

    A nullable `float` holds NaN for null; every other nullable field, and every `string` and `json`, is an object
    column with None for null.
    """
    if type == "float":
        return np.float64
    return np.object_ if nullable else _DTYPES.get(type, np.object_)


def column(values: Sequence[Any], dtype: Any) -> Column:
    """An array of `dtype`; an object array keeps each value as it is (no nesting into more dimensions)."""
    if dtype is np.object_:
        return np.fromiter(values, np.object_, len(values))
    if dtype is np.float64:
        try:
            return np.array(values, dtype=np.float64)
        except TypeError:
            return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return np.array(values, dtype=dtype)


class Place(msgspec.Struct, frozen=True, order=True):
    """Where an event stands: the row of a block, or row 0 of a single-event record."""

    topic: str
    partition: int
    offset: int
    row: int = 0


class Block(msgspec.Struct, eq=False):
    """Events of one stream, from one partition or many.

    `time` (int64 microseconds), `ids` and `sources` (object columns of str), `partition` (int32), `offset` (int64)
    and `row` (int32) are aligned with every column of `columns`.
    """

    stream: str
    topic: str
    time: Times
    ids: Column
    sources: Column
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    row: NDArray[np.int32]
    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(self.time)

    def take(self, index: Any) -> Block:
        """The rows that a slice, mask or index array picks."""
        return Block(
            self.stream,
            self.topic,
            self.time[index],
            self.ids[index],
            self.sources[index],
            self.partition[index],
            self.offset[index],
            self.row[index],
            {name: values[index] for name, values in self.columns.items()},
        )

    def place(self, i: int) -> Place:
        return Place(self.topic, int(self.partition[i]), int(self.offset[i]), int(self.row[i]))

    def places(self) -> Iterator[Place]:
        """Where each event stands in the log."""
        for at in zip(self.partition.tolist(), self.offset.tolist(), self.row.tolist(), strict=True):
            yield Place(self.topic, *at)

    @staticmethod
    def concat(blocks: Sequence[Block]) -> Block:
        """One block of the rows of all, in order; all of one stream and with the same columns."""
        if len(blocks) == 1:
            return blocks[0]
        first = blocks[0]

        def join(name: str) -> Any:
            return np.concatenate([getattr(b, name) for b in blocks])

        return Block(
            first.stream,
            first.topic,
            join("time"),
            join("ids"),
            join("sources"),
            join("partition"),
            join("offset"),
            join("row"),
            {name: np.concatenate([b.columns[name] for b in blocks]) for name in first.columns},
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each event's payload as plain Python values (a null float is None)."""
        yield from rows_of(self.columns, len(self))


def rows_of(columns: Mapping[str, Any], n: int) -> Iterator[dict[str, Any]]:
    """Rows of columns as dicts of plain Python values; NaN becomes None."""
    names = list(columns)
    plain = [_plain(columns[name]) for name in names]
    if not names:
        yield from ({} for _ in range(n))
        return
    for values in zip(*plain, strict=True):
        yield dict(zip(names, values, strict=True))


def _plain(values: Any) -> list[Any]:
    if not isinstance(values, np.ndarray):
        return list(values)
    listed: list[Any] = values.tolist()
    if values.dtype.kind == "f" and np.isnan(values).any():
        return [None if v != v else v for v in listed]
    return listed

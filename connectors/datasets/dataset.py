"""One shape for every data set: its declared streams, each with its rows in event-time order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from connectors.arrow import from_numpy, to_numpy
from connectors.table_log import TableLog
from tidemill.errors import DeclarationError, NotFoundError
from tidemill.stream import Field, FieldType, StreamSpec

SYNTHETIC_START = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
"""Event time of the first row of a set that has no time of its own (UTC microseconds)."""

SYNTHETIC_STEP = 1_000_000
"""From each such row to the next, in file order: one second."""


@dataclass(frozen=True)
class DataStream:
    """A declaration and its rows: `table` has a column for each declared field, sorted by (time, id)."""

    spec: StreamSpec
    table: pa.Table

    @property
    def time(self) -> NDArray[np.int64]:
        return to_numpy(self.table[self.spec.time])

    def log(self) -> TableLog:
        """The rows as a read-only log."""
        return TableLog(self.spec, self.table)


@dataclass(frozen=True)
class Dataset:
    """A named set of streams.

    `features` names the fields of the first stream that may be learned from (known at its event's time) and `targets`
    those to be predicted: fields of the first stream, or of the stream of labels where there is one.
    """

    name: str
    about: str
    streams: tuple[DataStream, ...]
    features: tuple[str, ...]
    targets: tuple[str, ...]

    def stream(self, name: str) -> DataStream:
        """Raises `NotFoundError` for a stream this set does not have."""
        for stream in self.streams:
            if stream.spec.name == name:
                return stream
        raise NotFoundError(
            f"data set {self.name} has no such stream",
            wanted=f"one of {[s.spec.name for s in self.streams]}",
            got=repr(name),
        )


def fields_of(schema: pa.Schema, *, nullable: Sequence[str] = (), time: str = "time") -> tuple[Field, ...]:
    """The declared fields of Arrow columns. Raises `DeclarationError` for a type that no field has."""
    fields = []
    for column in schema:
        kind: FieldType
        if column.name == time or pa.types.is_timestamp(column.type):
            kind = "time"
        elif pa.types.is_integer(column.type):
            kind = "int"
        elif pa.types.is_floating(column.type):
            kind = "float"
        elif pa.types.is_boolean(column.type):
            kind = "bool"
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            kind = "string"
        else:
            raise DeclarationError(f"column {column.name!r} has a type no field has", got=str(column.type))
        fields.append(Field(column.name, kind, nullable=column.name in nullable))
    return tuple(fields)


def declare(name: str, table: pa.Table, *, key: str | None = "id", label: str | None = None) -> DataStream:
    """A stream of a table with columns `id` and `time` (int64 UTC microseconds). Columns with nulls are nullable."""
    nullable = [column for column in table.column_names if table[column].null_count]
    spec = StreamSpec(
        name=name,
        fields=fields_of(table.schema, nullable=nullable),
        key=key,
        time="time",
        id="id",
        label=label,
        time_unit="us",
    )
    return DataStream(spec, table)


def tabular(
    name: str,
    about: str,
    columns: Mapping[str, pa.Array],
    targets: Sequence[str],
    time: NDArray[np.int64] | None = None,
) -> Dataset:
    """A set of one stream of rows: ids `NAME-000123` by row number, names made fit to be fields.

    Rows keep their order. Without `time` they stand one second apart from 2020-01-01 on (`SYNTHETIC_START`); with it,
    they are sorted by it and, within one time, by row.
    """
    n = len(next(iter(columns.values())))
    if time is None:
        time = SYNTHETIC_START + SYNTHETIC_STEP * np.arange(n, dtype=np.int64)
    ids = pa.array([f"{name}-{i:06d}" for i in range(n)])
    safe = {column: field_name(column) for column in columns}
    table = pa.table({"id": ids, "time": from_numpy(time)} | {safe[c]: values for c, values in columns.items()})
    table = in_event_time(table)
    label = safe[targets[0]] if len(targets) == 1 else None
    return Dataset(
        name,
        about,
        (declare(name, table, label=label),),
        tuple(safe[c] for c in columns if c not in targets),
        tuple(safe[t] for t in targets),
    )


def field_name(name: str) -> str:
    """`name` as an identifier that is free: other characters become `_`, a leading digit gets an `x` before it, and
    `id` and `time`, which every event has, a `_` after it."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    if plain in ("id", "time"):
        return plain + "_"
    return f"x{plain}" if not plain or plain[0].isdigit() else plain


def in_event_time(table: pa.Table) -> pa.Table:
    """The rows sorted by (time, id), in one chunk."""
    return table.sort_by([("time", "ascending"), ("id", "ascending")]).combine_chunks()

"""Blocks on the wire: named columns to and from an Arrow IPC stream of one record batch.

The content type is `application/vnd.apache.arrow.stream`; one Kafka record holds one such stream, and so one batch.

| column (`tidemill.block.dtype_of`)       | Arrow, as written      | Arrow, as read besides                       |
|------------------------------------------|------------------------|----------------------------------------------|
| numbers (int8…uint64, float16…float64)   | the same, no copy      |                                              |
| float, NaN for null                      | the same, NaN          | floats with nulls                            |
| bool                                     | bool                   |                                              |
| datetime64                               | timestamp[us]          | timestamp of any unit and zone, date32/64    |
| object: str and None                     | string                 | large_string, string_view, dictionary        |
| object: int, float or bool, and None     | int64, double, bool    | any whole number or bool with nulls          |
| object: anything else that JSON can hold | string, marked as JSON | list, struct, decimal…: as plain values      |

Numbers are read without a copy and are then read-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.errors import MalformedError, TidemillError

Column = NDArray[Any]

CONTENT_TYPE = "application/vnd.apache.arrow.stream"

JSON_METADATA = {b"encoding": b"json"}
"""Metadata of a field whose strings are JSON values."""

_DTYPES = {
    pa.from_numpy_dtype(np.dtype(code)): np.dtype(code)
    for code in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
}


def encode(columns: Mapping[str, Column | Sequence[Any]]) -> bytes:
    """The Arrow IPC stream of columns of equal length, as one record batch.

    Raises `TidemillError` naming the column that cannot be written, or where lengths differ.
    """
    fields: list[pa.Field] = []
    arrays: list[pa.Array] = []
    for name, values in columns.items():
        try:
            array, is_json = to_arrow(values)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise TidemillError(f"column {name!r} cannot be written as Arrow", got=str(error)) from None
        fields.append(pa.field(name, array.type, metadata=JSON_METADATA if is_json else None))
        arrays.append(array)
    if len({len(array) for array in arrays}) > 1:
        raise TidemillError("columns differ in length", got=str({n: len(c) for n, c in columns.items()}))
    return batch_bytes(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)))


def batch_bytes(batch: pa.RecordBatch) -> bytes:
    """The Arrow IPC stream of one record batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    out: bytes = sink.getvalue().to_pybytes()
    return out


def decode(data: bytes) -> dict[str, Column]:
    """The columns of an Arrow IPC stream of one record batch.

    Offsets, lengths and UTF-8 are validated before anything is read. Raises `MalformedError` where the bytes are no
    such stream, hold no batch or more than one, or name a column twice.
    """
    try:
        with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
            batch = reader.read_next_batch()
            batch.validate(full=True)
            try:
                reader.read_next_batch()
            except StopIteration:
                return columns_of(batch)
    except StopIteration:
        raise MalformedError("an Arrow stream without a record batch", wanted="one record batch") from None
    except (pa.ArrowException, OSError, ValueError, TypeError, NotImplementedError, MemoryError) as error:
        raise MalformedError("not an Arrow stream", wanted="one record batch", got=str(error)[:200]) from None
    raise MalformedError("more than one record batch in one record", wanted="one record batch")


def columns_of(batch: pa.RecordBatch | pa.Table) -> dict[str, Column]:
    """The columns of a record batch or table. Raises `MalformedError` for a column named twice."""
    names = batch.schema.names
    if len(set(names)) != len(names):
        raise MalformedError("a column is named twice", got=", ".join(sorted({n for n in names if names.count(n) > 1})))
    out = {}
    for field, array in zip(batch.schema, batch.columns, strict=True):
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        out[field.name] = _from_arrow(array, field.metadata is not None and field.metadata.get(b"encoding") == b"json")
    return out


def to_arrow(values: Column | Sequence[Any]) -> tuple[pa.Array, bool]:
    """The Arrow array of a column, and whether its strings are JSON."""
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise ValueError(f"{values.ndim} dimensions")
        if values.dtype.kind in "biuf":
            return from_numpy(values), False
        if values.dtype.kind == "M":
            return pa.array(values.astype("datetime64[us]")), False
        if values.dtype.kind == "U":
            values = values.astype(object)
    try:
        array = pa.array(values)
        plain = pa.types.is_primitive(array.type) or pa.types.is_string(array.type) or pa.types.is_null(array.type)
        if plain and not (pa.types.is_temporal(array.type) and isinstance(values, list)):
            return array, False
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        pass
    return pa.array([None if v is None else orjson.dumps(v).decode() for v in values], pa.string()), True


def _from_arrow(array: pa.Array, is_json: bool) -> Column:
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if array.null_count == 0 and (kind in _DTYPES or pa.types.is_boolean(kind)):
        return to_numpy(array)
    if is_json:
        return _objects([None if v is None else orjson.loads(v) for v in array.to_pylist()])
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_floating(kind):
        out: Column = array.to_numpy(zero_copy_only=False)
        return out
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        micros = array.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        return to_numpy(micros.fill_null(np.iinfo(np.int64).min)).view("datetime64[us]")  # the least is NaT
    return _objects(array.to_pylist())


def _objects(values: list[Any]) -> Column:
    out = np.empty(len(values), dtype=np.object_)
    for i, value in enumerate(values):
        out[i] = value
    return out


def from_numpy(values: NDArray[Any]) -> pa.Array:
    """An Arrow array over the memory of a numpy array of numbers (no copy) or booleans (packed): no nulls.

    (`pa.array` would first import pandas, to ask whether the argument is one of its own: 1.5 s.)
    """
    if values.dtype == np.bool_:
        return from_numpy(np.ascontiguousarray(values).view(np.uint8)).cast(pa.bool_())
    flat = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    return pa.Array.from_buffers(pa.from_numpy_dtype(flat.dtype), len(flat), [None, pa.py_buffer(flat)])


def to_numpy(values: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """A numpy array of an Arrow array of numbers or booleans without nulls: no copy for one chunk of numbers.

    The inverse of `from_numpy`, for the same reason. Read-only. Raises `KeyError` for any other type, `ValueError`
    where there are nulls.
    """
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if array.null_count:
        raise ValueError(f"{array.null_count} nulls among {len(array)} values")
    if pa.types.is_boolean(array.type):
        return to_numpy(array.cast(pa.uint8())).view(np.bool_)
    dtype = _DTYPES[array.type]
    if len(array) == 0:
        return np.empty(0, dtype=dtype)
    return np.frombuffer(array.buffers()[1], dtype=dtype)[array.offset : array.offset + len(array)]


def text(value: str) -> pa.StringScalar:
    """A string as an Arrow scalar; for the reason given at `from_numpy`."""
    data = value.encode()
    ends = np.array([0, len(data)], dtype=np.int32)
    return pa.StringArray.from_buffers(1, pa.py_buffer(ends), pa.py_buffer(data))[0]

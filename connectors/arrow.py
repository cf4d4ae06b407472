"""Columns to and from Arrow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_DTYPES = {
    pa.from_numpy_dtype(np.dtype(code)): code
    for code in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
}


def from_numpy(values: NDArray[Any]) -> pa.Array:
    """An Arrow array over the memory of a numpy array of numbers (no copy) or booleans (packed): no nulls.

    (`pa.array` would first import pandas, to ask whether the argument is one of its own: 1.5 s.)
    """
    if values.dtype == np.bool_:
        return from_numpy(values.view(np.uint8)).cast(pa.bool_())
    flat = np.ascontiguousarray(values)
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
        array = array.cast(pa.uint8())
        return to_numpy(array).view(np.bool_)
    dtype = np.dtype(_DTYPES[array.type])
    if len(array) == 0:
        return np.empty(0, dtype=dtype)
    return np.frombuffer(array.buffers()[1], dtype=dtype)[array.offset : array.offset + len(array)]


def text(value: str) -> pa.StringScalar:
    """A string as an Arrow scalar; for the reason given at `from_numpy`."""
    data = value.encode()
    ends = np.array([0, len(data)], dtype=np.int32)
    return pa.StringArray.from_buffers(1, pa.py_buffer(ends), pa.py_buffer(data))[0]

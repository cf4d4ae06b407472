"""A batch as plain data and one run of bytes, so that it passes between processes without a pickle.

A batch is a tensor, a numpy array, a plain value, or tuples, lists and dicts of these.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tidemill.errors import TidemillError

_ALIGN = 64


def flatten(batch: Any) -> tuple[Any, list[np.ndarray], int]:
    """A description of `batch` for msgpack, its arrays, and how many bytes they take laid out one after the other, each
    at a multiple of 64. Raises `TidemillError` naming what cannot pass."""
    arrays: list[np.ndarray] = []
    size = 0

    def visit(value: Any) -> Any:
        nonlocal size
        if isinstance(value, torch.Tensor | np.ndarray):
            array = np.ascontiguousarray(value.detach().numpy() if isinstance(value, torch.Tensor) else value)
            if array.dtype.kind not in "biuf":
                raise TidemillError("a batch cannot pass between processes", got=f"an array of {array.dtype}")
            said = ["t" if isinstance(value, torch.Tensor) else "a", array.dtype.str, list(value.shape), size]
            arrays.append(array)
            size += -(-array.nbytes // _ALIGN) * _ALIGN
            return said
        if isinstance(value, dict):
            return ["d", [[key, visit(item)] for key, item in value.items()]]
        if isinstance(value, tuple | list):
            return ["u" if isinstance(value, tuple) else "l", [visit(item) for item in value]]
        if value is None or isinstance(value, bool | int | float | str):
            return ["v", value]
        raise TidemillError(
            "a batch cannot pass between processes",
            wanted="tensors, arrays, plain values, and tuples, lists and dicts",
            got=type(value).__name__,
            fix="Return such from `collate`, or set loaders=0.",
        )

    return visit(batch), arrays, size


def fill(buffer: memoryview, arrays: list[np.ndarray]) -> None:
    """Lay the arrays out in `buffer`, as `flatten` said."""
    at = 0
    for array in arrays:
        buffer[at : at + array.nbytes] = array.reshape(-1).view(np.uint8).data
        at += -(-array.nbytes // _ALIGN) * _ALIGN


def build(said: Any, buffer: memoryview) -> Any:
    """The batch again, its arrays copied out of `buffer`."""
    kind = said[0]
    if kind in ("t", "a"):
        _, dtype, shape, at = said
        number = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(buffer, number, count, at).reshape(shape).copy() if count else np.zeros(shape, number)
        return torch.from_numpy(array) if kind == "t" else array
    if kind == "d":
        return {key: build(item, buffer) for key, item in said[1]}
    if kind in ("u", "l"):
        items = [build(item, buffer) for item in said[1]]
        return tuple(items) if kind == "u" else items
    return said[1]

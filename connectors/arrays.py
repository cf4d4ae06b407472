"""Named arrays and plain values as one file: safetensors, with the values as JSON in its metadata. No pickle.

Equal content gives equal bytes: arrays are laid out in an order fixed by type and name, and the metadata is one entry
of canonical JSON. Source: the safetensors format.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as _load
from safetensors.numpy import save as _save

from tidemill.errors import MalformedError, TidemillError

_VALUES = "tidemill.values"
_TYPES = frozenset(
    {"bool", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)), "float16", "float32", "float64"}
)


class _Header(msgspec.Struct, rename={"metadata": "__metadata__"}):
    metadata: dict[str, str] = {}


def encode(arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of named arrays (numbers and booleans, of any shape) and plain values (what JSON can hold).

    Raises `TidemillError`, naming it, for an array of another type, or a value that JSON would change.
    """
    plain = {}
    for name, array in arrays.items():
        if array.dtype.name not in _TYPES:
            raise TidemillError(f"array {name!r} cannot be kept", wanted="numbers or booleans", got=str(array.dtype))
        shaped = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        plain[name] = shaped.reshape(array.shape)  # ascontiguousarray makes a scalar one-dimensional
    for name, value in (values or {}).items():
        _check(name, value)
    text = msgspec.json.encode(dict(values or {}), order="deterministic").decode()
    out: bytes = _save(plain, metadata={_VALUES: text})
    return out


def decode(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the values. Raises `MalformedError` where the bytes are none of `encode`'s."""
    try:
        arrays = _load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = msgspec.json.decode(data[8 : 8 + length], type=_Header).metadata
        values = msgspec.json.decode(metadata.get(_VALUES, "{}"), type=dict[str, Any])
    except (SafetensorError, msgspec.DecodeError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise MalformedError("not a file of arrays", wanted="safetensors", got=str(error)[:200]) from None
    return dict(arrays), values


def _check(name: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise TidemillError(f"value {name!r} cannot be kept", wanted="finite numbers", fix="Put it into an array.")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TidemillError(f"value {name!r} cannot be kept", wanted="string keys", got=repr(key))
            _check(f"{name}.{key}", inner)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _check(f"{name}[{i}]", inner)
    elif not (value is None or isinstance(value, bool | int | float | str)):
        raise TidemillError(
            f"value {name!r} cannot be kept", wanted="numbers, strings, lists, dicts", got=type(value).__qualname__
        )

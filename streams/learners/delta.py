"""What changed between two states of a learner, as plain data: the touched parameters only, by their full values.

A delta travels as JSON, which keeps neither bytes nor NaN, nor the types of numbers; so what is binary stands in it as
base64 text: the values of arrays, and every other value as its canonical bytes (`tidemill.state.encode`).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill import state as states
from tidemill.errors import IncompatibleError

Delta = dict[str, Any]
"""`{"arrays": {name: {...}}, "plain": {name: text}, "gone": [name, ...]}`: strings, whole numbers and lists only."""

_KINDS = "biuf"
_MAX_BYTES = 1 << 30


def delta_since(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Delta:
    """The delta that turns `previous` into `current` (both from `Learner.state()`).

    An array of unchanged type and shape is given by the flat indices whose bits changed, in ascending order, and their
    new values; where that would be longer than the array, or its shape changed, by all values. Values that are no
    arrays are given whole when they differ. Values are absolute, never increments: applying a delta twice is applying
    it once. `delta_since({}, state)` is the whole state. Order between deltas is the carrier's to number and keep.
    """
    arrays: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for name, value in current.items():
        old = previous.get(name)
        if isinstance(value, np.ndarray):
            entry = _array_delta(name, old, value)
            if entry is not None:
                arrays[name] = entry
        else:
            data = states.encode(value)
            if name not in previous or states.encode(old) != data:
                plain[name] = _text(data)
    return {"arrays": arrays, "plain": plain, "gone": sorted(set(previous) - set(current))}


def is_empty(delta: Delta) -> bool:
    """Whether applying `delta` changes nothing."""
    return not (delta["arrays"] or delta["plain"] or delta["gone"])


def touched(delta: Delta) -> int:
    """How many parameters `delta` carries."""
    sizes = (len(_bytes(e["values"])) // np.dtype(e["dtype"]).itemsize for e in delta["arrays"].values())
    return int(sum(sizes) + len(delta["plain"]))


def apply_delta(state: Mapping[str, Any], delta: Mapping[str, Any]) -> dict[str, Any]:
    """`state` with `delta` applied, as a new mapping; what is untouched is shared with `state`, nothing is changed.

    Raises `IncompatibleError` where the delta does not fit the state: it was made from another one, or is malformed.
    """
    if set(delta) != {"arrays", "plain", "gone"}:
        raise IncompatibleError("not a delta", wanted="arrays, plain, gone", got=str(sorted(map(str, delta))))
    name = ""
    try:
        gone = set(delta["gone"])
        result = {name: value for name, value in state.items() if name not in gone}
        for name, text in delta["plain"].items():
            result[name] = states.decode(_bytes(text), Any)
        for name, entry in delta["arrays"].items():
            result[name] = _patched(name, state.get(name), entry)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IncompatibleError(f"delta of {name!r} is malformed", got=f"{type(error).__name__}: {error}") from error
    return result


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _array_delta(name: str, old: Any, new: NDArray[Any]) -> dict[str, Any] | None:
    if new.dtype.kind not in _KINDS:
        raise IncompatibleError(f"array {name!r} cannot be shipped", wanted="numbers", got=str(new.dtype))
    data = _little_endian(new)
    whole = {"dtype": data.dtype.str, "shape": list(new.shape), "index": None, "values": _text(data.tobytes())}
    if not isinstance(old, np.ndarray) or old.dtype != new.dtype or old.shape != new.shape:
        return whole
    size = data.dtype.itemsize
    before = np.frombuffer(_little_endian(old).tobytes(), dtype=np.uint8).reshape(-1, size)
    after = np.frombuffer(data.tobytes(), dtype=np.uint8).reshape(-1, size)
    changed = np.flatnonzero((before != after).any(axis=1))
    if len(changed) == 0:
        return None
    if len(changed) * (size + 4) >= data.nbytes:
        return whole
    index = _text(changed.astype("<u4").tobytes())
    return {**whole, "index": index, "values": _text(data.reshape(-1)[changed].tobytes())}


def _patched(name: str, old: Any, entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype, shape = np.dtype(entry["dtype"]), tuple(int(side) for side in entry["shape"])
    size = int(np.prod(shape, dtype=object))  # exact integers: a hostile shape must not wrap around
    if dtype.kind not in _KINDS or min(shape, default=0) < 0 or size * dtype.itemsize > _MAX_BYTES:
        raise IncompatibleError(f"delta of array {name!r} cannot be applied", got=f"{dtype} {shape}")
    values = np.frombuffer(_bytes(entry["values"]), dtype=dtype)
    native = dtype.newbyteorder("=")
    if entry["index"] is None:
        return values.astype(native).reshape(shape)
    if not isinstance(old, np.ndarray) or old.shape != shape or old.dtype != native:
        got = f"{old.dtype} {old.shape}" if isinstance(old, np.ndarray) else type(old).__name__
        raise IncompatibleError(f"delta of array {name!r} is of another state", wanted=f"{dtype} {shape}", got=got)
    index = np.frombuffer(_bytes(entry["index"]), dtype="<u4")
    if len(index) != len(values) or (len(index) and int(index.max()) >= size):
        raise IncompatibleError(f"delta of array {name!r} points outside it", got=f"{len(index)} indices, size {size}")
    patched = old.copy()
    patched.reshape(-1)[index] = values
    return patched

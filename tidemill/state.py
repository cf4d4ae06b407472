"""States and content as canonical bytes: msgpack with named numpy arrays, never pickle.

An array is a msgpack extension of its own, so it comes back as an array even where the type says `Any`. An object that
is rebuilt from plain values (`Restorable`: a learner, metrics, a detector) may be part of a state as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, get_origin, runtime_checkable

import msgspec
import numpy as np

from tidemill.errors import IncompatibleError, TidemillError

T = TypeVar("T")

_KINDS = "biufU?"
_ARRAY = 1


@runtime_checkable
class Restorable(Protocol):
    """What a state can hold besides plain data: `type(x)(**x.params())` followed by `load_state(x.state())` is `x`."""

    def params(self) -> dict[str, Any]: ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: Mapping[str, Any]) -> None: ...


def _enc_hook(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return msgspec.msgpack.Ext(_ARRAY, _encoder.encode(_plain(value)))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Restorable):
        return {"params": value.params(), "state": value.state()}
    raise NotImplementedError(f"{type(value).__qualname__} cannot be part of a state")


def _plain(value: np.ndarray[Any, Any]) -> list[Any]:
    if value.dtype.kind == "O":
        return ["O", list(value.shape), value.ravel().tolist()]
    if value.dtype.kind not in _KINDS:
        raise NotImplementedError(f"array of {value.dtype}")
    little = value.dtype.newbyteorder("<")
    return [little.str, list(value.shape), np.ascontiguousarray(value, dtype=little).tobytes()]


def _dec_hook(kind: type, value: Any) -> Any:
    if kind is np.ndarray or get_origin(kind) is np.ndarray:
        if not isinstance(value, np.ndarray):
            raise ValueError(f"not an array: {type(value).__name__}")
        return value
    if isinstance(value, dict) and set(value) == {"params", "state"} and hasattr(kind, "load_state"):
        restored = kind(**value["params"])
        restored.load_state(value["state"])
        return restored
    raise NotImplementedError(f"{kind} cannot be part of a state")


def _ext_hook(code: int, data: memoryview) -> Any:
    if code != _ARRAY:
        raise ValueError(f"unknown extension {code}")
    return array_of(msgspec.msgpack.decode(data))


def array_of(value: Any) -> np.ndarray[Any, Any]:
    """The array behind its encoded form `[dtype, shape, data]`. Raises `ValueError` where it is none."""
    dtype, shape, data = value
    if dtype == "O":
        return np.fromiter(data, np.object_, len(data)).reshape(shape)
    kind = np.dtype(dtype)
    if kind.kind not in _KINDS:
        raise ValueError(f"array of {kind}")
    return np.frombuffer(data, dtype=kind).reshape(shape).copy()


_encoder = msgspec.msgpack.Encoder(enc_hook=_enc_hook, order="deterministic")


def encode(value: Any) -> bytes:
    """Canonical bytes of a state: equal states give equal bytes, whatever order dicts and sets were filled in.

    Takes msgspec Structs, dataclasses, numpy arrays, `Restorable` objects, and plain containers and values. Raises
    `TidemillError` naming
    what it cannot take.
    """
    try:
        return _encoder.encode(value)
    except (NotImplementedError, TypeError) as error:
        raise TidemillError(
            "a state cannot be saved",
            where=type(value).__qualname__,
            wanted="msgspec Structs, numpy arrays, learners, plain containers and values",
            got=str(error),
        ) from None


def decode(data: bytes, kind: type[T]) -> T:
    """The state of type `kind` behind `encode`'s bytes. Raises `IncompatibleError`, naming the field, where they
    are not of that type."""
    try:
        return msgspec.msgpack.decode(data, type=kind, dec_hook=_dec_hook, ext_hook=_ext_hook)
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError, TypeError) as error:
        raise IncompatibleError(
            "a saved state does not fit",
            where=getattr(kind, "__qualname__", str(kind)),
            wanted="the state of the job as it is now",
            got=str(error),
            fix="Submit under a new name, or with --reset to learn again from the log.",
        ) from None


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def content_digest(*parts: Any) -> str:
    """The digest of the canonical bytes of `parts` taken together."""
    return digest(encode(parts))


class StateStore(Protocol):
    """Where an engine keeps snapshots. A snapshot is written whole or not at all, and its bytes are checked on load."""

    def save(self, job: str, sequence: int, data: bytes) -> None:
        """Keep `data` as snapshot `sequence` of `job`, durable on return; older ones may be dropped, two are kept.
        Raises `UnavailableError` where there is no room; what was there stays usable."""
        ...

    def load(self, job: str, at_most: int | None = None) -> tuple[int, bytes] | None:
        """The newest sound snapshot (of a sequence ≤ `at_most`), or None."""
        ...

    def clear(self, job: str) -> None:
        """Forget every snapshot of `job`."""
        ...


class NoStates:
    """A `StateStore` without a state: whoever has it begins with the log, and keeps nothing."""

    def save(self, job: str, sequence: int, data: bytes) -> None:
        """Keeps nothing."""

    def load(self, job: str, at_most: int | None = None) -> tuple[int, bytes] | None:
        return None

    def clear(self, job: str) -> None:
        """There is nothing to forget."""


NO_STATES = NoStates()

"""A model's content as one file: safetensors. No pickle.

The arrays of the state are tensors `state.<name>`, for any tool that reads safetensors. What is no plain array of
numbers (kind, parameters, the rest of the state) is canonical msgpack in the tensor `content`. Equal content gives
equal bytes. Source: the safetensors format.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as _load
from safetensors.numpy import save as _save

from tidemill import state as states
from tidemill.errors import IncompatibleError
from tidemill.job import ModelContent

_REST = "content"
_STATE = "state."
_TYPES = frozenset(
    {"bool", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)), "float16", "float32", "float64"}
)


def encode(content: ModelContent) -> bytes:
    """The bytes of a content. Raises `TidemillError` naming what cannot be kept."""
    tensors = {name: value for name, value in content.state.items() if _is_tensor(value)}
    rest = {name: value for name, value in content.state.items() if name not in tensors}
    plain = states.encode(ModelContent(content.kind, content.params, rest))
    out: bytes = _save(
        {_REST: np.frombuffer(plain, np.uint8), **{_STATE + name: _laid_out(a) for name, a in tensors.items()}}
    )
    return out


def decode(data: bytes) -> ModelContent:
    """The content behind `encode`'s bytes. Raises `IncompatibleError` where they are none."""
    try:
        tensors: dict[str, NDArray[Any]] = dict(_load(data))
        rest = tensors.pop(_REST).tobytes()
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise IncompatibleError("not a model's content", wanted="safetensors", got=str(error)[:200]) from None
    content = states.decode(rest, ModelContent)
    arrays = {name.removeprefix(_STATE): array.copy() for name, array in tensors.items()}
    return ModelContent(content.kind, content.params, content.state | arrays)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.name in _TYPES


def _laid_out(array: NDArray[Any]) -> NDArray[Any]:
    # `ascontiguousarray` makes a scalar one-dimensional.
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)

"""The servable protocol: named tensors in, named tensors out. Source: Open Inference Protocol, version 2."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.errors import RequestError

DATATYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}
"""The protocol's tensor datatypes, as numpy's."""


class TensorSpec(msgspec.Struct, frozen=True):
    """A model's input or output: its name, datatype and shape (−1 for any size).

    `raw`: its BYTES are bytes as they are (an image, a sound) and not text; in JSON they stand in base64."""

    name: str
    datatype: str
    shape: list[int]
    raw: bool = False


class Tensor(msgspec.Struct, eq=False):
    """A named tensor; `data` has the shape."""

    name: str
    data: NDArray[Any]

    @property
    def datatype(self) -> str:
        for name, dtype in DATATYPES.items():
            if self.data.dtype == dtype:
                return name
        raise RequestError("tensor type has no name in the protocol", field=self.name, got=str(self.data.dtype))


class Servable(Protocol):
    """A loaded model. `predict` works on a batch (first axis) and touches nothing it was given; it may be called
    from several threads at once."""

    inputs: list[TensorSpec]
    outputs: list[TensorSpec]

    def predict(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Raises `RequestError`, naming the input, where something does not fit."""
        ...

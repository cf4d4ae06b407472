"""Servables of ONNX models, run by ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np

from connectors.onnx_session import session
from tidemill.errors import IncompatibleError, RequestError
from tidemill.servable import DATATYPES, Tensor, TensorSpec

KIND = "onnx"
FILE = "model.onnx"

_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


def _specs(nodes: Any, what: str) -> list[TensorSpec]:
    specs = []
    for node in nodes:
        datatype = _TYPES.get(node.type)
        if datatype is None:
            raise IncompatibleError(f"{what} {node.name!r} is no tensor of the protocol", got=node.type)
        specs.append(TensorSpec(node.name, datatype, [d if isinstance(d, int) else -1 for d in node.shape]))
    return specs


class OnnxServable:
    """An ONNX model from its bytes, on the CPU. Raises `IncompatibleError` where it cannot be run.

    `threads` bounds the threads of one run. External data files are refused: the bytes are the whole model.
    """

    def __init__(self, model: bytes, threads: int = 1) -> None:
        try:
            self._session = session(model, threads)
        except Exception as error:
            # ONNX Runtime's errors share no base class but RuntimeError's and Exception.
            raise IncompatibleError(
                "not an ONNX model that this version runs", got=str(error).splitlines()[0][:200]
            ) from None
        self.inputs = _specs(self._session.get_inputs(), "input")
        self.outputs = _specs(self._session.get_outputs(), "output")
        self.batchable = all(s.shape[:1] == [-1] for s in (*self.inputs, *self.outputs))
        """Whether rows of several requests can be run as one: every first axis is free."""

    def predict(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        feed = {s.name: inputs[s.name].data.astype(DATATYPES[s.datatype], copy=False) for s in self.inputs}
        try:
            results = self._session.run(None, feed)
        except Exception as error:
            raise RequestError("the model refuses the input", got=str(error).splitlines()[0][:200]) from None
        return {
            spec.name: Tensor(spec.name, np.asarray(result)) for spec, result in zip(self.outputs, results, strict=True)
        }

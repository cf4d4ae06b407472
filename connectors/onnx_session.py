"""Sessions of ONNX Runtime, on the CPU, set up in one way wherever a model is asked."""

from __future__ import annotations

from typing import Any


def session(model: bytes, threads: int = 1, *, libraries: tuple[str, ...] = ()) -> Any:
    """An `InferenceSession` of the model's bytes, which must be all of it. `threads` bounds those of one run; nothing
    spins while it waits. `libraries` are paths of custom operators. Raises whatever ONNX Runtime does: its errors share
    no base class but `Exception`."""
    import onnxruntime  # only where an ONNX model is asked

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for library in libraries:
        options.register_custom_ops_library(library)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

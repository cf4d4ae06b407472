"""A session runs what the bytes say, and raises for what is no model."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from connectors.onnx_session import session  # noqa: E402


def test_a_model_is_run_by_so_many_threads():
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    made = session(model.SerializeToString(), 2)
    assert made.run(None, {"x": np.ones(2, np.float32)})[0].tolist() == [-1.0, -1.0]
    assert made.get_session_options().intra_op_num_threads == 2


def test_what_is_no_model_raises():
    with pytest.raises(Exception, match=r"(?i)protobuf|invalid"):
        session(b"no model")

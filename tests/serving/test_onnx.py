"""ONNX models through the same plane: protocol, batching of concurrent requests, endpoints, bad models."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from serving.batching import Batcher
from serving.onnx import OnnxServable
from serving.plane import Loaded
from tests.serving.helpers import ENDPOINT, EVENT, SPEC, Service, client_of
from tidemill.errors import IncompatibleError
from tidemill.servable import Tensor

WEIGHTS = np.array([[0.001], [-0.2], [0.05]], dtype=np.float32)


def onnx_model() -> bytes:
    """score = sigmoid(x W)."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "W"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["score"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor("W", TensorProto.FLOAT, [3, 1], WEIGHTS.ravel())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def expected(rows: list[list[float]]) -> list[float]:
    return (1 / (1 + np.exp(-np.array(rows, dtype=np.float32) @ WEIGHTS))).ravel().tolist()


@pytest.fixture(scope="module")
def servable() -> OnnxServable:
    return OnnxServable(onnx_model())


def test_inference_over_http_in_json_and_binary(servable):
    service = Service()
    service.plane.install(Loaded("net", "1", servable))
    rows = [[100.0, 2.0, 3.0], [1.0, 1.0, 1.0]]
    with client_of(service) as client:
        body = {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": rows}]}
        answer = client.post("/v2/models/net/infer", json=body).json()
        assert answer["outputs"][0]["datatype"] == "FP32"
        assert answer["outputs"][0]["data"] == pytest.approx(expected(rows))
        head = json.dumps(
            {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}]}
        ).encode()
        raw = np.array(rows, dtype="<f4").tobytes()
        headers = {"Inference-Header-Content-Length": str(len(head))}
        again = client.post("/v2/models/net/infer", content=head + raw, headers=headers).json()
        # Each answer has an id of its own, and how stale it is may have grown meanwhile.
        assert {**again, "parameters": None, "id": ""} == {**answer, "parameters": None, "id": ""}
        for wrong in (
            {"shape": [2, 3], "datatype": "FP64", "data": rows},
            {"shape": [3], "datatype": "FP32", "data": [1] * 3},
        ):
            refused = client.post("/v2/models/net/infer", json={"inputs": [{"name": "x", **wrong}]})
            assert (refused.status_code, refused.json()["field"]) == (400, "x")


def test_an_onnx_model_behind_an_endpoint(servable):
    service = Service()
    service.plane.install(Loaded("net", "1", servable))
    service.scorer.add(dataclasses.replace(ENDPOINT, model="net"), service.known, "")
    service.scorer.declare(SPEC)
    with client_of(service) as client:
        answer = client.post("/score/late?explain=true", json=EVENT).json()
    assert answer["score"] == pytest.approx(expected([[1400.0, 5.0, 0.0]])[0])
    assert "reasons" not in answer


def test_concurrent_requests_run_together_and_get_their_own_rows(servable):
    runs: list[int] = []

    class Counting(OnnxServable):
        def predict(self, inputs):
            runs.append(len(inputs["x"].data))
            return super().predict(inputs)

    loaded = Loaded("net", "1", Counting(onnx_model()))
    asked = [[float(i), 1.0, 2.0] for i in range(50)]

    async def ask() -> list[float]:
        batcher = Batcher()
        answers = await asyncio.gather(
            *(batcher.predict(loaded, {"x": Tensor("x", np.array([row], dtype=np.float32))}) for row in asked)
        )
        batcher.close()
        return [float(a["score"].data[0, 0]) for a in answers]

    assert asyncio.run(ask()) == pytest.approx(expected(asked))
    assert sum(runs) == 50
    assert len(runs) <= 3


def test_bytes_that_are_no_model_are_refused():
    with pytest.raises(IncompatibleError):
        OnnxServable(b"not a model")

"""Networks as ONNX models that take encoded items: preparation, network and what follows it in one graph.

A classifier's network maps a batch of samples to logits; exported, it gives probabilities. A detector's maps it to
boxes [N, 4] (x1, y1, x2, y2 as parts of the image) and scores [classes, N] for the one image; exported, it keeps the
best by non-maximum suppression, in pixels of the image.

Parity is checked, not believed: a task's `offline` is what its network answers, `EncodedModel.answer` what the export
does.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any

import msgspec
import onnx
import torch
from onnx import TensorProto, compose, helper

from connectors.encoded_model import BOXES, INPUT, METADATA, PROBABILITIES, Facts
from training.preparation import IR, OPSET, PIXELS, SAMPLE, Preparation, apart

MAX_BOXES = 100
"""Boxes of one class in an image."""


class Probabilities(torch.nn.Module):
    """A classifier's network with its softmax."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network(samples), dim=-1)


def classifier(network: torch.nn.Module, preparation: Preparation, classes: tuple[str, ...]) -> bytes:
    """A classifier as an encoded model (`connectors.encoded_model`)."""
    inner = _onnx(Probabilities(network), preparation, [PROBABILITIES])
    whole = compose.merge_models(preparation.model(), inner, io_map=[(SAMPLE, "network_in")])
    return _finished(whole, Facts(task="classification", medium=preparation.medium, classes=classes))


def detector(
    network: torch.nn.Module, preparation: Preparation, classes: tuple[str, ...], *, iou: float, least: float
) -> bytes:
    """A detector as an encoded model; of boxes of one class that overlap by more than `iou` the best stays, and none
    of a score under `least`."""
    inner = _onnx(network, preparation, ["corners", "scores"])
    front = preparation.model()
    front.graph.output.append(helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["h", "w", 3]))
    whole = compose.merge_models(front, inner, io_map=[(SAMPLE, "network_in")])
    graph = whole.graph
    nodes = _suppression()
    floats = {"iou": [iou], "least": [least]}
    ints = {
        "most": [MAX_BOXES],
        "first": [0],
        "second": [1],
        "third": [2],
        "end": [3],
        "half": [2, 2],
        "turned": [1, 0],
    }
    constants = [helper.make_tensor(n, TensorProto.FLOAT, [1], v) for n, v in floats.items()]
    constants += [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in ints.items()]
    apart("kept.", nodes, constants, {"corners", "scores", PIXELS, BOXES})
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(BOXES, TensorProto.FLOAT, ["n", 6]))
    return _finished(whole, Facts(task="detection", medium=preparation.medium, classes=classes))


def _suppression() -> list[Any]:
    """From `corners` [N, 4], `scores` [C, N] and `pixels` to `boxes`: class, x, y, width, height, score."""
    node = helper.make_node
    return [
        node("Unsqueeze", ["corners", "first"], ["corners_of_one"]),
        node("Unsqueeze", ["scores", "first"], ["scores_of_one"]),
        node("NonMaxSuppression", ["corners_of_one", "scores_of_one", "most", "iou", "least"], ["kept"]),
        node("Slice", ["kept", "second", "third", "second"], ["kept_class"]),
        node("Slice", ["kept", "third", "end", "second"], ["kept_box"]),
        node("Slice", ["kept", "second", "end", "second"], ["kept_score"]),
        node("GatherND", ["scores", "kept_score"], ["score_of"]),
        node("Unsqueeze", ["score_of", "second"], ["score_column"]),
        node("GatherND", ["corners", "kept_box"], ["corners_of"]),
        node("Split", ["corners_of", "half"], ["near", "far"], axis=1),
        node("Sub", ["far", "near"], ["extent"]),
        node("Shape", [PIXELS], ["image_shape"]),
        node("Gather", ["image_shape", "turned"], ["width_height"]),
        node("Cast", ["width_height"], ["image_size"], to=TensorProto.FLOAT),
        node("Mul", ["near", "image_size"], ["near_pixels"]),
        node("Mul", ["extent", "image_size"], ["extent_pixels"]),
        node("Cast", ["kept_class"], ["class_column"], to=TensorProto.FLOAT),
        node("Concat", ["class_column", "near_pixels", "extent_pixels", "score_column"], [BOXES], axis=1),
    ]


def _onnx(network: torch.nn.Module, preparation: Preparation, outputs: list[str]) -> onnx.ModelProto:
    """The network for one sample, its input named `network_in`, every other name of its own kept apart."""
    network = network.eval()
    inner = preparation.model().graph.output[0].type.tensor_type
    shape = [d.dim_value for d in inner.shape.dim]
    example = torch.zeros(shape, dtype=_DTYPES[inner.elem_type])
    out = BytesIO()
    with warnings.catch_warnings():
        # The exporter of torch 2.13 calls parts of torch that torch calls old.
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            *(network, (example,)),
            input_names=["network_in"],
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    program.save(out)
    model = onnx.load_from_string(out.getvalue())
    model.ir_version = IR
    del model.metadata_props[:]
    return model


_DTYPES = {TensorProto.UINT8: torch.uint8, TensorProto.INT64: torch.int64, TensorProto.FLOAT: torch.float32}


def _finished(model: onnx.ModelProto, facts: Facts) -> bytes:
    assert [i.name for i in model.graph.input] == [INPUT]
    for node in model.graph.node:  # where the exporter ran: the same network has the same bytes everywhere
        node.doc_string = ""
        del node.metadata_props[:]
    for value in model.graph.value_info:
        del value.metadata_props[:]
    model.doc_string, model.producer_name, model.graph.name = "", METADATA, METADATA
    helper.set_model_props(model, {METADATA: msgspec.json.encode(facts).decode()})
    return bytes(model.SerializeToString(deterministic=True))

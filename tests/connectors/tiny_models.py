"""Encoded models small enough to be written down: what they answer can be computed by hand."""

from __future__ import annotations

import msgspec
import numpy as np
from onnx import TensorProto, compose, helper

from connectors.encoded_model import BOXES, METADATA, PROBABILITIES, Facts
from training.preparation import IR, OPSET, PIXELS, SAMPLE, AudioPreparation, ImagePreparation, TextPreparation


def brightness(size: int = 8) -> bytes:
    """Two classes: `dark` with 1 − b and `bright` with b, the mean of all values over 255."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f", "axes"], ["m"], keepdims=0),
        helper.make_node("Div", ["m", "top"], ["b"]),
        helper.make_node("Sub", ["one", "b"], ["d"]),
        helper.make_node("Concat", ["d", "b"], ["flat"], axis=0),
        helper.make_node("Reshape", ["flat", "shape"], [PROBABILITIES]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("top", TensorProto.FLOAT, [1], [255.0]),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("shape", TensorProto.INT64, [2], [1, 2]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 3, size, size])
    out = helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [1, 2])
    facts = Facts(task="classification", medium="image", classes=("dark", "bright"))
    return _joined(ImagePreparation(size).model(), nodes, given, out, constants, facts)


def words(length: int = 8) -> bytes:
    """Two classes: `none` and `some`, the share of `length` places that hold a word."""
    nodes = [
        helper.make_node("Greater", ["x", "nothing"], ["there"]),
        helper.make_node("Cast", ["there"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f", "axes"], ["b"], keepdims=1),
        helper.make_node("Sub", ["one", "b"], ["d"]),
        helper.make_node("Concat", ["d", "b"], [PROBABILITIES], axis=1),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("nothing", TensorProto.INT64, [1], [0]),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.INT64, [1, length])
    out = helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [1, 2])
    facts = Facts(task="classification", medium="text", classes=("none", "some"))
    return _joined(TextPreparation(100, length).model(), nodes, given, out, constants, facts)


def loudness(samples: int = 400) -> bytes:
    """Two classes: `quiet` with 1 − b and `loud` with b, the mean of the sizes of 8,000 samples a second."""
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("ReduceMean", ["a", "axes"], ["b"], keepdims=1),
        helper.make_node("Sub", ["one", "b"], ["q"]),
        helper.make_node("Concat", ["q", "b"], [PROBABILITIES], axis=1),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, samples])
    out = helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [1, 2])
    facts = Facts(task="classification", medium="audio", classes=("quiet", "loud"))
    return _joined(AudioPreparation(8_000, samples).model(), nodes, given, out, constants, facts)


def whole_image(size: int = 8) -> bytes:
    """A detector that finds, in every image that is not black, one box of class `all`: the whole of it."""
    front = ImagePreparation(size).model()
    front.graph.output.append(helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["h", "w", 3]))
    nodes = [
        helper.make_node("Shape", [PIXELS], ["shape"]),
        helper.make_node("Gather", ["shape", "turned"], ["wh"]),
        helper.make_node("Cast", ["wh"], ["extent"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["zeros", "extent", "sure"], ["flat"], axis=0),
        helper.make_node("Reshape", ["flat", "row"], ["rows"]),
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["number"], to=TensorProto.INT64),
        helper.make_node("Min", ["number", "one"], ["count"]),
        helper.make_node("Reshape", ["count", "first"], ["end"]),
        helper.make_node("Slice", ["rows", "start", "end", "start"], [BOXES]),
    ]
    constants = [
        helper.make_tensor("turned", TensorProto.INT64, [2], [1, 0]),
        helper.make_tensor("zeros", TensorProto.FLOAT, [3], [0.0, 0.0, 0.0]),
        helper.make_tensor("sure", TensorProto.FLOAT, [1], [0.9]),
        helper.make_tensor("row", TensorProto.INT64, [2], [1, 6]),
        helper.make_tensor("one", TensorProto.INT64, [], [1]),
        helper.make_tensor("first", TensorProto.INT64, [1], [1]),
        helper.make_tensor("start", TensorProto.INT64, [1], [0]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 3, size, size])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["same"])], "g", [given], [_like("same", given)])
    whole = compose.merge_models(front, _model(graph), io_map=[(SAMPLE, "x")])
    for node in nodes:
        node.input[:] = [SAMPLE if name == "x" else name for name in node.input]
    whole.graph.node.extend(nodes)
    whole.graph.initializer.extend(constants)
    del whole.graph.output[:]
    whole.graph.output.append(helper.make_tensor_value_info(BOXES, TensorProto.FLOAT, ["n", 6]))
    return _finished(whole, Facts(task="detection", medium="image", classes=("all",)))


def _like(name, value):
    copy = helper.make_tensor_value_info(name, TensorProto.UINT8, None)
    copy.type.CopyFrom(value.type)
    return copy


def _model(graph):
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def _joined(front, nodes, given, out, constants, facts: Facts) -> bytes:
    graph = helper.make_graph(nodes, "g", [given], [out], constants)
    return _finished(compose.merge_models(front, _model(graph), io_map=[(SAMPLE, "x")]), facts)


def _finished(model, facts: Facts) -> bytes:
    helper.set_model_props(model, {METADATA: msgspec.json.encode(facts).decode()})
    return model.SerializeToString()


def grey(value: int, height: int = 8, width: int = 8) -> bytes:
    """A PNG of one colour."""
    from connectors.images import encoded

    return encoded(np.full((height, width, 3), value, np.uint8))

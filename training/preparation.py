"""From an encoded item to the network's input, as ONNX nodes that training runs and an exported model contains.

Training and serving compute the same input because they run the same nodes. Images: decoded, resized (linear, with
antialiasing) to a square, uint8 [1, 3, size, size], blue, green, red. Texts: lower case, words and signs apart, each
hashed to one of `buckets` numbers from 1 on, int64 [1, length], 0 behind the end. Sounds: decoded, one channel at
`rate`, float32 [1, samples], zeros behind the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from connectors import images
from connectors.encoded_model import INPUT, prepared
from tidemill.errors import MalformedError, RequestError

OPSET = 18
IR = 10
CONTRIB, EXTENSIONS = "ai.onnx.contrib", "com.microsoft.extensions"
SAMPLE = "sample"
PIXELS = "pixels"


class Preparation(Protocol):
    """How items of a medium are made into the network's input."""

    medium: ClassVar[Literal["image", "text", "audio"]]

    def model(self) -> onnx.ModelProto:
        """Input `item` to output `sample`, the network's input for one item; of images also `pixels` as decoded."""
        ...

    def apply(self, item: bytes | str) -> NDArray[Any]:
        """The sample of one item, without its first axis. Raises `MalformedError` where it is no such item."""
        ...


@dataclass(frozen=True)
class ImagePreparation:
    """Images to uint8 [1, 3, size, size]."""

    size: int
    medium: ClassVar[Literal["image", "text", "audio"]] = "image"

    def model(self) -> onnx.ModelProto:
        decode = helper.make_node("DecodeImage", [INPUT], [PIXELS], domain=EXTENSIONS)
        return _model([decode, *self._nodes()], _value(INPUT, TensorProto.UINT8, ["bytes"]), self._out(), self._sizes())

    def resizing(self) -> onnx.ModelProto:
        """As `model`, from the decoded pixels [height, width, 3] on."""
        return _model(self._nodes(), _value(PIXELS, TensorProto.UINT8, ["h", "w", 3]), self._out(), self._sizes())

    def apply(self, item: bytes | str) -> NDArray[np.uint8]:
        return self.apply_sized(item)[0]

    def apply_sized(self, item: bytes | str) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """The sample, and the height and width of the image that it was made of."""
        assert isinstance(item, bytes)
        try:
            pixels = images.pixels(item)
        except RequestError as error:
            raise MalformedError(error.message, wanted=error.wanted, got=error.got, field="media") from None
        sample: NDArray[np.uint8] = _session(self).run([SAMPLE], {PIXELS: pixels})[0][0]
        return sample, (pixels.shape[0], pixels.shape[1])

    def _nodes(self) -> list[Any]:
        return [
            helper.make_node("Resize", [PIXELS, "", "", "sizes"], ["resized"], mode="linear", antialias=1, axes=[0, 1]),
            helper.make_node("Transpose", ["resized"], ["planes"], perm=[2, 0, 1]),
            helper.make_node("Unsqueeze", ["planes", "zero"], [SAMPLE]),
        ]

    def _sizes(self) -> list[Any]:
        return [_ints("sizes", [self.size, self.size]), _ints("zero", [0])]

    def _out(self) -> Any:
        return _value(SAMPLE, TensorProto.UINT8, [1, 3, self.size, self.size])


@dataclass(frozen=True)
class TextPreparation:
    """Texts to hashed words, int64 [1, length], 1 to `buckets`."""

    buckets: int = 16_384
    length: int = 64
    medium: ClassVar[Literal["image", "text", "audio"]] = "text"

    def model(self) -> onnx.ModelProto:
        nodes = [
            helper.make_node("StringLower", [INPUT], ["lower"], domain=CONTRIB),
            helper.make_node("StringRegexReplace", ["lower", "digit", "nine"], ["masked"], domain=CONTRIB),
            helper.make_node("StringRegexReplace", ["masked", "sign", "apart"], ["spaced"], domain=CONTRIB),
            helper.make_node("StringSplit", ["spaced", "space", "skip"], ["at", "words", "shape"], domain=CONTRIB),
            helper.make_node("StringToHashBucketFast", ["words", "buckets"], ["hashes"], domain=CONTRIB),
            helper.make_node("Add", ["hashes", "one"], ["numbers"]),
            *_filled("numbers", axis=0),
            helper.make_node("Unsqueeze", ["cut", "zero"], [SAMPLE]),
        ]
        # Digits count by how many there are, not by which; letters of every script stay together.
        texts = {"digit": "[0-9]", "nine": "9", "sign": r"([^\p{L}\p{M}9\s])", "apart": r" \1 ", "space": " "}
        constants = [_text(n, t) for n, t in texts.items()]
        constants += [helper.make_tensor("skip", TensorProto.BOOL, [1], [True]), _ints("buckets", [self.buckets])]
        constants += [_ints("one", [1]), _ints("zero", [0]), _ints("length", [self.length])]
        constants += [_ints("padding", [0] * self.length)]
        out = _value(SAMPLE, TensorProto.INT64, [1, self.length])
        return _model(nodes, _value(INPUT, TensorProto.STRING, [1]), out, constants)

    def apply(self, item: bytes | str) -> NDArray[np.int64]:
        return _applied(self, item)


@dataclass(frozen=True)
class AudioPreparation:
    """Sounds to float32 [1, samples], `rate` a second; of a lower rate than that none is taken."""

    rate: int = 8_000
    samples: int = 8_000
    medium: ClassVar[Literal["image", "text", "audio"]] = "audio"

    def model(self) -> onnx.ModelProto:
        nodes = [
            helper.make_node(
                "AudioDecoder",
                [INPUT, "format"],
                ["sound"],
                domain=CONTRIB,
                downsampling_rate=self.rate,
                stereo_to_mono=1,
            ),
            *_filled("sound", axis=1),
            helper.make_node("Identity", ["cut"], [SAMPLE]),
        ]
        constants = [
            _text("format", "wav"),
            helper.make_tensor("padding", TensorProto.FLOAT, [1, self.samples], [0.0] * self.samples),
            _ints("zero", [0]),
            _ints("one", [1]),
            _ints("length", [self.samples]),
        ]
        out = _value(SAMPLE, TensorProto.FLOAT, [1, self.samples])
        return _model(nodes, _value(INPUT, TensorProto.UINT8, ["bytes"]), out, constants)

    def apply(self, item: bytes | str) -> NDArray[np.float32]:
        return _applied(self, item)


def _filled(name: str, axis: int) -> list[Any]:
    """Nodes from `name` to `cut`: zeros behind it, and cut to `length`."""
    return [
        helper.make_node("Concat", [name, "padding"], ["filled"], axis=axis),
        helper.make_node("Slice", ["filled", "zero", "length", "one" if axis else "zero"], ["cut"]),
    ]


def _applied(preparation: TextPreparation | AudioPreparation, item: bytes | str) -> NDArray[Any]:
    try:
        feed = {INPUT: prepared(preparation.medium, item)}
    except RequestError as error:
        raise MalformedError(error.message, wanted=error.wanted, got=error.got, field="media") from None
    try:
        sample: NDArray[Any] = _session(preparation).run([SAMPLE], feed)[0][0]
    except Exception as error:
        # ONNX Runtime's errors share no base class but Exception; of a sound of too low a rate, for one.
        raise MalformedError("not an item of this medium", got=str(error).splitlines()[0][:200]) from None
    return sample


@lru_cache(32)
def _session(preparation: Any) -> Any:
    """One for each process: sessions are safe from several threads, and cannot be sent to another process."""
    import onnxruntime
    from onnxruntime_extensions import get_library_path

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.register_custom_ops_library(get_library_path())
    model = preparation.resizing() if isinstance(preparation, ImagePreparation) else preparation.model()
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _model(nodes: list[Any], given: Any, out: Any, constants: list[Any]) -> onnx.ModelProto:
    apart("prepared.", nodes, constants, {INPUT, PIXELS, SAMPLE})
    graph = helper.make_graph(nodes, "preparation", [given], [out], constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1), helper.make_opsetid(EXTENSIONS, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR)


def apart(prefix: str, nodes: list[Any], constants: list[Any], but: set[str]) -> None:
    """Put `prefix` before every name of nodes and constants `but` these: an exporter names as it likes."""
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [name if not name or name in but else prefix + name for name in names]
    for constant in constants:
        constant.name = prefix + constant.name


def _value(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _text(name: str, text: str) -> Any:
    values: Any = [text.encode()]
    return helper.make_tensor(name, TensorProto.STRING, [1], values)


def _ints(name: str, values: list[int]) -> Any:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)

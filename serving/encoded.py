"""Servables of exported perception models: encoded images, sounds or texts in, class probabilities or boxes out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from connectors import images, sounds
from connectors.encoded_model import EncodedModel, is_encoded
from serving.onnx import OnnxServable
from tidemill.errors import RequestError, TooLargeError
from tidemill.servable import Servable, Tensor, TensorSpec

MAX_ITEMS = 1_024
"""Items of one request."""

MAX_PIXELS = 2 * images.MAX_PIXELS
"""Pixels of all images of one request: about a second of decoding."""

MAX_SAMPLES = 2 * sounds.MAX_SAMPLES
"""Samples of all sounds of one request, of all their channels: one or two seconds of decoding."""


def servable_of(model: bytes) -> Servable:
    """The servable of an ONNX model: `EncodedServable` where it takes encoded items, else `OnnxServable`, which knows
    none of the ops that decode: no bytes of a stranger's reach these as they are."""
    return EncodedServable(model) if is_encoded(model) else OnnxServable(model)


class EncodedServable:
    """An exported model. Its one input is BYTES, named by its medium, an item a row.

    A classifier gives `class` and `probabilities` [rows, classes]. A detector gives `count`, `boxes` [rows, most, 6]
    (class index, x, y, width, height in pixels of the image, score; the most probable first, and rows of −1 behind the
    last), and `score`, that of the best box, 0 without any. Items differ in size, so each is a run of its own: what is
    answered does not depend on what was asked beside it.
    """

    batchable = True

    def __init__(self, model: bytes) -> None:
        self._model = EncodedModel(model)
        facts = self._model.facts
        self.facts = facts
        self.inputs = [TensorSpec(facts.medium, "BYTES", [-1], raw=facts.medium != "text")]
        if facts.task == "detection":
            self.outputs = [
                TensorSpec("count", "INT64", [-1]),
                TensorSpec("boxes", "FP32", [-1, -1, 6]),
                TensorSpec("score", "FP32", [-1]),
            ]
        else:
            self.outputs = [
                TensorSpec("class", "BYTES", [-1]),
                TensorSpec("probabilities", "FP32", [-1, len(facts.classes)]),
            ]

    def predict(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        medium = self.facts.medium
        items: list[bytes | str] = inputs[medium].data.tolist()
        if len(items) > MAX_ITEMS:
            raise RequestError("too many items", wanted=f"at most {MAX_ITEMS}", got=str(len(items)), field=medium)
        if medium != "text":
            _bounded(medium, items)
        answers = [self._model.answer(item) for item in items]
        return self._boxes(answers) if self.facts.task == "detection" else self._classes(answers)

    def _classes(self, answers: list[NDArray[np.float32]]) -> dict[str, Tensor]:
        probabilities = np.array(answers, np.float32).reshape(len(answers), len(self.facts.classes))
        names = np.array(self.facts.classes, dtype=np.object_)[probabilities.argmax(1)]
        return {"class": Tensor("class", names), "probabilities": Tensor("probabilities", probabilities)}

    def _boxes(self, answers: list[NDArray[np.float32]]) -> dict[str, Tensor]:
        count = np.array([len(boxes) for boxes in answers], np.int64)
        boxes = np.full((len(answers), max(count, default=0), 6), -1, np.float32)
        for row, found in zip(boxes, answers, strict=True):
            row[: len(found)] = found
        score = np.array([found[0, 5] if len(found) else 0 for found in answers], np.float32)
        return {"count": Tensor("count", count), "boxes": Tensor("boxes", boxes), "score": Tensor("score", score)}


def _bounded(medium: str, items: list[bytes | str]) -> None:
    """Raises `TooLargeError` where the images or sounds of one request are too many by their headers."""
    most, unit = (MAX_PIXELS, "pixels") if medium == "image" else (MAX_SAMPLES, "samples")
    size = 0
    for item in items:
        data = item if isinstance(item, bytes) else b""
        size += math.prod(images.size(data)) if medium == "image" else sounds.length(data)
        if size > most:
            raise TooLargeError(f"too many {unit} in one request", wanted=f"at most {most}", field=medium)

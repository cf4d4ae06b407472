"""Exported perception models: an ONNX model that takes an encoded item, an image, a sound or a text, as it is.

Its preprocessing is inside, so whoever runs it computes what was computed in training. What it is stands in its own
metadata under `tidemill`: the `Facts`. Bytes of strangers are bounded and written anew before the model sees them
(`connectors.images`, `connectors.sounds`).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from connectors import images, sounds
from connectors.onnx_session import session
from tidemill.errors import IncompatibleError, RequestError, TooLargeError

METADATA = "tidemill"
MARK = b"tidemill.encoded.v1"
"""Stands in the bytes of every such model."""

INPUT, PROBABILITIES, BOXES = "item", "probabilities", "boxes"

MAX_TEXT = 65_536
"""Characters of a text."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model says of itself. `task` is what it gives: the probability of each of `classes`, or boxes of them."""

    format: str = MARK.decode()
    task: Literal["classification", "detection"]
    medium: Literal["image", "text", "audio"]
    classes: tuple[str, ...]


def is_encoded(model: bytes) -> bool:
    """Whether these are the bytes of such a model."""
    return MARK in model


class EncodedModel:
    """One model, ready to be asked; safe from several threads. Raises `IncompatibleError` where it cannot be run.

    Of a classifier `answer` gives probabilities [classes], float32. Of a detector it gives boxes [n, 6], float32, the
    most probable first: class index, x and y of the upper left corner, width, height, all in pixels of the image as it
    is shown (upright), and the score.
    """

    def __init__(self, model: bytes, threads: int = 1) -> None:
        from onnxruntime_extensions import get_library_path

        try:
            self._session = session(model, threads, libraries=(get_library_path(),))
            text = self._session.get_modelmeta().custom_metadata_map.get(METADATA, "")
            self.facts = msgspec.json.decode(text, type=Facts)
        except Exception as error:
            # ONNX Runtime's errors share no base class but Exception.
            raise IncompatibleError(
                "not an exported model that this version runs", got=str(error).splitlines()[0][:200]
            ) from None
        inputs = [(node.name, node.type) for node in self._session.get_inputs()]
        wanted = [(INPUT, "tensor(string)" if self.facts.medium == "text" else "tensor(uint8)")]
        output = BOXES if self.facts.task == "detection" else PROBABILITIES
        if inputs != wanted or [node.name for node in self._session.get_outputs()] != [output]:
            raise IncompatibleError(
                "the model is not of the form it says", wanted=f"{wanted} to {output}", got=str(inputs)
            )

    def answer(self, item: bytes | str) -> NDArray[np.float32]:
        """The answer to one item. Raises `RequestError` or `TooLargeError` where the item is not fit."""
        try:
            result: NDArray[np.float32] = self._session.run(None, {INPUT: prepared(self.facts.medium, item)})[0]
        except (RequestError, TooLargeError):
            raise
        except Exception as error:
            raise RequestError("the model refuses the item", got=str(error).splitlines()[0][:200]) from None
        if self.facts.task == "detection":
            return result[np.argsort(-result[:, 5], kind="stable")]
        return result.reshape(-1)


def prepared(medium: str, item: bytes | str) -> NDArray[Any]:
    """What the model is given for an item: the bytes of a PNG or of a WAV written here, uint8 [n], or the text [1].

    Raises `RequestError` or `TooLargeError` where the item is not of the medium, or out of bounds.
    """
    if medium == "text":
        if not isinstance(item, str):
            raise RequestError("not a text", wanted="a text", got=type(item).__name__, field="text")
        if len(item) > MAX_TEXT:
            raise TooLargeError("text too long", wanted=f"at most {MAX_TEXT} characters", got=str(len(item)))
        # A string of the runtime's ends at the first zero.
        return np.array([item.replace("\0", " ").encode("utf-8", "replace").decode()], dtype=np.object_)
    if not isinstance(item, bytes):
        raise RequestError("not bytes", wanted=f"an encoded {medium}", got=type(item).__name__, field=medium)
    return np.frombuffer(images.png(item) if medium == "image" else sounds.wav(item), np.uint8)

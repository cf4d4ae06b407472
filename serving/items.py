"""One image, sound or text in plain JSON, scored by the model of that name: `POST /score/MODEL`.

The body is an object of `image` or `audio` (base64) or `text`; or of `media`, the digest of an item's bytes in the
artefact store; and where the caller has one, the item's `id`, by which a label joins the prediction.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from serving.encoded import EncodedServable
from serving.oip import decoded
from serving.plane import Loaded
from serving.tensor_rows import MAX_ID
from tidemill.errors import MalformedError, NotFoundError, RequestError, UserError
from tidemill.servable import Tensor


class ItemAnswer(msgspec.Struct, omit_defaults=True):
    """What a caller gets. Of a classifier the `label`, and the `probabilities` of all `classes`; of a detector `boxes`,
    each `[class, x, y, width, height, score]` in pixels of the image, the most probable first. `score` is the greatest
    of these. `staleness` is in seconds."""

    id: str
    endpoint: str
    model: str
    version: str
    score: float
    staleness: float = -1.0
    label: str | None = None
    classes: tuple[str, ...] | None = None
    probabilities: list[float] | None = None
    boxes: list[list[Any]] | None = None


class AskedItem(msgspec.Struct, eq=False):
    """A decoded request."""

    id: str
    inputs: dict[str, Tensor]


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    id: str = ""
    image: str | None = None
    audio: str | None = None
    text: str | None = None
    media: str | None = None


_decoder = msgspec.json.Decoder(_Body)


def decode(body: bytes, servable: EncodedServable, media: Callable[[str], bytes] | None) -> AskedItem:
    """The item in a body. Raises `MalformedError` where it is not JSON, `RequestError` naming the field where it does
    not fit the model, or its digest names nothing."""
    try:
        asked = _decoder.decode(body)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("`$.")[2].rstrip("`") if "`$." in str(error) else ""
        raise RequestError("not an item", got=str(error), field=field) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("not JSON", got=str(error)) from None
    if len(asked.id) > MAX_ID:
        raise RequestError("id is too long", wanted=f"at most {MAX_ID} characters", got=f"{len(asked.id)}", field="id")
    medium = servable.facts.medium
    given = [name for name in ("image", "audio", "text", "media") if getattr(asked, name) is not None]
    if given not in ([medium], ["media"]):
        got = ", ".join(given) or "none of them"
        raise RequestError("not the item that the model takes", wanted=f"{medium}, or media", got=got, field=medium)
    value = np.empty(1, dtype=np.object_)
    value[0] = _stored(str(asked.media), medium, media) if given == ["media"] else getattr(asked, medium)
    if given != ["media"] and medium != "text":
        value[0] = decoded(value[0], medium)
    return AskedItem(asked.id or uuid.uuid4().hex, {medium: Tensor(medium, value)})


def _stored(digest: str, medium: str, media: Callable[[str], bytes] | None) -> bytes | str:
    if media is None:
        raise RequestError("this server has no artefact store", wanted=f"the {medium} itself", field="media")
    try:
        data = media(digest)
    except (NotFoundError, UserError) as error:
        raise RequestError("no such item is stored", got=error.message, field="media") from None
    try:
        return data.decode() if medium == "text" else data
    except UnicodeDecodeError:
        raise RequestError("the stored item is no text", wanted="UTF-8", field="media") from None


def answer(
    loaded: Loaded, servable: EncodedServable, id: str, outputs: Mapping[str, Tensor], staleness: float
) -> ItemAnswer:
    """The answer to one item, from the outputs of its one row."""
    classes = servable.facts.classes
    whole = ItemAnswer(id, loaded.model, loaded.model, loaded.version, 0.0, staleness)
    if servable.facts.task == "detection":
        rows = outputs["boxes"].data[0][: int(outputs["count"].data[0])].tolist()
        whole.boxes = [[classes[int(row[0])], *row[1:]] for row in rows]
        whole.score = float(outputs["score"].data[0])
        return whole
    probabilities = outputs["probabilities"].data[0]
    whole.label, whole.classes = str(outputs["class"].data[0]), classes
    whole.probabilities, whole.score = probabilities.tolist(), float(probabilities.max())
    return whole

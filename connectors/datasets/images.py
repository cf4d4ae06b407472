"""What an image is, found from its first bytes, and its likeness: a perceptual hash and a small grey copy.

Nothing is decoded whose header says that it is too large: an image that is taken in can be labelled, learned from and
served, so the bounds are those of `connectors.images`.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from connectors import images
from tidemill.errors import RequestError, TooLargeError, UserError

_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "BMP": "image/bmp", "GIF": "image/gif"}
_CHANNELS = {"1": 1, "L": 1, "I;16": 1, "I": 1, "P": 3, "LA": 2}
SIDE = 16
_FLAT = 2


@dataclass(frozen=True)
class ImageFacts:
    """What the header of an image says; `width` and `height` upright, as it is shown and learned. `channels` is 1 for
    grey, 3 for colour, one more with transparency."""

    media_type: str
    width: int
    height: int
    channels: int


def probe(data: bytes, where: str) -> ImageFacts:
    """Type and size by the header, without decoding. Raises `UserError` for what is no image of a known type, or is
    above the bounds."""
    with _opened(data, where) as image:
        channels = _CHANNELS.get(image.mode, len(image.getbands()))
        stored = image.width, image.height
        width, height = stored if images.orientation(data) < 5 else stored[::-1]
        return ImageFacts(_TYPES[str(image.format)], width, height, channels)


def kept(data: bytes, where: str) -> bytes:
    """What an import keeps of an image: its own bytes where it is a PNG or a JPEG, or else a PNG of the same pixels (a
    JPEG of quality 95 where that would be above `connectors.images.MAX_BYTES`), which annotators, training and served
    models can all decode; of an animation the first frame, without transparency. Raises `UserError` as `grey`."""
    if data[:4] == b"\x89PNG" or data[:3] == b"\xff\xd8\xff":
        return data
    with _opened(data, where) as image:
        try:
            colours = image.convert("L" if image.mode in ("1", "L") else "RGB")
        except (OSError, ValueError, SyntaxError, MemoryError) as error:
            raise UserError("an image cannot be decoded", where=where, got=str(error)[:200]) from None
    found = images.encoded(np.asarray(colours, dtype=np.uint8))
    if len(found) <= images.MAX_BYTES:
        return found
    out = io.BytesIO()
    colours.save(out, "JPEG", quality=95)
    return out.getvalue()


def grey(data: bytes, where: str) -> NDArray[np.uint8]:
    """The image in grey, upright, 16 by 16 pixels, each the mean of what it stands for. Raises `UserError` as `probe`,
    and for one that cannot be decoded."""
    with _opened(data, where) as image:
        try:
            upright = images.turned(image.convert("L"), images.orientation(data))
            small = upright.resize((SIDE, SIDE), Image.Resampling.BOX)
        except (OSError, ValueError, SyntaxError, MemoryError) as error:
            raise UserError("an image cannot be decoded", where=where, got=str(error)[:200]) from None
    return np.asarray(small, dtype=np.uint8)


def upright_boxes(data: bytes, boxes: list[list[Any]], size: tuple[int, int], where: str) -> list[list[Any]]:
    """Boxes [class, x, y, width, height] in pixels of the upright image, where a source says that they are in those of
    an image of `size` (width, height): of the stored one, if that is its size and not the upright one's."""
    how = images.orientation(data)
    if how < 5 or not boxes:
        return boxes
    shown = probe(data, where)
    if size != (shown.height, shown.width) or shown.width == shown.height:
        return boxes
    far_x, far_y = how in (7, 8), how in (6, 7)  # from which end of the stored sides they are counted
    wide, high = size
    return [[c, high - y - h if far_y else y, wide - x - w if far_x else x, h, w] for c, x, y, w, h in boxes]


def likeness(smalls: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The perceptual hashes of grey copies (n, 16, 16): 128 bits each, as two words (n, 2).

    A copy is averaged to 8 by 8; a bit says of each cell whether it is darker than the next to its right (word 0) or
    below it (word 1; the last cell's next is the first) by more than 2 of 255, so that flat parts do not flicker.
    """
    n = len(smalls)
    if not n:
        return np.zeros((0, 2), np.uint64)
    cells = smalls.reshape(n, 8, 2, 8, 2).mean(axis=(2, 4), dtype=np.float32)
    right = np.roll(cells, -1, axis=2) - cells > _FLAT
    below = np.roll(cells, -1, axis=1) - cells > _FLAT
    bits = np.packbits(np.stack([right, below], axis=1).reshape(n, 2, 64), axis=2)
    return np.ascontiguousarray(bits).view(">u8").astype(np.uint64).reshape(n, 2)


def _opened(data: bytes, where: str) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=tuple(_TYPES))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError("not an image", where=where, wanted=", ".join(_TYPES), got=str(error)[:120]) from None
    try:
        images.bounded(data, image.width, image.height)
    except (RequestError, TooLargeError) as error:
        image.close()
        raise UserError(error.message, where=where, wanted=error.wanted, got=error.got) from None
    return image

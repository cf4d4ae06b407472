"""Encoded images made safe: bounded by their header before anything is decoded, and decoded by Pillow.

The one place that says what image of a stranger's is taken: served models, the labelling service and imports ask here.

Exported models decode by the op `DecodeImage` of onnxruntime-extensions. Its JPEG decoder waits for ever on a cut file
and ends the process on a broken header, so no bytes of a stranger's reach it: an image is decoded here, turned as its
EXIF orientation says, as a browser shows it to annotators, and handed on as a PNG of the same pixels, which the op
decodes to exactly these.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.errors import RequestError, TooLargeError

MAX_BYTES = 16 << 20
"""Bytes of an encoded image."""

MAX_PIXELS = 32 << 20
"""Pixels of an image: 96 MiB once decoded."""

MAX_SIDE = 16_384

MAX_SCANS = 64
"""Scans of a progressive JPEG: each goes over all pixels, so that many in a small file keep a processor busy."""

MAX_SEGMENTS, MAX_CHUNKS = 1_000, 65_536
"""Segments of a JPEG before its scans, and chunks of a PNG: a decoder goes over them one by one."""

TYPES = ("image/png", "image/jpeg")

_MARKER = re.compile(rb"\xff+([^\xff])", re.DOTALL)


_TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE"}
_TURNS[8] = "ROTATE_90"
"""What makes an image upright, by its EXIF orientation, as Pillow names it."""


class Header(NamedTuple):
    """What the header of an image says: media type, and pixels a side of the image as it is shown, upright."""

    type: str
    width: int
    height: int


def header(data: bytes) -> Header | None:
    """What the first bytes say, without bounds; None where it is neither a PNG nor a JPEG. Raises `RequestError` where
    the header is broken."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        if len(data) < 33 or data[12:16] != b"IHDR":
            raise _broken("a PNG without a header", data[:33].hex())
        _ends(data)
        found = Header("image/png", *struct.unpack_from(">II", data, 16))
    elif data[:3] == b"\xff\xd8\xff":
        found = Header("image/jpeg", *_jpeg_size(data))
    else:
        return None
    return found if orientation(data) < 5 else Header(found.type, found.height, found.width)


def orientation(data: bytes) -> int:
    """How an image is turned before it is shown: 1 (not at all) to 8, of EXIF 2.32, tag 0x0112.

    It is what Chromium heeds, so that a box drawn on a page lies where a model is taught it: the first EXIF segment
    of a JPEG before its scans, the `eXIf` chunk of a PNG before its pixels, and in them a SHORT alone. XMP counts for
    nothing, as does what other formats say.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        for kind, content in _chunks(data):
            if kind == b"IDAT":
                return 1
            if kind == b"eXIf":
                return _tiff_orientation(content)
    elif data[:3] == b"\xff\xd8\xff":
        for marker, content in _segments(data):
            if marker == 0xE1 and content[:5] == b"Exif\0":
                return _tiff_orientation(content[6:])
    return 1


def turned(image: Any, how: int) -> Any:
    """A Pillow image made upright."""
    from PIL import Image

    return image if how == 1 else image.transpose(Image.Transpose[_TURNS[how]])


def _tiff_orientation(tiff: bytes) -> int:
    """Of the first directory of a TIFF header (TIFF 6.0, section 2)."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    at = struct.unpack_from(order + "I", tiff, 4)[0]
    if at + 2 > len(tiff):
        return 1
    for i in range(struct.unpack_from(order + "H", tiff, at)[0]):
        entry = at + 2 + 12 * i
        if entry + 12 > len(tiff):
            return 1
        tag, kind, count, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == 0x0112:
            return value if kind == 3 and count == 1 and value in _TURNS else 1
    return 1


def size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height by the header alone, upright.

    Raises `RequestError` where it is neither a PNG nor a JPEG, or its header is broken, and `TooLargeError` where the
    image is larger than the bounds.
    """
    _light(data)
    found = header(data)
    if found is None:
        raise _broken("not an image", data[:8].hex() or "nothing")
    bounded(data, found.width, found.height, max_pixels=max_pixels)
    return found.width, found.height


def bounded(data: bytes, width: int, height: int, *, max_pixels: int = MAX_PIXELS) -> None:
    """Raises `TooLargeError` where an image whose header says so many pixels is above the bounds, `RequestError` where
    it has none."""
    _light(data)
    if not width or not height:
        raise _broken("an image without pixels", f"{width} x {height}")
    if width > MAX_SIDE or height > MAX_SIDE or width * height > max_pixels:
        raise TooLargeError(
            "image too large",
            wanted=f"at most {max_pixels} pixels, {MAX_SIDE} a side",
            got=f"{width} x {height}",
            field="image",
        )
    if data[:3] == b"\xff\xd8\xff" and (scans := data.count(b"\xff\xda")) > MAX_SCANS:
        raise TooLargeError("too many scans in a JPEG", wanted=f"at most {MAX_SCANS}", got=str(scans))


def _light(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise TooLargeError("image file too large", wanted=f"at most {MAX_BYTES} bytes", got=f"{len(data)} bytes")


def pixels(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The pixels [height, width, 3], uint8, in the order blue, green, red (that of `DecodeImage`), upright.

    Grey and palettes become colours, transparency is dropped, 16 bits become 8. Raises as `size` does, and
    `RequestError` where the rest of the file is broken or cut.
    """
    return np.ascontiguousarray(np.asarray(_decoded(data, max_pixels))[:, :, ::-1])


def whole(data: bytes) -> Header:
    """What an image says of itself that holds all it promises, and one image. More is asked than of what is only to be
    answered: an upload is kept, and learned from later. Raises as `pixels` does."""
    size(data)
    found = header(data)
    assert found is not None
    if found.type == "image/png" and not _ends(data):
        raise _broken("the image cannot be decoded", "a PNG that is cut short")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = _opened(data)
        stored = (found.width, found.height) if orientation(data) < 5 else (found.height, found.width)
        if image.size != stored or getattr(image, "n_frames", 1) != 1:
            raise _broken("not one image", f"{image.size}")
        _loaded(image)
    return found


def png(data: bytes, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """A PNG of the same pixels, written here. Raises as `pixels` does."""
    out = BytesIO()
    _decoded(data, max_pixels).save(out, "PNG", compress_level=0)
    return out.getvalue()


def encoded(values: NDArray[np.uint8]) -> bytes:
    """A PNG of grey [height, width] or red, green, blue [height, width, 3] pixels, uint8."""
    from PIL import Image

    out = BytesIO()
    Image.fromarray(values).save(out, "PNG")
    return out.getvalue()


def _decoded(data: bytes, max_pixels: int) -> Any:
    from PIL import Image

    size(data, max_pixels=max_pixels)
    image = _opened(data)
    if image.width * image.height > max_pixels:
        raise TooLargeError("image too large", wanted=f"at most {max_pixels} pixels", field="image")
    image = turned(_loaded(image), orientation(data))
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    return _attempted(lambda: image.convert("RGB"))


def _opened(data: bytes) -> Any:
    from PIL import Image

    return _attempted(lambda: Image.open(BytesIO(data), formats=("PNG", "JPEG")))


def _loaded(image: Any) -> Any:
    _attempted(image.load)
    return image


def _attempted(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except (RequestError, MemoryError):
        raise
    except Exception as error:
        # Pillow's errors on broken files share no base class: OSError, SyntaxError, ValueError, struct.error and more.
        raise _broken("the image cannot be decoded", f"{type(error).__name__}: {error}") from None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each whole chunk of a PNG. Raises `RequestError` where there are too many."""
    at = 8
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        yield kind, data[at + 8 : at + 8 + length] if kind == b"eXIf" else b""
        at += 12 + length
    raise _broken("a PNG of too many chunks", f"more than {MAX_CHUNKS}")


def _ends(data: bytes) -> bool:
    """Whether a PNG has all its chunks, to the last. A decoder is content with less. Raises as `_chunks`."""
    return any(kind == b"IEND" for kind, _ in _chunks(data))


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment of a JPEG before its scans (ITU T.81, B.1). Raises `RequestError` where there
    are too many."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        here = _MARKER.match(data, at)
        if here is None or here.end() + 2 > len(data):
            return
        marker, at = here[1][0], here.end()
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        length = struct.unpack_from(">H", data, at)[0]
        if marker in (0xD9, 0xDA) or length < 2:
            return
        yield marker, data[at + 2 : at + length]
        at += length
    raise _broken("a JPEG of too many segments", f"more than {MAX_SEGMENTS}")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """As stored, from the frame header (ITU T.81, B.2.2). Goes to where the scans begin: a decoder would, too."""
    found = None
    for marker, content in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if found is not None or len(content) < 5:
                raise _broken("a JPEG of more than one frame, or of none", "no one size in its header")
            found = struct.unpack_from(">HH", content, 1)
    if found is None:
        raise _broken("a JPEG without a frame", "no size in its header")
    height, width = found
    return width, height


def _broken(what: str, got: str) -> RequestError:
    return RequestError(what, wanted=f"one of {', '.join(TYPES)}", got=got[:120], field="image")

"""Encoded images made safe: bounded by their header before anything is decoded, and decoded by Pillow.

Exported models decode by the op `DecodeImage` of onnxruntime-extensions. Its JPEG decoder waits for ever on a cut file
and ends the process on a broken header, so no bytes of a stranger's reach it: an image is decoded here, turned as its
EXIF orientation says, as a browser shows it to annotators, and handed on as a PNG of the same pixels, which the op
decodes to exactly these.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

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

TYPES = ("image/png", "image/jpeg")


def size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height by the header alone, before any orientation is applied.

    Raises `RequestError` where it is neither a PNG nor a JPEG, or its header is broken, and `TooLargeError` where the
    image is larger than the bounds.
    """
    if len(data) > MAX_BYTES:
        raise TooLargeError("image file too large", wanted=f"at most {MAX_BYTES} bytes", got=f"{len(data)} bytes")
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
    elif data[:3] == b"\xff\xd8\xff":
        width, height = _jpeg_size(data)
        if (scans := data.count(b"\xff\xda")) > MAX_SCANS:
            raise TooLargeError("too many scans in a JPEG", wanted=f"at most {MAX_SCANS}", got=str(scans))
    else:
        raise _broken("not an image", data[:8].hex() or "nothing")
    if not width or not height:
        raise _broken("an image without pixels", f"{width} x {height}")
    if width > MAX_SIDE or height > MAX_SIDE or width * height > max_pixels:
        raise TooLargeError(
            "image too large",
            wanted=f"at most {max_pixels} pixels, {MAX_SIDE} a side",
            got=f"{width} x {height}",
            field="image",
        )
    return width, height


def pixels(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The pixels [height, width, 3], uint8, in the order blue, green, red (that of `DecodeImage`), upright.

    Grey and palettes become colours, transparency is dropped, 16 bits become 8. Raises as `size` does, and
    `RequestError` where the rest of the file is broken or cut.
    """
    return np.ascontiguousarray(np.asarray(_decoded(data, max_pixels))[:, :, ::-1])


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
    from PIL import Image, ImageOps

    size(data, max_pixels=max_pixels)
    try:
        image: Any = Image.open(BytesIO(data), formats=("PNG", "JPEG"))
        if image.width * image.height > max_pixels:
            raise TooLargeError("image too large", wanted=f"at most {max_pixels} pixels", field="image")
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
        return image.convert("RGB")
    except (TooLargeError, MemoryError):
        raise
    except Exception as error:
        # Pillow's errors on broken files share no base class: OSError, SyntaxError, ValueError, struct.error and more.
        raise _broken("the image is broken", f"{type(error).__name__}: {error}") from None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """From the first frame header (ITU T.81, B.2.2)."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker in (0xD9, 0xDA):
            break
        at += 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])
    raise _broken("a JPEG without a frame", "no size in its header")


def _broken(what: str, got: str) -> RequestError:
    return RequestError(what, wanted=f"one of {', '.join(TYPES)}", got=got[:120], field="image")

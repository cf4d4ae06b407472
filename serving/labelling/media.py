"""Bytes from strangers: what they are by their own first bytes, how large they may be, and how they are handed out.

A type is never taken from a name or a request. An image's size is read from its header and bounded before anything is
decoded; then it is decoded once, so that what is damaged is refused at the door and not in a training run.
"""

from __future__ import annotations

import io
import struct
import warnings
from typing import NamedTuple

from tidemill.errors import RequestError, TooLargeError

MAX_BYTES = 16 << 20
MAX_PIXELS = 40_000_000
MAX_SIDE = 20_000
"""An image of 40 million pixels takes 120 MB decoded."""

SHOWN = {"image/png", "image/jpeg", "audio/wav", "audio/flac", "audio/ogg", "audio/mpeg"}
"""What is handed out as what it is; anything else only as bytes to be saved."""

POLICY = b"default-src 'none'; sandbox"


class Kind(NamedTuple):
    """What some bytes are: a media type, and an image's width and height in pixels (0: no image)."""

    type: str
    width: int = 0
    height: int = 0


def kind_of(data: bytes) -> Kind | None:
    """What the bytes are, by their first ones; None for what is none of the types that are taken. Decodes nothing.
    Raises `RequestError` for an image whose header makes no sense."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        if len(data) < 33 or data[12:16] != b"IHDR":
            raise RequestError("a damaged PNG", wanted="a header")
        return Kind("image/png", *struct.unpack(">II", data[16:24]))
    if data.startswith(b"\xff\xd8\xff"):
        return Kind("image/jpeg", *_jpeg_size(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return Kind("audio/wav")
    if data.startswith(b"fLaC"):
        return Kind("audio/flac")
    if data.startswith(b"OggS"):
        return Kind("audio/ogg")
    if data.startswith(b"ID3") or (len(data) > 2 and data[0] == 0xFF and data[1] & 0xE6 in (0xE2, 0xE6)):
        return Kind("audio/mpeg")
    return None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height, from the frame's header (ITU T.81, B.2.2)."""
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
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        if length < 2 or marker == 0xDA:
            break
        at += 2 + length
    raise RequestError("a damaged JPEG", wanted="a frame header")


def checked(data: bytes, medium: str, field: str) -> Kind:
    """What the bytes are, where a project of this medium takes them. Raises `TooLargeError` above the limits,
    `RequestError` for another type, or an image that cannot be decoded."""
    if len(data) > MAX_BYTES:
        raise TooLargeError("too large", where=field, wanted=f"at most {MAX_BYTES} bytes", got=f"{len(data)}")
    try:
        kind = kind_of(data)
    except RequestError as error:
        error.field = field
        raise
    if kind is None or not kind.type.startswith(f"{medium}/"):
        takes = sorted(t for t in SHOWN if t.startswith(f"{medium}/"))
        got = kind.type if kind else f"bytes that begin {data[:8]!r}"
        raise RequestError("not a type that is taken", wanted=", ".join(takes) or "no bytes", got=got, field=field)
    if medium == "image":
        if not (0 < kind.width <= MAX_SIDE and 0 < kind.height <= MAX_SIDE and kind.width * kind.height <= MAX_PIXELS):
            wanted = f"at most {MAX_PIXELS} pixels, and {MAX_SIDE} a side"
            raise RequestError("too many pixels", wanted=wanted, got=f"{kind.width} x {kind.height}", field=field)
        _decode(data, kind, field)
    return kind


def _ends(data: bytes) -> bool:
    """Whether a PNG has all its chunks, to the last. A decoder is content with less."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        at += 12 + length
        if kind == b"IEND":
            return bool(at <= len(data))
    return False


def _decode(data: bytes, kind: Kind, field: str) -> None:
    from PIL import Image, ImageFile, UnidentifiedImageError

    if kind.type == "image/png" and not _ends(data):
        raise RequestError("the image cannot be decoded", got="a PNG that is cut short", field=field)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # Only the decoder of the type that it is: no other is ever reached by such bytes.
            with Image.open(io.BytesIO(data), formats=[kind.type.removeprefix("image/").upper()]) as image:
                if image.size != (kind.width, kind.height) or getattr(image, "n_frames", 1) != 1:
                    raise RequestError("not one image", got=f"{image.size}", field=field)
                assert not ImageFile.LOAD_TRUNCATED_IMAGES
                image.load()
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError, Warning) as error:
        raise RequestError("the image cannot be decoded", got=ascii(str(error))[:200], field=field) from None


def headers(data: bytes) -> list[tuple[bytes, bytes]]:
    """The headers under which bytes are handed out: as what they are, where that is a type that runs nothing; else as
    a file to be saved. What an event says they are counts for nothing."""
    try:
        kind = kind_of(data)
    except RequestError:
        kind = None
    shown = kind is not None and kind.type in SHOWN
    made = [
        (b"content-type", (kind.type if kind is not None and shown else "application/octet-stream").encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", POLICY),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cache-control", b"private, max-age=86400, immutable"),
    ]
    return made if shown else [*made, (b"content-disposition", b"attachment")]

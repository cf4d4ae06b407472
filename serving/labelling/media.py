"""Bytes from strangers: what they are by their own first bytes, how large they may be, and how they are handed out.

A type is never taken from a name or a request. What images are taken `connectors.images` says: an image's size is read
from its header and bounded before anything is decoded; then it is decoded once, so that what is damaged is refused at
the door and not in a training run. What is a sound `connectors.sounds` says. It is not decoded here: one that is longer
than models take can be labelled all the same.
"""

from __future__ import annotations

from typing import NamedTuple

from connectors import images, sounds
from connectors.images import MAX_BYTES
from tidemill.errors import RequestError, TooLargeError

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
    image = images.header(data)
    if image is not None:
        return Kind(*image)
    sound = sounds.kind(data)
    return Kind(sound) if sound is not None else None


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
        try:
            images.whole(data)
        except (RequestError, TooLargeError) as error:
            error.field = field
            raise
    return kind


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

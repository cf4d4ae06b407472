"""The frames of an MP3, walked by their headers: a file that is whole, and says how long it is.

A decoder guesses the length of an MP3 that does not say it from the bit rate of its first frame, and is wrong where the
rate varies. So the frames are counted, and where no first frame says how many there are, one is written that does.
Source: ISO/IEC 11172-3, 2.4.2.3, and 13818-3 for the lower rates; Xing's header as LAME documents it.
"""

from __future__ import annotations

from typing import NamedTuple

from tidemill.errors import RequestError, TooLargeError

_KBITS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI", b"\0\0\0\0")
"""What may stand behind the last frame."""


MAX_FRAMES = 1 << 15
"""Frames that are walked: more than the samples that are decoded at most (`connectors.sounds`) can be in."""


class Frame(NamedTuple):
    """What the header of a frame says: its bytes, its rate in Hz, and where in it Xing's header would stand."""

    bytes: int
    rate: int
    inner: int


def header(data: bytes, at: int) -> Frame | None:
    """None where no frame of layer III with a known bit rate begins."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:
        return None
    version, bits, rate = data[at + 1] >> 3 & 3, data[at + 2] >> 4, data[at + 2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return None
    first, mono = version == 3, data[at + 3] >> 6 == 3
    hertz = _RATES[version][rate]
    size = (144 if first else 72) * _KBITS[first][bits] * 1000 // hertz + (data[at + 2] >> 1 & 1)
    return Frame(size, hertz, 4 + ((17 if mono else 32) if first else (9 if mono else 17)))


def whole(data: bytes, at: int = 0) -> bytes:
    """The frames from `at` on alone, without tags, the first of which says how many follow.

    Raises `RequestError` where the file is cut short, or holds what is no frame, `TooLargeError` where it is too long.
    """
    first, begin, count = header(data, at), at, 0
    if first is None:
        raise _broken("no frame of layer III with a known bit rate")
    while (frame := header(data, at)) is not None:
        if frame.rate != first.rate:
            raise _broken(f"frames of {first.rate} and of {frame.rate} Hz")
        at, count = at + frame.bytes, count + 1
        if count > MAX_FRAMES:
            raise TooLargeError("sound too long", wanted=f"at most {MAX_FRAMES} frames of an MP3", field="audio")
    if at > len(data):
        raise _broken("a file cut short within its last frame")
    if at < len(data) and not data.startswith(_TAGS, at):
        raise _broken(f"bytes that are no frame, at {at}")
    inside = begin + first.inner
    if data[inside : inside + 4] in (b"Xing", b"Info"):
        if data[inside + 7] & 1:
            said = int.from_bytes(data[inside + 8 : inside + 12], "big")
            if said > count:  # some encoders count the first, which holds no sound
                raise _broken(f"a file cut short: {count - 1} frames of {said}")
            return data[begin:at]
        begin, count = begin + first.bytes, count - 1
    return _counting(data[begin:at], count)


def _counting(frames: bytes, count: int) -> bytes:
    """The same frames behind one that says how many they are."""
    first = header(frames, 0)
    if first is None:
        raise _broken("no frames with sound")
    head = bytearray(frames[:4])
    head[1] |= 1  # no checksum
    head[2] = (head[2] & 0x0F) | 0x90  # 80 or 128 kbit/s: at the least 208 bytes, which hold it
    made = header(bytes(head), 0)
    assert made is not None
    said = b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
    return (bytes(head) + bytes(first.inner - 4) + said).ljust(made.bytes, b"\0") + frames


def _broken(got: str) -> RequestError:
    return RequestError("not an MP3 that is taken", wanted="frames of MPEG layer III, whole", got=got, field="audio")

"""Encoded sounds made safe: bounded by what they say of themselves before much is decoded, and written anew as a WAV of
16 bits and one channel.

The one place that says what sound of a stranger's is taken: training, served models and the labelling service ask here.
WAV of PCM is read by the standard library; FLAC, Ogg (Vorbis, Opus) and MP3 are decoded by libsndfile, which is given
nothing that does not begin as one of these. Models are given the WAV, whose samples an exported one resamples inside.
"""

from __future__ import annotations

import wave
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors import mp3
from tidemill.errors import RequestError, TooLargeError

MAX_BYTES = 16 << 20
"""Bytes of a file: three minutes of 44.1 kHz and two channels are 15 MiB of WAV."""

MAX_SAMPLES = 16 << 20
"""Samples of all channels: as many as a WAV of so many bytes can hold, 190 s of 44.1 kHz and two channels."""

MAX_CHANNELS = 16

TYPES = {
    "audio/wav": "WAV of PCM", "audio/x-wav": "WAV of PCM", "audio/wave": "WAV of PCM", "audio/vnd.wave": "WAV of PCM",
    "audio/flac": "FLAC", "audio/x-flac": "FLAC",
    "audio/ogg": "Ogg", "audio/vorbis": "Ogg", "audio/opus": "Ogg",
    "audio/mpeg": "MP3", "audio/mp3": "MP3",
}  # fmt: skip
"""Media types that are decoded, and what they are called."""

_DECODED = {"audio/flac": "FLAC", "audio/ogg": "OGG", "audio/mpeg": "MP3"}
"""What libsndfile has to say that it found."""

_EXACT = ("PCM_S8", "PCM_16", "PCM_24")
_SUBTYPES = (*_EXACT, "VORBIS", "OPUS", "MPEG_LAYER_III")
_UNKNOWN = 1 << 62
"""From this many on libsndfile does not know: it says the greatest number that there is."""
_BLOCK = 1 << 16


def kind(data: bytes) -> str | None:
    """The media type by the first bytes, behind tags of ID3; None where it is no sound that is taken."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "audio/wav"
    if data[:4] == b"OggS":
        return "audio/ogg"
    at = _behind_tags(data)
    if data[at : at + 4] == b"fLaC":
        return "audio/flac"
    if len(data) > at + 2 and data[at] == 0xFF and data[at + 1] & 0xE6 == 0xE2:
        return "audio/mpeg"
    return None


def length(data: bytes) -> int:
    """Samples of all channels that a file says it has. Decodes nothing but headers. Raises as `samples` does."""
    _light(data)
    if kind(data) == "audio/wav":
        with _wave(data) as file:
            return min(int(file.getnframes() * file.getnchannels()), len(data))
    with _opened(data) as file:
        return int(file.frames * file.channels)


def samples(data: bytes) -> tuple[NDArray[np.int16], int]:
    """The samples, channels averaged, as int16, and their rate in Hz.

    Of WAV and FLAC they are those of the file, the two highest bytes of each: equal for a sound kept as either. Of Ogg
    and MP3 they are what the decoder gives between −1 and 1, times 32,768, rounded to the nearest and cut to 16 bits.
    Raises `TooLargeError`, and `RequestError` where it is none of these, broken, or, but for a WAV, cut short.
    """
    _light(data)
    return _of_wave(data) if kind(data) == "audio/wav" else _decoded(data)


def wav(data: bytes) -> bytes:
    """The same sounds as a WAV of 16 bits and one channel, written here. Raises as `samples` does."""
    return encoded(*samples(data))


def encoded(values: NDArray[np.int16], rate: int) -> bytes:
    """A WAV of int16 samples [n] of one channel."""
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(values.astype("<i2").tobytes())
    return out.getvalue()


def _of_wave(data: bytes) -> tuple[NDArray[np.int16], int]:
    with _wave(data) as file:
        channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
        try:
            raw = file.readframes(min(file.getnframes(), len(data)))
        except Exception as error:
            raise _broken(f"{type(error).__name__}: {error}") from None
    _fit(channels, rate)
    raw = raw[: len(raw) - len(raw) % (width * channels)]
    if not raw:
        raise _broken("no samples")
    if width == 1:
        values = (np.frombuffer(raw, np.uint8).astype(np.int32) - 128) << 8
    elif width == 2:
        values = np.frombuffer(raw, "<i2").astype(np.int32)
    else:
        # The two highest bytes of each sample.
        values = np.frombuffer(raw, np.uint8).reshape(-1, width)[:, -2:].copy().view("<i2")[:, 0].astype(np.int32)
    return _mono(values.reshape(-1, channels)), rate


def _wave(data: bytes) -> wave.Wave_read:
    try:
        return wave.open(BytesIO(data), "rb")
    except Exception as error:
        # The standard library raises Error, EOFError, struct.error and more on broken files.
        raise _broken(f"{type(error).__name__}: {error}") from None


def _decoded(data: bytes) -> tuple[NDArray[np.int16], int]:
    import soundfile

    with _opened(data) as file:
        frames, rate, exact = int(file.frames), int(file.samplerate), file.subtype in _EXACT
        try:
            # All at once: between two reads the decoder would be made to seek, which not all do to the sample.
            values = file.read(frames, dtype="int16" if exact else "float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise _broken(getattr(error, "error_string", "") or str(error)) from None
        if len(values) < frames and file.format != "MP3":  # whose frames were counted
            raise _broken(f"a file cut short: {len(values)} samples of the {frames} that it says it has")
    if not len(values):
        raise _broken("no samples")
    blocks = (values[at : at + _BLOCK] for at in range(0, len(values), _BLOCK))
    return np.concatenate([_mono(block.astype(np.int32) if exact else _rounded(block)) for block in blocks]), rate


def _rounded(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """To 16 bits here: libsndfile's own integers wrap around where a decoder reaches beyond 1."""
    rounded: NDArray[np.int32] = (
        np.rint(np.nan_to_num(values) * np.float32(32_768)).clip(-32_768, 32_767).astype(np.int32)
    )
    return rounded


def _opened(data: bytes) -> Any:
    """A `soundfile.SoundFile` of what is within the bounds by its header."""
    import soundfile

    found = kind(data)
    if found not in _DECODED:
        raise _broken(f"bytes that begin {data[:8]!r}")
    if found == "audio/ogg" and not _ends(data):
        raise _broken("an Ogg file cut short: its last page is not marked as the end")
    # Tags are left out: what libsndfile finds behind them it would take for any of its formats.
    at = _behind_tags(data)
    try:
        file = soundfile.SoundFile(BytesIO(mp3.whole(data, at) if found == "audio/mpeg" else data[at:]))
    except soundfile.SoundFileError as error:
        raise _broken(getattr(error, "error_string", "") or str(error)) from None
    try:
        if file.format != _DECODED[found] or file.subtype not in _SUBTYPES:
            raise _broken(f"{file.format} of {file.subtype}")
        _fit(file.channels, file.samplerate)
        if not file.frames:
            raise _broken("no samples")
        if file.frames >= _UNKNOWN:
            raise _broken("a file that does not say how long it is")
        if file.frames * file.channels > MAX_SAMPLES:
            raise TooLargeError(
                "sound too long",
                wanted=f"at most {MAX_SAMPLES} samples of all channels",
                got=f"{file.frames} of {file.channels} channels at {file.samplerate} Hz",
                field="audio",
            )
    except Exception:
        file.close()
        raise
    return file


def _behind_tags(data: bytes) -> int:
    """Where the tags end that the file begins with (ID3v2.4, section 3.1: a size of seven bits a byte)."""
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        a, b, c, d = data[at + 6 : at + 10]
        at += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if data[at + 5] & 0x10 else 0)
    if at:  # padding that a tag does not count as its own
        at += len(data) - at - len(data[at:].lstrip(b"\0"))
    return at


def _ends(data: bytes) -> bool:
    """Whether the last page of an Ogg file is whole, and marked as its stream's last (RFC 3533, section 6)."""
    at = data.rfind(b"OggS")
    if len(data) < at + 27 or not data[at + 5] & 4:
        return False
    table = data[at + 27 : at + 27 + data[at + 26]]
    return len(data) >= at + 27 + data[at + 26] + sum(table)


def _mono(values: NDArray[np.int32]) -> NDArray[np.int16]:
    """The mean of channels [n, channels], rounded down."""
    mono: NDArray[np.int16] = (values.sum(axis=1) // values.shape[1]).astype(np.int16)
    return mono


def _light(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise TooLargeError(
            "audio file too large", wanted=f"at most {MAX_BYTES} bytes", got=f"{len(data)} bytes", field="audio"
        )


def _fit(channels: int, rate: int) -> None:
    if not 1_000 <= rate <= 384_000 or not 1 <= channels <= MAX_CHANNELS:
        raise _broken(f"{channels} channels at {rate} Hz")


def _broken(got: str) -> RequestError:
    return RequestError(
        "not a sound that is taken",
        wanted=f"WAV of PCM with 8 to 32 bits, FLAC, Ogg (Vorbis, Opus) or MP3, whole; at most {MAX_CHANNELS} channels",
        got=got[:120],
        field="audio",
    )

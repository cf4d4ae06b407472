"""Encoded sounds made safe: WAV files of PCM, bounded, and written anew as 16 bits of one channel."""

from __future__ import annotations

import wave
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from tidemill.errors import RequestError, TooLargeError

MAX_BYTES = 16 << 20
"""Bytes of a file: three minutes of 44.1 kHz and two channels are 15 MiB."""

TYPES = ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")


def samples(data: bytes) -> tuple[NDArray[np.int16], int]:
    """The samples, channels averaged, as int16, and their rate in Hz.

    Raises `TooLargeError`, and `RequestError` where it is no WAV of PCM with 8, 16, 24 or 32 bits.
    """
    if len(data) > MAX_BYTES:
        raise TooLargeError("audio file too large", wanted=f"at most {MAX_BYTES} bytes", got=f"{len(data)} bytes")
    try:
        with wave.open(BytesIO(data), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            raw = file.readframes(min(file.getnframes(), len(data)))
    except Exception as error:
        # The standard library raises Error, EOFError, struct.error and more on broken files.
        raise _broken(f"{type(error).__name__}: {error}") from None
    if not 1_000 <= rate <= 384_000 or not 1 <= channels <= 16:
        raise _broken(f"{channels} channels at {rate} Hz")
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
    mono = values.reshape(-1, channels).sum(axis=1) // channels
    return mono.astype(np.int16), rate


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


def _broken(got: str) -> RequestError:
    return RequestError("not a WAV of PCM", wanted="RIFF WAVE, 8 to 32 bits", got=got[:120], field="audio")

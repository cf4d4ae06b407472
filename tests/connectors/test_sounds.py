"""Sounds of strangers: WAV of PCM, any width and channels, made 16 bits of one channel."""

from __future__ import annotations

import wave
from io import BytesIO

import numpy as np
import pytest

from connectors import sounds
from tidemill.errors import RequestError, TooLargeError

TONE = (np.sin(np.arange(400) / 7) * 20_000).astype(np.int16)


def wav_of(raw: bytes, width: int, channels: int = 1, rate: int = 8_000) -> bytes:
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    return out.getvalue()


def test_what_is_written_is_read():
    values, rate = sounds.samples(sounds.encoded(TONE, 8_000))
    assert rate == 8_000 and (values == TONE).all()
    assert sounds.wav(sounds.encoded(TONE, 8_000)) == sounds.encoded(TONE, 8_000)


def test_every_width_is_read():
    wide = (TONE.astype("<i4") << 16).tobytes()
    assert (sounds.samples(wav_of(wide, 4))[0] == TONE).all()
    three = np.frombuffer(wide, np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    assert (sounds.samples(wav_of(three, 3))[0] == TONE).all()
    low = ((TONE >> 8) + 128).astype(np.uint8)
    assert (sounds.samples(wav_of(low.tobytes(), 1))[0] == (TONE >> 8) << 8).all()


def test_channels_are_averaged():
    both = np.stack([TONE, np.zeros_like(TONE)], 1)
    assert (sounds.samples(wav_of(both.tobytes(), 2, 2))[0] == TONE.astype(int) // 2).all()


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF\x00\x00\x00\x00WAVE", b"OggS" + bytes(100), bytes(1000)])
def test_what_is_no_wav_is_refused(data):
    with pytest.raises(RequestError):
        sounds.samples(data)


def test_cut_and_changed_files_are_refused_or_read():
    rng, whole = np.random.default_rng(2), sounds.encoded(TONE, 8_000)
    refused = 0
    for at in range(44):
        changed = whole[:at] + bytes(rng.integers(0, 256, 4, dtype=np.uint8)) + whole[at + 4 :]
        for data in (whole[:at], changed):
            try:
                assert len(sounds.samples(data)[0])
            except RequestError:
                refused += 1
    assert refused > 44


def test_rates_and_sizes_that_cannot_be_are_refused():
    with pytest.raises(RequestError):
        sounds.samples(wav_of(TONE.tobytes(), 2, rate=10))
    with pytest.raises(TooLargeError):
        sounds.samples(bytes(sounds.MAX_BYTES + 1))

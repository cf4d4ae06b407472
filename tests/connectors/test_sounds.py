"""Sounds of strangers: WAV of PCM, FLAC, Ogg and MP3, any width and channels, made 16 bits of one channel."""

from __future__ import annotations

import wave
from io import BytesIO

import numpy as np
import pytest
import soundfile

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


LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
COMPRESSED = [("FLAC", "PCM_16"), *LOSSY]


def compressed(values: np.ndarray, format: str, subtype: str, rate: int = 8_000, **options) -> bytes:
    """Written in parts, for libsndfile's encoder of Vorbis breaks on a long one, and of MP3 in floats: of integers it
    muddles two channels."""
    if format == "MP3":
        values = values.astype(np.float32) / 32_768
    out, values = BytesIO(), values.reshape(len(values), -1)
    with soundfile.SoundFile(out, "w", rate, values.shape[1], format=format, subtype=subtype, **options) as file:
        for at in range(0, len(values), 4_096):
            file.write(values[at : at + 4_096])
    return out.getvalue()


def song(n: int = 16_000) -> np.ndarray:
    """Low noise, which has one place only where it fits itself."""
    return np.convolve(np.random.default_rng(3).normal(0, 9_000, n), np.ones(8) / 8, "same").astype(np.int16)


def claiming(flac: bytes, samples: int) -> bytes:
    """A FLAC that says it has so many samples (RFC 9639, section 8.2: the lowest 36 bits at 18)."""
    said = int.from_bytes(flac[18:26], "big") >> 36 << 36 | samples
    return flac[:18] + said.to_bytes(8, "big") + flac[26:]


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


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"RIFF\x00\x00\x00\x00WAVE", b"OggS" + bytes(100), bytes(1000),
             b"fLaC" + bytes(100), b"\xff\xfb" + bytes(100), b"ID3\4\0\0\0\0\0\x0a" + bytes(100), b"FORM\0\0\0\0AIFF"]
)  # fmt: skip
def test_what_is_no_sound_is_refused(data):
    for read in (sounds.samples, sounds.length):
        with pytest.raises(RequestError, match="taken"):
            read(data)


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


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_a_flac_is_the_wav_that_it_was_made_of(subtype):
    both = np.stack([song(), song()[::-1]], 1)
    wide = both.astype("<i4") << 16
    width = {"PCM_S8": 1, "PCM_16": 2, "PCM_24": 3}[subtype]
    raw = np.frombuffer(wide.tobytes(), np.uint8).reshape(-1, 4)[:, 4 - width :].tobytes()
    if width == 1:  # which WAV keeps without a sign
        raw = (np.frombuffer(raw, np.int8).astype(np.int16) + 128).astype(np.uint8).tobytes()
    flac = compressed(wide, "FLAC", subtype)
    assert sounds.kind(flac) == "audio/flac" and sounds.length(flac) == 2 * len(both)
    assert sounds.wav(flac) == sounds.wav(wav_of(raw, width, 2))


@pytest.mark.parametrize(("format", "subtype"), LOSSY)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_lossy_sound_is_as_long_as_it_was_and_sounds_alike(format, subtype, channels):
    values = song(6_000)
    data = compressed(np.stack([values] * channels, 1), format, subtype, 16_000)
    found, rate = sounds.samples(data)
    assert rate == 16_000 and len(found) == len(values) and sounds.length(data) == channels * len(values)
    likeness = np.correlate(found.astype(float), values.astype(float), "full")
    assert likeness.argmax() == len(values) - 1  # nothing comes earlier or later
    assert likeness.max() > 0.9 * np.linalg.norm(found.astype(float)) * np.linalg.norm(values.astype(float))
    assert sounds.wav(data) == sounds.wav(data)


def test_what_reaches_beyond_16_bits_is_cut_and_does_not_wrap_around():
    loud = np.where(np.arange(8_000) // 50 % 2, 32_767, -32_768).astype(np.int16)
    for format, subtype in LOSSY:
        found = sounds.samples(compressed(loud, format, subtype, 16_000))[0]
        middles = found[25::50][10:-10].astype(int)
        assert (np.sign(middles) == np.sign(loud[25::50][10:-10])).all() and abs(middles).max() > 30_000


@pytest.mark.parametrize(("format", "subtype"), COMPRESSED)
def test_what_is_cut_short_is_refused(format, subtype):
    data = compressed(song(), format, subtype)
    assert len(sounds.samples(data)[0]) == 16_000
    for share in (0.02, 0.3, 0.6, 0.97):
        with pytest.raises(RequestError, match="taken"):
            sounds.samples(data[: int(len(data) * share)])


@pytest.mark.parametrize("hours", [1, 5, 2_000])
def test_a_flac_that_says_it_is_hours_long_is_not_decoded(hours, monkeypatch):
    bomb = claiming(compressed(song(), "FLAC", "PCM_16"), hours * 3_600 * 8_000)
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    for read in (sounds.samples, sounds.length):
        with pytest.raises(TooLargeError, match="too long"):
            read(bomb)


def test_a_flac_whose_length_is_a_lie_or_not_said_is_refused():
    flac = compressed(song(), "FLAC", "PCM_16")
    for said, why in ((20_000, "flac|seek|cut"), (0, "does not say how long")):
        with pytest.raises(RequestError, match=why):
            sounds.samples(claiming(flac, said))


@pytest.mark.parametrize(("format", "subtype"), COMPRESSED[:3])
def test_a_small_file_that_is_a_long_sound_is_not_decoded(format, subtype, monkeypatch):
    """Silence: minutes of it are some kilobytes."""
    monkeypatch.setattr(sounds, "MAX_SAMPLES", 100_000)
    data = compressed(np.zeros((50_001, 2), np.int16), format, subtype)
    assert len(data) < 10_000
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    with pytest.raises(TooLargeError, match="50001 of 2 channels"):
        sounds.samples(data)


def test_more_channels_than_are_taken_are_refused(monkeypatch):
    data = compressed(np.stack([song()] * 3, 1), "FLAC", "PCM_16")
    monkeypatch.setattr(sounds, "MAX_CHANNELS", 2)
    with pytest.raises(RequestError, match="3 channels"):
        sounds.samples(data)


def test_tags_are_passed_over_and_what_is_behind_them_must_be_taken():
    mp3, flac = (compressed(song(), *COMPRESSED[i]) for i in (3, 0))
    tag = b"ID3\4\0\0\0\0\1\0" + bytes(128 + 30)  # and padding
    assert sounds.wav(tag + mp3) == sounds.wav(mp3) and sounds.wav(tag + flac) == sounds.wav(flac)
    aiff = compressed(song(), "AIFF", "PCM_16")
    assert sounds.kind(tag + mp3) == "audio/mpeg" and sounds.kind(tag + aiff) is None
    with pytest.raises(RequestError, match="taken"):
        sounds.samples(tag + aiff)


def test_changed_files_are_refused_or_read_and_take_no_time():
    rng = np.random.default_rng(5)
    whole = [compressed(song(3_000), *kind) for kind in COMPRESSED]
    told = {True: 0, False: 0}
    for i in range(400):
        data = bytearray(whole[i % len(whole)])
        for at in rng.integers(0, len(data) if i % 2 else 200, 4):
            data[at] = rng.integers(0, 256)
        try:
            found = sounds.samples(bytes(data))[0]
            assert 0 < len(found) <= sounds.MAX_SAMPLES
            told[True] += 1
        except (RequestError, TooLargeError):
            told[False] += 1
    assert min(told.values()) > 20

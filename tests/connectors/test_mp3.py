"""The frames of an MP3 are counted, so that it is as long as it is whatever its bit rate does."""

from __future__ import annotations

import numpy as np
import pytest

from connectors import mp3, sounds
from tests.connectors.test_sounds import compressed, song
from tidemill.errors import RequestError, TooLargeError


def encoded(values, rate=44_100, mode="VARIABLE"):
    return compressed(values, "MP3", "MPEG_LAYER_III", rate, bitrate_mode=mode, compression_level=0.9)


def untagged(data):
    """Without the first frame that says how many there are; at the lowest constant bit rates there is none."""
    first = mp3.header(data, 0)
    return data[first.bytes :] if data[first.inner : first.inner + 4] in (b"Xing", b"Info") else data


@pytest.mark.parametrize("rate", [44_100, 22_050, 8_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_a_file_that_does_not_say_its_length_is_read_to_its_end(rate, channels, mode):
    """A decoder takes the bit rate of the first frame for that of all: of noise and then silence it leaves most out."""
    loud = np.concatenate([song(40_000), np.zeros(100_000, np.int16), song(20_000)])
    data = encoded(np.stack([loud] * channels, 1), rate, mode)
    said, bare = sounds.samples(data)[0], sounds.samples(untagged(data))[0]
    if untagged(data) is not data:
        assert len(said) == len(loud)
    assert len(loud) < len(bare) < len(loud) + 4_000  # with what an encoder puts before and behind
    tail = said[-10_000:-2_000].astype(float)
    found = np.correlate(bare[-16_000:].astype(float), tail, "valid").max()
    assert found > 0.95 * np.linalg.norm(tail) ** 2


def test_what_is_there_already_stays_as_it_is():
    data = encoded(song())
    assert mp3.whole(data) == data
    assert mp3.whole(data + b"TAG" + bytes(125)) == data
    assert mp3.whole(b"front" + data, 5) == data


def test_a_first_frame_that_does_not_say_how_many_follow_is_replaced():
    data = encoded(song())
    at = mp3.header(data, 0).inner
    silent = data[: at + 7] + bytes([data[at + 7] & ~1]) + data[at + 8 :]
    assert mp3.whole(silent) == mp3.whole(untagged(data)) != silent


def test_a_file_that_is_cut_between_frames_lacks_what_it_says():
    data = encoded(song())
    at = 0
    for _ in range(8):
        at += mp3.header(data, at).bytes
    with pytest.raises(RequestError, match="cut short: 7 frames of"):
        mp3.whole(data[:at])
    with pytest.raises(RequestError, match="within its last frame"):
        mp3.whole(data[: at + 50])


def test_what_is_no_frame_is_refused():
    data = encoded(song())
    for odd, why in (
        (data + b"junk" * 100, f"no frame, at {len(data)}"),
        (b"\xff\xfb\x00\x00" + bytes(500), "known bit rate"),
        (data + untagged(encoded(song(), 22_050)), "Hz"),
        (data[: mp3.header(data, 0).bytes], "cut short"),
    ):
        with pytest.raises(RequestError, match=why):
            mp3.whole(odd)


def test_frames_are_walked_no_further_than_a_sound_can_be_long(monkeypatch):
    monkeypatch.setattr(mp3, "MAX_FRAMES", 8)
    with pytest.raises(TooLargeError, match="8 frames"):
        mp3.whole(encoded(song()))
    most = mp3.MAX_FRAMES = 1 << 15
    assert most * 576 > sounds.MAX_SAMPLES


def test_headers_that_say_nothing_known_are_none():
    assert mp3.header(b"\xff\xfb\x90\x64", 0) == (417, 44_100, 36)
    assert mp3.header(b"\xff\xe3\x18\xc4", 0) == (72, 8_000, 13)
    for odd in (
        b"",
        b"\xff\xfb\x90",
        b"\xff\xfd\x90\x64",
        b"\xff\xeb\x90\x64",
        b"\xff\xfb\xf0\x64",
        b"\xff\xfb\x9c\x64",
    ):
        assert mp3.header(odd, 0) is None

"""From items to the network's input: what training runs is what an exported model contains."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnxruntime_extensions import get_library_path
from PIL import Image

from connectors import images, sounds
from connectors.encoded_model import INPUT, prepared
from tests.connectors.test_images import COLOURS, file_of
from tests.connectors.test_sounds import COMPRESSED, compressed
from tidemill.errors import MalformedError
from training.preparation import SAMPLE, AudioPreparation, ImagePreparation, TextPreparation

TONE = (np.sin(np.arange(5_000) / 7) * 20_000).astype(np.int16)


def inside(preparation, item):
    """The sample as an exported model makes it: by all of its nodes, the decoding too."""
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(get_library_path())
    model = preparation.model().SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run([SAMPLE], {INPUT: prepared(preparation.medium, item)})[0][0]


@pytest.mark.parametrize(
    ("preparation", "item"),
    [
        (ImagePreparation(16), file_of(Image.fromarray(COLOURS), "PNG")),
        (ImagePreparation(64), file_of(Image.fromarray(COLOURS), "JPEG")),
        (ImagePreparation(16), file_of(Image.fromarray(COLOURS[:, :, 0]), "JPEG")),
        (TextPreparation(1_000, 12), "Free entry, WIN £1000! naïve Äpfel 你好"),
        (AudioPreparation(8_000, 4_000), sounds.encoded(TONE, 22_050)),
        *((AudioPreparation(8_000, 4_000), compressed(TONE, *kind, 16_000)) for kind in COMPRESSED),
    ],
)
def test_training_and_the_exported_graph_make_the_same_sample(preparation, item):
    sample = preparation.apply(item)
    assert (sample == inside(preparation, item)).all()
    assert np.unique(sample).size > 3


def test_an_image_of_the_size_wanted_is_itself():
    square = COLOURS[:20, :20]
    sample = ImagePreparation(20).apply(images.encoded(square))
    assert (sample == square[:, :, ::-1].transpose(2, 0, 1)).all()


def test_words_are_lower_case_numbers_are_by_length_and_signs_are_words():
    words = TextPreparation(5_000, 8).apply
    assert (words("Win 100 pounds") == words("win 999 POUNDS")).all()
    assert (words("a,b")[:3] > 0).all() and (words("a,b")[3:] == 0).all()
    assert not words("").any()
    assert len(words("a " * 50)) == 8


def test_sounds_are_filled_with_silence_and_cut():
    preparation = AudioPreparation(8_000, 6_000)
    short = preparation.apply(sounds.encoded(TONE, 8_000))
    assert short[:5_000] == pytest.approx(TONE / 32_768, abs=1e-4) and not short[5_000:].any()
    assert len(AudioPreparation(8_000, 100).apply(sounds.encoded(TONE, 8_000))) == 100


def test_a_sound_in_flac_is_the_same_sample():
    preparation = AudioPreparation(8_000, 4_000)
    for rate in (8_000, 16_000, 44_100):
        assert (
            preparation.apply(compressed(TONE, "FLAC", "PCM_16", rate)) == preparation.apply(sounds.encoded(TONE, rate))
        ).all()


@pytest.mark.parametrize("preparation", [ImagePreparation(8), AudioPreparation()])
def test_what_is_no_item_is_an_event_that_cannot_be_used(preparation):
    for item in (b"", b"junk", b"\xff\xd8\xff\xe0\x00\x10JFIF"):
        with pytest.raises(MalformedError):
            preparation.apply(item)


def test_a_rate_that_is_too_low_is_refused():
    with pytest.raises(MalformedError):
        AudioPreparation(16_000, 100).apply(sounds.encoded(TONE, 8_000))

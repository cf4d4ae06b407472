"""Exported models: what they say of themselves, and what they answer to items, fit and unfit."""

from __future__ import annotations

import numpy as np
import pytest

from connectors.encoded_model import EncodedModel, is_encoded, prepared
from tests.connectors.tiny_models import brightness, grey, whole_image, words
from tests.serving.test_onnx import onnx_model
from tidemill.errors import IncompatibleError, RequestError, TooLargeError


def test_a_classifier_answers_probabilities():
    model = EncodedModel(brightness())
    assert model.facts.classes == ("dark", "bright")
    assert model.answer(grey(51)) == pytest.approx([0.8, 0.2], abs=1e-6)


def test_a_detector_answers_in_pixels_of_the_image():
    model = EncodedModel(whole_image())
    assert model.answer(grey(9, 40, 70)).tolist() == [[0, 0, 0, 70, 40, pytest.approx(0.9)]]
    assert model.answer(grey(0)).shape == (0, 6)


def test_a_text_goes_in_as_it_is():
    model = EncodedModel(words())
    assert model.answer("one, two")[1] == pytest.approx(3 / 8)
    assert model.answer("")[1] == 0
    assert model.answer("a\0b \ud800")[1] == pytest.approx(3 / 8)


def test_items_that_do_not_fit_are_refused():
    model = EncodedModel(brightness())
    for item, why in ((b"", "image"), (b"junk", "image"), ("text", "not bytes"), (grey(3)[:40], "image")):
        with pytest.raises(RequestError, match=why):
            model.answer(item)
    with pytest.raises(RequestError, match="not a text"):
        EncodedModel(words()).answer(b"bytes")
    with pytest.raises(TooLargeError):
        EncodedModel(words()).answer("x" * 100_000)


def test_other_models_are_told_apart():
    assert is_encoded(brightness()) and not is_encoded(onnx_model())
    for model in (onnx_model(), b"not a model", brightness().replace(b"classification", b"klassification")):
        with pytest.raises(IncompatibleError):
            EncodedModel(model)


def test_strangers_bytes_are_written_anew():
    assert prepared("image", grey(7)).tobytes() != grey(7)
    assert prepared("text", "x").tolist() == ["x"]
    assert prepared("image", grey(7)).dtype == np.uint8

"""The digits are PNG images whose embedding needs no label; the example's stream is theirs."""

import io

import numpy as np
from PIL import Image

from tests.examples.examples import example
from tidemill_app.demo_digits import CLASSES, TESTED, WIDTH, digits, embed


def test_images_and_embeddings():
    found = digits(limit=40)
    assert len(found.ids) == len(set(found.ids)) == len(found.images) == len(found.labels) == 40
    assert found.embeddings.shape == (40, WIDTH) and len(found.test.labels) == TESTED
    image = Image.open(io.BytesIO(found.images[0]))
    assert image.size == (32, 32) and image.mode == "L" and np.asarray(image).max() == 255
    # A pixel of the image is a pixel of the digit, dark on light.
    grey = (255 - np.asarray(image)[::4, ::4].astype(float)) / 16
    assert np.allclose(embed(np.round(grey)[None])[0], found.embeddings[0], atol=0.1)


def test_the_example_has_the_same_stream_and_classes():
    job = example("digits")
    assert job.spec() == digits(limit=1).spec() and job.CLASSES == CLASSES and job.WIDTH == WIDTH

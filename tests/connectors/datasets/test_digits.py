"""The digits, pixel for pixel."""

import numpy as np
from sklearn.datasets import load_digits

from connectors.datasets import digits


def test_pixels_and_labels_are_the_sources():
    data = digits.load()
    table = data.streams[0].table
    source = load_digits()
    pixels = np.column_stack([table[name].to_numpy() for name in digits.PIXELS])
    assert np.array_equal(pixels.reshape(-1, 8, 8), source.images)
    assert table["digit"].to_pylist() == source.target.tolist()
    assert data.features == digits.PIXELS

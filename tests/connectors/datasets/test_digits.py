"""The digits, pixel for pixel."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from connectors.datasets import digits
from tidemill.errors import ConfigError


def test_pixels_and_labels_are_the_sources():
    data = digits.load()
    table = data.streams[0].table
    source = load_digits()
    pixels = np.column_stack([table[name].to_numpy() for name in digits.PIXELS])
    assert np.array_equal(pixels.reshape(-1, 8, 8), source.images)
    assert table["digit"].to_pylist() == source.target.tolist()
    assert data.features == digits.PIXELS


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ConfigError, match="pip install scikit-learn"):
        digits.load()

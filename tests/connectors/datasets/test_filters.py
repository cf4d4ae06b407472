"""Filters say which examples are in."""

import pytest

from connectors.datasets.examples import Example
from connectors.datasets.filters import Filter
from tidemill.errors import ConfigError

ONE = Example("t", 0, 0, "a", "", "image/png", {"width": 640, "name": "007", "x": None}, "cat", "g", "train", 0, 0.9)


@pytest.mark.parametrize(
    ("text", "keeps"),
    [
        ("width=640", True),
        ("width != 640", False),
        ("width >= 640", True),
        ("width<640.5", True),
        ("width > 640", False),
        ("name = 007", True),
        ('name = "007"', True),
        ("name < 1", True),
        ("x = null", True),
        ("x < 5", False),
        ("name > 5", False),
        ("@label = cat", True),
        ("@confidence >= 0.95", False),
        ("@media_type = image/png", True),
    ],
)
def test_a_filter_compares_as_written(text, keeps):
    assert Filter(text, ["width", "name", "x"])(ONE) is keeps


@pytest.mark.parametrize("text", ["", "width", "nothing = 1", "@payload = 1", "= 5"])
def test_what_is_no_filter_is_refused(text):
    with pytest.raises(ConfigError):
        Filter(text, ["width"])

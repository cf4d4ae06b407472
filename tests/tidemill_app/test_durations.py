"""Stretches of time as people write them."""

import pytest

from tidemill.errors import ConfigError
from tidemill_app.durations import parse_millis, show_millis


@pytest.mark.parametrize(
    ("text", "millis"), [("250ms", 250), ("90s", 90_000), ("7d", 604_800_000), ("12H", 43_200_000), ("forever", -1)]
)
def test_forms(text, millis):
    assert parse_millis(text) == millis
    assert parse_millis(show_millis(millis)) == millis


@pytest.mark.parametrize("text", ["", "7", "d", "0s", "-3d", "7 days"])
def test_what_is_none(text):
    with pytest.raises(ConfigError, match="forever"):
        parse_millis(text)


def test_the_shortest_form():
    assert show_millis(604_800_000) == "1w"
    assert show_millis(90_000) == "90s"

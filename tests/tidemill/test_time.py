"""Event time: exact microseconds, whatever the text or unit it came in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.errors import WrongTypeError
from tidemill.time import (
    END_OF_TIME,
    FIRST_TIME,
    SECOND,
    ManualClock,
    SystemClock,
    from_rfc3339,
    parse_time,
    show_span,
    to_rfc3339,
)


@given(st.integers(FIRST_TIME, END_OF_TIME - 1))
def test_text_and_back_is_exact(micros):
    text = to_rfc3339(micros)
    assert from_rfc3339(text) == micros
    assert len(text) in (20, 27), "four digits of the year, also before 1000"


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01 00:00:01", SECOND),
        ("1970-01-02", 86_400 * SECOND),
        ("1970-01-01t00:00:01z", SECOND),
        ("1970-01-01T00:00:00.1234567Z", 123_456),
    ],
)
def test_the_forms_a_time_comes_in(text, micros):
    assert from_rfc3339(text) == micros


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2013-13-01", "2013-02-29", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-10:00"]
)
def test_what_is_no_time_or_outside_the_calendar(text):
    with pytest.raises(WrongTypeError, match="RFC 3339"):
        from_rfc3339(text)


@pytest.mark.parametrize(
    ("value", "unit", "micros"), [(1.5, "s", 1_500_000), (2, "ms", 2_000), (3, "us", 3), ("1970-01-01", "us", 0)]
)
def test_numbers_count_their_unit(value, unit, micros):
    assert parse_time(value, unit) == micros


@pytest.mark.parametrize("value", [True, None, [], float("nan"), float("inf"), 1e300, END_OF_TIME, FIRST_TIME - 1, "x"])
def test_no_value_that_is_no_time_gets_through(value):
    with pytest.raises(WrongTypeError):
        parse_time(value, "us")


def test_a_number_has_no_meaning_where_texts_are_declared():
    with pytest.raises(WrongTypeError, match="rfc3339"):
        parse_time(5, "rfc3339")


def test_clocks():
    clock = ManualClock(5)
    clock.advance(3)
    assert clock.now() == 8
    assert SystemClock().now() > from_rfc3339("2020-01-01")


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (0, "0 s"),
        (1, "0.000001 s"),
        (250_000, "0.25 s"),
        (20 * SECOND, "20 s"),
        (60 * SECOND, "1 min"),
        (5_400 * SECOND, "1 h 30 min"),
        (90 * 86_400 * SECOND, "90 d"),
        (86_401 * SECOND + 500_000, "1 d 1.5 s"),
        (-61 * SECOND, "-1 min 1 s"),
    ],
)
def test_a_stretch_of_time_is_shown_exactly(micros, shown):
    assert show_span(micros) == shown

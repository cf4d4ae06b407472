"""CloudEvents in Kafka's binary mode."""

import pytest

from tidemill.cloudevents import ARROW, JSON, NONE, from_headers, headers_of, to_headers
from tidemill.errors import MalformedError
from tidemill.events import LabelGiven


def test_headers_come_back():
    attributes = from_headers(to_headers("é1", "/s", "t.v1", 1_500_000, ARROW))
    assert attributes == ("é1", "/s", "t.v1", 1_500_000, ARROW)
    assert dict(to_headers("a", "/s", "t", None)).keys() == {
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "content-type",
    }


def test_a_platform_event_gives_its_own():
    event = LabelGiven(id="l", time=0, about="x", value=1)
    assert from_headers(headers_of(event)) == ("l", "/tidemill", "label.given.v1", 0, JSON)


def test_headers_of_others_are_passed_over():
    assert from_headers([]) is NONE
    assert from_headers([("traceparent", b"\xff"), ("ce_id", b"x"), ("ce_subject", b"s")]).id == "x"
    assert from_headers([("ce_id", None)]).id == ""


@pytest.mark.parametrize(
    "header", [("ce_id", b"\xff"), ("content-type", b"\xfe"), ("ce_specversion", b"0.3"), ("ce_time", b"noon")]
)
def test_known_headers_that_cannot_be_read(header):
    with pytest.raises(MalformedError):
        from_headers([header])

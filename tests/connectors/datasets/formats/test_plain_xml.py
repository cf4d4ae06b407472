"""XML without a document type."""

import pytest

from connectors.datasets.formats.plain_xml import MAX_BYTES, MAX_DEPTH, parse
from tidemill.errors import UserError

LAUGHS = b"""<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;">]><a>&lol2;</a>"""
FETCHES = b"""<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>"""


def test_elements_and_texts_are_read():
    top = parse(b"<a><b n='1'>x &amp; y&#10;</b><b/></a>", "x")
    assert [b.text for b in top.iter("b")] == ["x & y\n", None] and top[0].get("n") == "1"


@pytest.mark.parametrize("data", [LAUGHS, FETCHES, LAUGHS.decode().encode("utf-16"), b"<!DOCTYPE a><a/>"])
def test_a_document_type_is_refused(data):
    with pytest.raises(UserError, match="document type"):
        parse(data, "x")


@pytest.mark.parametrize("data", [b"", b"<a>", b"<a></b>", b"\xff\xfe\0", b"<a>&undefined;</a>", b"<a/><b/>", b"text"])
def test_what_is_no_xml_is_refused(data):
    with pytest.raises(UserError, match="not XML"):
        parse(data, "x")


def test_size_and_depth_are_bounded():
    with pytest.raises(UserError, match="too large"):
        parse(b" " * (MAX_BYTES + 1), "x")
    with pytest.raises(UserError, match="too deep"):
        parse(b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1), "x")

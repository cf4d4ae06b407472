"""A part of some bytes is what RFC 9110 says it is, and what names no part gets all of them."""

import pytest

from serving.labelling.ranges import ranged

DATA = bytes(range(10))


@pytest.mark.parametrize(
    ("wanted", "status", "first", "last"),
    [
        ("bytes=0-", 206, 0, 9),
        ("bytes=2-4", 206, 2, 4),
        ("bytes=9-9", 206, 9, 9),
        ("bytes=4-400", 206, 4, 9),
        ("bytes=-3", 206, 7, 9),
        ("bytes=-30", 206, 0, 9),
        (None, 200, 0, 9),
        ("", 200, 0, 9),
        ("bytes=4-2", 200, 0, 9),
        ("bytes=0-1,4-5", 200, 0, 9),
        ("items=0-1", 200, 0, 9),
        ("bytes=-", 200, 0, 9),
        ("bytes=" + "9" * 5000 + "-", 200, 0, 9),
        ("bytes=10-", 416, 0, -1),
        ("bytes=-0", 416, 0, -1),
    ],
)
def test_a_part_is_as_the_header_names_it(wanted, status, first, last):
    answer = ranged(DATA, wanted, [(b"content-type", b"audio/wav")])
    headers = dict(answer.headers)
    assert (answer.status, answer.body) == (status, DATA[first : last + 1])
    told = {206: b"bytes %d-%d/10" % (first, last), 200: None, 416: b"bytes */10"}[status]
    assert headers.get(b"content-range") == told
    assert (headers[b"accept-ranges"], headers[b"content-type"]) == (b"bytes", b"audio/wav")


def test_of_nothing_there_is_no_part():
    assert ranged(b"", "bytes=0-", []).status == 416 and ranged(b"", None, []).status == 200

"""Archived segments: what was in the log comes back verified, and what is missing is named."""

import uuid

import pytest

from connectors.artefacts import ArtefactStore
from connectors.blobs import open_blobs
from connectors.segments import Segments, decode_records, encode_records
from tidemill.errors import DigestError, GoneError, MalformedError, UserError
from tidemill.log import Record
from tidemill.version import Span


def records(first, next):
    return [
        Record(
            "data.trips", 0, i, b"k" if i % 2 else None, None if i % 3 == 0 else b"v%d" % i, [("ce_id", b"x")], i * 7
        )
        for i in range(first, next)
    ]


def span(first, next):
    return Span("data.trips", 0, first, next)


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    return str(tmp_path) if request.param == "file" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def archive(url):
    return Segments(url, ArtefactStore(url))


def test_records_come_back_and_equal_records_give_equal_bytes():
    given = records(0, 10)
    back = decode_records(encode_records(given))
    assert back == given
    assert encode_records(back) == encode_records([r._replace(headers=(("ce_id", b"x"),)) for r in given])
    with pytest.raises(MalformedError):
        decode_records(b"\xff\xff")


def test_any_range_inside_what_was_archived(archive):
    for first, next in ((0, 10), (10, 25), (20, 30)):  # the last two overlap
        archive.archive(span(first, next), records(first, next))
        archive.archive(span(first, next), records(first, next))
    assert len(archive.segments("data.trips", 0)) == 3
    for first, next in ((0, 30), (5, 6), (9, 11), (10, 25), (24, 30), (22, 23)):
        assert archive.read(span(first, next)) == records(first, next)
    assert archive.read(span(4, 4)) == []


def test_offsets_that_hold_no_record_are_no_gap(archive):
    kept = [r for r in records(0, 10) if r.offset not in (0, 4, 9)]
    archive.archive(span(0, 10), kept)
    assert archive.read(span(0, 10)) == kept


@pytest.mark.parametrize(
    ("first", "next", "missing"), [(0, 10, "0 to 4"), (5, 30, "10 to 19"), (25, 40, "30 to 39"), (50, 60, "50 to 59")]
)
def test_what_is_missing_is_named(archive, first, next, missing):
    archive.archive(span(5, 10), records(5, 10))
    archive.archive(span(20, 30), records(20, 30))
    with pytest.raises(GoneError, match=f"data.trips/0.*nothing of offsets {missing}$"):
        archive.read(span(first, next))


def test_a_changed_segment_is_refused(archive, url):
    digest = archive.archive(span(0, 10), records(0, 10))
    open_blobs(url).write(f"objects/{digest[:2]}/{digest}", encode_records(records(0, 9)))
    with pytest.raises(DigestError):
        archive.read(span(0, 10))


def test_refusals(archive):
    with pytest.raises(UserError, match="range"):
        archive.put_segment("data.trips", 0, 5, 5, b"")
    with pytest.raises(UserError, match="not of the span"):
        archive.archive(span(0, 5), records(4, 6))
    with pytest.raises(UserError, match="name"):
        archive.put_segment("../x", 0, 0, 1, b"")

"""Archived stretches of the log: what Kafka would remove one day, kept by digest in the artefact store's folder.

::

    segments/TOPIC/PARTITION/FIRST-NEXT-DIGEST     an empty marker: offsets FIRST to NEXT − 1 are in that object

The bytes of a segment are an object of the store, so they are verified when they are read. They are written before
their marker, so a marker always has its bytes. Overlapping segments are no trouble: the same offsets hold the same
records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from connectors.artefacts import ArtefactStore
from connectors.blobs import open_blobs, safe_path
from tidemill.errors import GoneError, MalformedError, UserError
from tidemill.log import Record
from tidemill.version import Span


class Segment(NamedTuple):
    """Offsets `first` to `next` − 1 of one partition, held by the object `digest`."""

    first: int
    next: int
    digest: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Record])


def encode_records(records: Sequence[Record]) -> bytes:
    """Records as msgpack, with their offsets, keys, headers and times: the same records give the same bytes."""
    return _encoder.encode([[*r[:5], [list(h) for h in r.headers], r.timestamp] for r in records])


def decode_records(data: bytes) -> list[Record]:
    """Raises `MalformedError` where the bytes are none of `encode_records`'s."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError("not an archived segment", got=str(error)) from None


class Segments:
    """The archive at `url`, beside the objects of `store` (which must be the store at the same URL)."""

    def __init__(self, url: str, store: ArtefactStore) -> None:
        self._blobs = open_blobs(url)
        self._store = store

    def put_segment(self, topic: str, partition: int, first: int, next: int, data: bytes) -> str:
        """Keep the bytes of offsets `first` to `next` − 1; their digest. Again: nothing changes."""
        if not 0 <= first < next:
            raise UserError("not a range of offsets", where=topic, wanted="0 <= first < next", got=f"{first}..{next}")
        digest = self._store.put(data)
        self._blobs.write(f"{_place(topic, partition)}/{first:020d}-{next:020d}-{digest}", b"")
        return digest

    def archive(self, span: Span, records: Sequence[Record]) -> str:
        """Keep the records of a span, all of them. Raises `UserError` for one that is not of it."""
        for r in records:
            if (r.topic, r.partition) != (span.topic, span.partition) or not span.first <= r.offset < span.next:
                raise UserError(
                    "a record that is not of the span", where=str(span), got=f"{r.topic}/{r.partition}/{r.offset}"
                )
        return self.put_segment(span.topic, span.partition, span.first, span.next, encode_records(records))

    def segments(self, topic: str, partition: int) -> list[Segment]:
        """Everything kept of a partition, by first offset."""
        found = []
        for name in self._blobs.names(_place(topic, partition)):
            first, next, digest = name.split("-")
            found.append(Segment(int(first), int(next), digest))
        return sorted(found)

    def covering(self, span: Span) -> list[Segment]:
        """Segments that hold the whole span, by first offset. Raises `GoneError` naming the first range missing."""
        chosen: list[Segment] = []
        held = self.segments(span.topic, span.partition)
        at = span.first
        while at < span.next:
            reach = max((s for s in held if s.first <= at < s.next), key=lambda s: s.next, default=None)
            if reach is None:
                until = min((s.first for s in held if s.first > at), default=span.next)
                raise GoneError(
                    "no archive holds these offsets",
                    where=f"{span.topic}/{span.partition}",
                    wanted=f"offsets {span.first} to {span.next - 1}",
                    got=f"nothing of offsets {at} to {min(until, span.next) - 1}",
                )
            chosen.append(reach)
            at = reach.next
        return chosen

    def content(self, segment: Segment) -> bytes:
        """The bytes of a segment, verified. Raises `NotFoundError`, or `DigestError`."""
        return self._store.get(segment.digest)

    def replace(self, topic: str, partition: int, segment: Segment, records: Sequence[Record]) -> str:
        """Put `records` in the place of a segment's, whose bytes are removed: for erasures only. The new digest.

        A version that names the old digest can no longer be rebuilt from it.
        """
        place = f"{_place(topic, partition)}/{segment.first:020d}-{segment.next:020d}"
        digest = self.put_segment(topic, partition, segment.first, segment.next, encode_records(records))
        if digest != segment.digest:
            self._blobs.remove(f"{place}-{segment.digest}")
            if not any(s.digest == segment.digest for s in self.segments(topic, partition)):
                self._store.discard(segment.digest)
        return digest

    def read(self, span: Span) -> list[Record]:
        """The records of a span, in offset order, verified. Raises `GoneError`, or `DigestError`."""
        out: list[Record] = []
        at = span.first
        for segment in self.covering(span):
            records = decode_records(self._store.get(segment.digest))
            out += [r for r in records if at <= r.offset < min(segment.next, span.next)]
            at = segment.next
        return out


def _place(topic: str, partition: int) -> str:
    return safe_path("segments", topic, str(partition))

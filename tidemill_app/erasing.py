"""Erasing records on a person's request: a recorded exception to a log that forgets nothing by itself.

An erasure is a `RecordErased` event in topic `erasures`; every reader of ours takes what it names as absent from then
on. Archived segments are rewritten without the record's content. What it does not do: the broker keeps the record's
bytes until the topic's retention or `tidemill down --purge` removes them, and a model that learned from it stays as it
is. The versions that did can no longer be rebuilt exactly, and are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from connectors import arrow
from connectors.artefacts import ArtefactStore
from connectors.segments import Segments, decode_records
from tidemill import events
from tidemill.block import Block, Place
from tidemill.cloudevents import ARROW, headers_of
from tidemill.decode import Decoder
from tidemill.errors import BadEvent, ConfigError, IntegrityError, NotFoundError
from tidemill.events import RecordErased
from tidemill.log import Log, Partition, Record, TopicSpec
from tidemill.stream import StreamSpec
from tidemill.time import Clock
from tidemill.version import Span, decode_manifest
from tidemill_app.reading import read_all

TOPIC = "erasures"
_PIECE = 500
"""Records that are decoded at once."""


class Erased(msgspec.Struct):
    """What an erasure did: the places named now, those named before, segments rewritten, versions that learned from
    them (`model@version`)."""

    places: list[Place] = []
    before: int = 0
    segments: int = 0
    versions: list[str] = []


def parse_place(text: str) -> Place:
    """`TOPIC/PARTITION/OFFSET`, or with `/ROW` for an event within a block. Raises `ConfigError`."""
    topic, *numbers = text.split("/")
    if topic and len(numbers) in (2, 3) and all(n.isdigit() for n in numbers):
        return Place(topic, *map(int, numbers))
    raise ConfigError(
        "not a place in the log", wanted="TOPIC/PARTITION/OFFSET or TOPIC/PARTITION/OFFSET/ROW", got=repr(text)
    )


def places_of(log: Log, streams: Iterable[StreamSpec], id: str) -> list[Place]:
    """Where events with this id stand in the streams, and labels about it in streams of labels. Reads them whole."""
    found = []
    for spec in streams:
        decoder, records = Decoder(spec, arrow.decode), read_all(log, spec.topic)
        while piece := list(islice(records, _PIECE)):
            by_partition: dict[int, list[Record]] = {}
            for record in piece:
                by_partition.setdefault(record.partition, []).append(record)
            for run in by_partition.values():
                for item in decoder.decode(run):
                    if isinstance(item, Block):
                        found += [item.place(i) for i in np.flatnonzero(naming(spec, item, id)).tolist()]
    return sorted(found)


def naming(spec: StreamSpec, block: Block, id: str) -> NDArray[np.bool_]:
    """Which events of a stream's block have this id, or are labels or predictions about it."""
    same: NDArray[np.bool_] = block.ids == id
    if spec.tag and "about" in block.columns:
        same |= block.columns["about"] == id
    return same


def erase(
    log: Log,
    places: Sequence[Place],
    *,
    reason: str,
    clock: Clock,
    segments: Segments | None = None,
    store: ArtefactStore | None = None,
) -> Erased:
    """Record the erasure of these places, rewrite the archive without them, and name the versions that had read them.

    Naming a place again changes nothing. Raises `NotFoundError` for a place that the log never had.
    """
    for place in places:
        partition = Partition(place.topic, place.partition)
        if (
            place.topic not in log.topics()
            or partition not in log.partitions(place.topic)
            or place.offset >= log.end(partition)
        ):
            raise NotFoundError("no such record", got=_name(place))
    log.create(TOPIC, TopicSpec())
    known = erased_before(log)
    out = Erased(places=[p for p in places if p not in known])
    out.before = len(places) - len(out.places)
    writer = log.writer()
    try:
        for place in out.places:
            event = RecordErased(
                id=f"erased/{_name(place)}",
                time=clock.now(),
                source="/erasures",
                topic=place.topic,
                partition=place.partition,
                offset=place.offset,
                row=place.row,
                reason=reason,
            )
            writer.send(TOPIC, events.encode(event), key=_name(place).encode(), headers=headers_of(event), partition=0)
        writer.flush()
    finally:
        writer.close()
    if segments is not None:
        out.segments = sum(_redact(segments, place) for place in places)
    if store is not None:
        out.versions = versions_that_read(store, places)
    return out


def erased_before(log: Log) -> set[Place]:
    """Every place that was erased."""
    out: set[Place] = set()
    for record in read_all(log, TOPIC) if TOPIC in log.topics() else ():
        try:
            event = events.decode(record.value or b"")
        except BadEvent:
            continue
        if isinstance(event, RecordErased):
            out.add(Place(event.topic, event.partition, event.offset, event.row))
    return out


def versions_that_read(store: ArtefactStore, places: Sequence[Place]) -> list[str]:
    """The model versions whose lineage covers one of the places, as `model@version`."""
    out = []
    for model in store.models():
        for version in store.versions(model):
            if any(
                s.topic == p.topic and s.partition == p.partition and s.first <= p.offset < s.next
                for s in _spans(store, model, version)
                for p in places
            ):
                out.append(f"{model}@{version}")
    return out


def _spans(store: ArtefactStore, model: str, version: str) -> Iterator[Span]:
    for digest in store.manifests(model, version):
        try:
            lineage = decode_manifest(store.manifest(model, version, digest)).lineage
        except (BadEvent, IntegrityError):
            continue  # not a sound version: `model show` says so
        yield from lineage.read if lineage is not None else []


def _redact(segments: Segments, place: Place) -> int:
    """Rewrite the segments that hold a place; how many."""
    count = 0
    for segment in segments.segments(place.topic, place.partition):
        if segment.first <= place.offset < segment.next:
            records = decode_records(segments.content(segment))
            without = [redacted(r, place.row) if r.offset == place.offset else r for r in records]
            if without != records:
                segments.replace(place.topic, place.partition, segment, without)
                count += 1
    return count


def redacted(record: Record, row: int) -> Record:
    """The record without its content; of a block, without that of one row, so that the others keep their places."""
    if ("content-type", ARROW.encode()) not in [tuple(h) for h in record.headers] or record.value is None:
        return record._replace(key=None, value=None, headers=())
    columns: dict[str, Any] = {}
    for name, values in arrow.decode(record.value).items():
        blank = values.copy()
        blank[row] = _BLANKS.get(values.dtype.kind, 0)
        columns[name] = blank
    return record._replace(value=arrow.encode(columns))


_BLANKS: dict[str, Any] = {"O": None, "f": np.nan, "M": np.datetime64("NaT")}


def _name(place: Place) -> str:
    return f"{place.topic}/{place.partition}/{place.offset}" + (f"/{place.row}" if place.row else "")

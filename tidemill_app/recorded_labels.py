"""The labels that a version learned from, read again as its lineage names them, with their items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from connectors import arrow
from connectors.datasets.assembling import gather_items, gather_labels
from connectors.datasets.examples import Example
from streams.archived import Archive, ArchivedLog
from streams.erasures import Erasures
from tidemill.block import Place
from tidemill.decode import Decoder
from tidemill.errors import IntegrityError
from tidemill.events import LabelGiven
from tidemill.log import MAX_RECORD_BYTES, Log
from tidemill.stream import StreamSpec
from tidemill.version import Lineage, Span
from tidemill_app.label_items import example_of
from tidemill_app.reading import pieces
from training.continual import Labelled


def covers(segments: Sequence[Span]) -> list[Span]:
    """For each partition one span, from its first segment's first offset to its last one's end."""
    runs: dict[tuple[str, int], list[Span]] = defaultdict(list)
    for span in segments:
        runs[span.topic, span.partition].append(span)
    return [
        Span(topic, partition, min(s.first for s in mine), max(s.next for s in mine))
        for (topic, partition), mine in sorted(runs.items())
    ]


def labels_in(log: Log, segments: Sequence[Span]) -> dict[Place, LabelGiven]:
    """The labels in the segments, by place. They are many short ones where labels in between were passed over, so a
    partition is read once, from its first to its last. Raises as `tidemill_app.reading.read_spans`."""
    wanted = set(_places(segments))
    return {
        place: told.event
        for cover in covers(segments)
        for records in pieces(log, cover)
        for told in gather_labels(records)
        if isinstance(told.event, LabelGiven) and (place := Place(cover.topic, told.partition, told.offset)) in wanted
    }


def _places(segments: Sequence[Span]) -> Iterator[Place]:
    for span in segments:
        for offset in range(span.first, span.next):
            yield Place(span.topic, span.partition, offset)


class RecordedLabels:
    """A `training.continual.LabelSource` of exactly the labels in `lineage.segments`, in that order.

    Of a range that `log` has lost, labels and items come from `archive`. What was erased on request is absent, and
    `erased` counts such records in the ranges. `spec` declares the items. A label about an item that was retracted
    since is learned as it was the first time.

    Raises `GoneError`, here or in `begin` and so before the first step, naming the range that is in neither;
    `begin` raises `IntegrityError` where the log holds something else than was learned from.
    """

    def __init__(self, log: Log, archive: Archive | None, spec: StreamSpec, lineage: Lineage) -> None:
        self._spec, self._segments = spec, lineage.segments
        self._items = [s for s in lineage.read if s.topic == spec.topic]
        self._log = ArchivedLog(log, [*covers(self._segments), *self._items], archive)
        erasures = Erasures()
        erasures.read(log)
        self._absent = erasures.absent
        self._erased = erasures.within(self._segments)
        self._items_erased = len(erasures.within(self._items))
        self.erased = len(self._erased) + self._items_erased
        self._queue: list[Labelled] = []

    def begin(self, offsets: list[Span]) -> None:
        labels = labels_in(self._log, self._segments)
        items = self._read_items({event.about for event in labels.values()})
        self._queue = []
        for place in _places(self._segments):
            if place in self._erased:
                continue
            event = labels.get(place)
            if event is None or event.value is None:
                raise _another(place, "a label")
            item = items.get(event.about)
            if item is not None:
                example = msgspec.structs.replace(item, label=event.value)
                self._queue.append(Labelled(example, place.topic, place.partition, place.offset))
            elif not self._items_erased:
                raise _another(place, f"a label of an item that is in the log: {event.about!r} is not")

    def _read_items(self, ids: set[str]) -> dict[str, Example]:
        """The items of these ids. Of one id the first counts."""
        found: dict[str, Example] = {}
        decoder = Decoder(self._spec, arrow.decode, max_event_bytes=MAX_RECORD_BYTES)
        for span in self._items:
            for records in pieces(self._log, span):
                for item in gather_items(decoder, records, self._absent)[0]:
                    if item.id in ids and item.id not in found:
                        found[item.id] = example_of(self._spec.topic, item)
        return found

    def take(self, most: int) -> list[Labelled]:
        found = list(islice(self._queue, most))
        del self._queue[: len(found)]
        return found

    def over(self) -> bool:
        return not self._queue

    def close(self) -> None:
        """Readers are closed as soon as all is read."""


def _another(place: Place, wanted: str) -> IntegrityError:
    return IntegrityError(
        "the log does not hold what the version learned from",
        where=f"{place.topic}/{place.partition}/{place.offset}",
        wanted=wanted,
        fix="The topic was made anew, or is another: read the log that it was learned from.",
    )

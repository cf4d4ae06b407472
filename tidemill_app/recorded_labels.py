"""The labels that a version learned from, read again as its lineage names them, with their items."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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
from training.continual import Labelled, Run


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


class _Key(NamedTuple):
    """An item by its id, and where it stands."""

    id: str
    partition: int
    offset: int


_NOWHERE = -1, -1
"""The place of an item in a lineage that does not say it."""


class RecordedLabels:
    """A `training.continual.LabelSource` of exactly the labels in `lineage.segments`, in that order.

    Of a range that `log` has lost, labels and items come from `archive`. What was erased on request is absent, and
    `erased` counts such records in the ranges. `spec` declares the items, and `items` says where those of the labels
    stand, in the labels' order (`Lineage.items`). In a lineage of an earlier build nothing does: then of one id the
    first counts, partition by partition. A label about an item that was retracted since is learned as it was the first
    time.

    Raises `GoneError`, here or in `begin` and so before the first step, naming the range that is in neither;
    `begin` raises `IntegrityError` where the log holds something else than was learned from.
    """

    def __init__(
        self, log: Log, archive: Archive | None, spec: StreamSpec, lineage: Lineage, items: Sequence[Run] = ()
    ) -> None:
        self._spec, self._segments, self._runs = spec, lineage.segments, items
        self._items = [s for s in lineage.read if s.topic == spec.topic]
        self._log = ArchivedLog(log, [*covers(self._segments), *self._items], archive)
        erasures = Erasures()
        erasures.read(log)
        self._absent = erasures.absent
        self._erased = erasures.within(self._segments)
        self._items_erased = erasures.within(self._items)
        self.erased = len(self._erased) + len(self._items_erased)
        self._found: dict[_Key, Example] = {}
        self._queue: deque[tuple[Place, _Key, Any]] = deque()

    def begin(self, offsets: list[Span]) -> None:
        labels = labels_in(self._log, self._segments)
        wanted = []
        for place, at in zip(_places(self._segments), self._where(), strict=True):
            if place in self._erased:
                continue
            event = labels.get(place)
            if event is None or event.value is None:
                raise _another(place, "a label")
            wanted.append((place, _Key(event.about, *at), event.value))
        self._found = self._read_items({key for _, key, _ in wanted})
        self._queue = deque(one for one in wanted if one[1] in self._found)
        self._check([(place, key) for place, key, _ in wanted if key not in self._found])

    def _where(self) -> Iterator[tuple[int, int]]:
        """Partition and offset of each label's item; as many as there are labels, of nothing where that is not said."""
        if not self._runs:
            return (_NOWHERE for _ in _places(self._segments))
        return ((partition, offset) for partition, first, next in self._runs for offset in range(first, next))

    def _read_items(self, wanted: set[_Key]) -> dict[_Key, Example]:
        """The items of these keys."""
        found: dict[_Key, Example] = {}
        decoder = Decoder(self._spec, arrow.decode, max_event_bytes=MAX_RECORD_BYTES)
        for span in self._items:
            for records in pieces(self._log, span):
                for item in gather_items(decoder, records, self._absent)[0]:
                    key = _Key(item.id, *((item.partition, item.offset) if self._runs else _NOWHERE))
                    if key in wanted and key not in found:
                        found[key] = example_of(self._spec.topic, item)
        return found

    def _check(self, missing: Sequence[tuple[Place, _Key]]) -> None:
        """Labels whose items are not there: as many as were erased may be, and where it is known, only those."""
        erased = {(place.partition, place.offset) for place in self._items_erased}
        known = [one for one in missing if one[1][1:] not in erased] if self._runs else missing
        if known and (self._runs or len({key.id for _, key in known}) > len(self._items_erased)):
            place, key = known[0]
            raise _another(place, f"a label of an item that is in the log: {key.id!r} is not")

    def take(self, most: int) -> list[Labelled]:
        found = []
        for _ in range(min(most, len(self._queue))):
            place, key, value = self._queue.popleft()
            example = msgspec.structs.replace(self._found[key], label=value)
            found.append(Labelled(example, place.topic, place.partition, place.offset))
        return found

    def over(self) -> bool:
        return not self._queue

    def erased_since(self) -> None:
        pass

    def close(self) -> None:
        """Readers are closed as soon as all is read."""


def _another(place: Place, wanted: str) -> IntegrityError:
    return IntegrityError(
        "the log does not hold what the version learned from",
        where=f"{place.topic}/{place.partition}/{place.offset}",
        wanted=wanted,
        fix="The topic was made anew, or is another: read the log that it was learned from.",
    )

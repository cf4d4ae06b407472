"""Erased records: what topic `erasures` names is taken as absent."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from tidemill import events
from tidemill.block import Block, Place
from tidemill.decode import Bad, Item
from tidemill.errors import BadEvent, UnavailableError
from tidemill.events import RecordErased
from tidemill.log import Log, Partition
from tidemill.version import Span

TOPIC = "erasures"


class Erasures:
    """The places erased, as known up to offset `position` of the topic.

    An engine moves on to newer erasures only where it takes a snapshot, so that a silent replay sees what the first
    run saw.
    """

    def __init__(self) -> None:
        self.position = 0
        self.met = 0
        self._rows: dict[Partition, set[tuple[int, int]]] = {}

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._rows.values())

    @staticmethod
    def end(log: Log) -> int:
        """Up to where erasures are known to the log now."""
        return log.end(Partition(TOPIC, 0)) if TOPIC in log.topics() else 0

    def read(self, log: Log, until: int | None = None, timeout: float = 30.0) -> None:
        """Learn what was erased since, up to the topic's end or offset `until`."""
        partition = Partition(TOPIC, 0)
        end = self.end(log) if until is None else until
        if self.position >= end:
            return
        reader = log.reader({partition: max(self.position, log.begin(partition))})
        try:
            deadline = time.monotonic() + timeout
            while reader.positions()[partition] < end:
                for record in reader.poll(1000, 0.1):
                    if record.offset < end:
                        self._learn(record.value)
                if time.monotonic() > deadline:
                    raise UnavailableError("the log gives no more records", where=TOPIC)
        finally:
            reader.close()
        self.position = end

    def _learn(self, value: bytes | None) -> None:
        try:
            event = events.decode(value or b"")
        except BadEvent:
            return
        if isinstance(event, RecordErased):
            self._rows.setdefault(Partition(event.topic, event.partition), set()).add((event.offset, event.row))

    def __contains__(self, place: object) -> bool:
        """Whether what stands at a `Place` was erased."""
        if not isinstance(place, Place):
            return False
        return (place.offset, place.row) in self._rows.get(Partition(place.topic, place.partition), ())

    def within(self, spans: Sequence[Span]) -> set[Place]:
        """The places erased that lie in these ranges."""
        return {
            Place(span.topic, span.partition, offset, row)
            for span in spans
            for offset, row in self._rows.get(Partition(span.topic, span.partition), ())
            if span.first <= offset < span.next
        }

    def absent(self, partition: Partition, items: Sequence[Item]) -> Sequence[Item]:
        """The items without what was erased."""
        erased = self._rows.get(partition)
        if not erased:
            return items
        out: list[Item] = []
        for item in items:
            if isinstance(item, Bad):
                if (item.place.offset, item.place.row) not in erased:
                    out.append(item)
            elif isinstance(item, Block):
                places = zip(item.offset.tolist(), item.row.tolist(), strict=True)
                keep = np.array([place not in erased for place in places], dtype=np.bool_)
                if not keep.all():
                    self.met += int((~keep).sum())
                    item = item.take(keep)
                if len(item):
                    out.append(item)
            else:
                out.append(item)
        return out

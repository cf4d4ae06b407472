"""Labels as they come, each with its item: `labels.<project>` read on, joined with the events of `data.<project>`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from connectors import arrow
from connectors.datasets.assembling import gather_items, gather_labels
from connectors.datasets.examples import Example
from streams.erasures import Erasures
from tidemill.decode import Decoder
from tidemill.events import LabelGiven
from tidemill.log import MAX_RECORD_BYTES, Partition, Reader, Record
from tidemill.version import Span
from tidemill_app.label_items import example_of
from tidemill_app.reading import read_spans
from tidemill_app.wiring import Platform
from training.continual import PATIENCE, Labelled

HEED = 1.0
"""Seconds after which it is asked again what was erased."""


class LabelTail:
    """A `training.continual.LabelSource` of project `project`.

    A label about an item in `held` (of the frozen test, or retracted) is passed over, and so is one about an item of
    which `tested(id, payload)` says that it is of the test split, however new it is, and one about an item that the log
    does not hold when the label is read, which `orphans` counts. Only `label.given.v1` counts, and no null. Of items
    with one id the first that is read counts. What was erased on request is absent, at most `HEED` seconds later. With
    `until_end` it is over where the log ended when it began. Of `part` (i, n) it reads every nth partition from i on;
    where there is none, it is over.
    """

    def __init__(
        self,
        platform: Platform,
        project: str,
        held: Collection[str],
        *,
        tested: Callable[[str, Mapping[str, Any]], bool] | None = None,
        until_end: bool = False,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self._platform, self._held = platform, frozenset(held)
        self._tested = tested
        self._spec = platform.catalogue().get(project)
        self.declared = self._spec.version
        """The version of the declaration that items are read by."""
        self._topic = f"labels.{project}"
        self._decoder = Decoder(self._spec, arrow.decode, max_event_bytes=MAX_RECORD_BYTES)
        self._items: dict[str, Example] = {}
        self._read: dict[Partition, int] = {}
        self._ends: dict[Partition, int] | None = None
        self._until_end, self._part = until_end, part
        self._reader: Reader | None = None
        self._erased = Erasures()
        self._erased.read(platform.log)
        self._asked = time.monotonic()
        self._told = 0
        self._queue: deque[Labelled] = deque()
        self.orphans = 0

    def begin(self, offsets: list[Span]) -> None:
        log = self._platform.log
        known = {Partition(s.topic, s.partition): s.next for s in offsets}
        first, every = self._part
        mine = [p for p in log.partitions(self._topic) if p.number % every == first]
        at = {p: known.get(p, log.begin(p)) for p in mine}
        if self._until_end or not at:
            self._ends = {p: log.end(p) for p in at}
        self._reader = log.reader(at) if at else None

    def take(self, most: int) -> list[Labelled]:
        if not self._queue and self._reader is not None:
            for record in self._reader.poll(1_000, PATIENCE):
                self._queue += self._labelled([record])
        self._heed()
        found = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        return [one for one in found if not one.within(self._erased)]

    def erased_since(self) -> Erasures | None:
        self._heed()
        if self._erased.position == self._told:
            return None
        self._told = self._erased.position
        return self._erased

    def _heed(self) -> None:
        """Read on what was erased."""
        if time.monotonic() - self._asked >= HEED:
            self._erased.read(self._platform.log)
            self._asked = time.monotonic()

    def over(self) -> bool:
        if self._queue or self._ends is None:
            return False
        at = self._reader.positions() if self._reader is not None else {}
        return all(at.get(p, 0) >= end for p, end in self._ends.items())

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _labelled(self, records: Sequence[Record]) -> list[Labelled]:
        found = []
        for told in gather_labels(records, self._erased):
            event = told.event
            if not isinstance(event, LabelGiven) or event.value is None or event.about in self._held:
                continue
            if event.about not in self._items:
                self._read_on()
            item = self._items.get(event.about)
            if item is None:
                self.orphans += 1
                continue
            if self._tested is not None and self._tested(item.id, item.payload):
                continue
            example = msgspec.structs.replace(item, label=event.value)
            found.append(Labelled(example, self._topic, told.partition, told.offset))
        return found

    def _read_on(self) -> None:
        """Take in the items that came since, but for what the log has lost meanwhile. Of one id the first counts."""
        log = self._platform.log
        for p in log.partitions(self._spec.topic):
            first, end = max(self._read.get(p, 0), log.begin(p)), log.end(p)
            if first >= end:
                continue
            items, _ = gather_items(self._decoder, list(read_spans(log, {p: (first, end)})), self._erased.absent)
            self._read[p] = end
            for f in items:
                self._items.setdefault(f.id, example_of(self._spec.topic, f))

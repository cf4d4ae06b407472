"""Keeping what models learned from, where Kafka would remove it one day.

A topic whose retention is finite forgets. Before a model version is published, the records it learned from in such
topics are archived: stretches of the log, by digest, in the artefact store. Stretches that earlier versions archived
are not read again. What Kafka removed before it could be archived makes the version *unrepeatable*, and its manifest
says which offsets are missing and since when that was known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from connectors.segments import Segments
from streams.sources import HISTORY
from tidemill.log import Log, Partition, Record
from tidemill.time import Clock, SystemClock, to_rfc3339
from tidemill.version import Lineage, Span
from tidemill_app.reading import read_spans

SEGMENT_RECORDS = 50_000
SEGMENT_BYTES = 32 * 1024 * 1024


def forgets(configs: Mapping[str, str]) -> bool:
    """Whether a topic with these settings (those that differ from the cluster's) removes records one day."""
    kept = configs.get("retention.ms") == "-1" and configs.get("retention.bytes", "-1") == "-1"
    return not kept or "compact" in configs.get("cleanup.policy", "delete")


class Retention:
    """Archives the records behind model versions. `finite` says whether a topic forgets. `pin` is what the publisher of
    versions calls (`tidemill_app.publisher.Pin`)."""

    def __init__(self, log: Log, segments: Segments, finite: Callable[[str], bool], clock: Clock | None = None) -> None:
        self._log, self._segments, self._finite = log, segments, finite
        self._clock = clock or SystemClock()

    def pin(self, lineage: Lineage) -> Lineage:
        """Archive what `lineage` read from topics that forget; the lineage, with `unrepeatable` where something was
        gone already. Histories are files, which the lineage names by digest."""
        missing = self.keep(span for span in lineage.read if not span.topic.startswith(HISTORY))
        why = lineage.unrepeatable
        if missing and not why:
            why = f"found gone at {to_rfc3339(self._clock.now())}: {'; '.join(missing)}"
        return msgspec.structs.replace(lineage, unrepeatable=why)

    def keep(self, spans: Iterable[Span]) -> list[str]:
        """Archive the spans of topics that forget; what of them was gone already, in words."""
        missing: list[str] = []
        for span in spans:
            if self._finite(span.topic):
                for gap in self._uncovered(span):
                    missing += self._archive(gap)
        return missing

    def _begin(self, partition: Partition) -> int:
        """The first offset the log has; after everything where the topic is no more."""
        if self._log.topics().get(partition.topic, 0) <= partition.number:
            return 1 << 62
        return self._log.begin(partition)

    def _uncovered(self, span: Span) -> Iterator[Span]:
        """The parts of a span that no segment holds."""
        at = span.first
        for segment in self._segments.segments(span.topic, span.partition):
            if segment.next <= at:
                continue
            if segment.first >= span.next:
                break
            if segment.first > at:
                yield msgspec.structs.replace(span, first=at, next=segment.first)
            at = max(at, segment.next)
        if at < span.next:
            yield msgspec.structs.replace(span, first=at)

    def _archive(self, span: Span) -> list[str]:
        """Archive a span that no segment holds; what of it is gone, in words."""
        partition = Partition(span.topic, span.partition)
        begin = min(self._begin(partition), span.next)
        gone = [f"{span.topic}/{span.partition} offsets {span.first} to {begin - 1}"] if begin > span.first else []
        held: list[Record] = []
        first, size = max(span.first, begin), 0
        for record in read_spans(self._log, {partition: (first, span.next)}):
            if len(held) == SEGMENT_RECORDS or size > SEGMENT_BYTES:
                first = self._put(span, first, record.offset, held)
                held, size = [], 0
            held.append(record)
            size += len(record.value or b"") + len(record.key or b"")
        if first < span.next:
            self._put(span, first, span.next, held)
        return gone

    def _put(self, span: Span, first: int, next: int, records: list[Record]) -> int:
        self._segments.archive(msgspec.structs.replace(span, first=first, next=next), records)
        return next

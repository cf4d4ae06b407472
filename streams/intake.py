"""From records to the pipeline: decoding, erasures, hashing and the record of what was read in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streams.erasures import Erasures
from streams.pipeline import Pipeline, Source
from streams.progress import Segment
from streams.provenance import RunningHash
from streams.rejecting import Rejected
from streams.sources import Reading
from tidemill.block import Block
from tidemill.decode import ArrowDecoder, Decoder, Item
from tidemill.job import Job
from tidemill.log import Partition, Record
from tidemill.stream import StreamSpec


class Intake:
    """Feeds runs of records to one pipeline."""

    def __init__(
        self,
        job: Job[Any],
        streams: Mapping[str, StreamSpec],
        sources: Sequence[Source],
        pipeline: Pipeline[Any],
        erasures: Erasures,
        arrow: ArrowDecoder | None = None,
    ) -> None:
        self.hashes = {s.partition: RunningHash() for s in sources}
        self.hashing = True
        """Whether what is read is hashed, for versions to name; a copy has none."""
        self.read = 0
        self._pipeline = pipeline
        self._erasures = erasures
        self._sources = {s.partition: s for s in sources}
        self._decoders = {i.stream: Decoder(streams[i.stream], arrow, job.max_event_bytes) for i in job.reads}

    def take(self, partition: Partition, records: Sequence[Record]) -> tuple[int, list[Rejected]]:
        """Feed a run of one partition; says how many events it held, and what was rejected."""
        if self.hashing:
            self.hashes[partition].add(records)
        self.read += len(records)
        rows, rejected, at = 0, list[Rejected](), 0
        # A partition's first event is judged by its own record's append time, so it comes alone.
        while at < len(records) and not self._pipeline.begun(partition):
            rows += self._feed(partition, records[at : at + 1], rejected)
            at += 1
        if at < len(records):
            rows += self._feed(partition, records[at:] if at else records, rejected)
        return rows, rejected

    def move(self, partition: Partition, time: int) -> None:
        """The clock of a quiet partition is moved to `time`, as if an event at that time stood here."""
        self._pipeline.clocks[partition].advance(time, False)

    def _feed(self, partition: Partition, records: Sequence[Record], rejected: list[Rejected]) -> int:
        stream = self._sources[partition].stream
        items = self._erasures.absent(partition, self._decoders[stream].decode(records))
        rejected += self._pipeline.feed(partition, items, self._appended(stream, items, records))
        return sum([len(i) if isinstance(i, Block) else 1 for i in items])

    def _appended(self, stream: str, items: Sequence[Item], records: Sequence[Record]) -> int:
        """The newest append time of the labels among `records`, which are `items`; without any, the last record's."""
        labels, last = self._pipeline.labels, records[-1].timestamp
        if not labels.any_in(stream):
            return last
        held = [(b, labels.mask(b)) for b in items if isinstance(b, Block)]
        if all(mask.all() for _, mask in held):
            return max([r.timestamp for r in records])
        told = {at for b, mask in held for at in b.offset[mask].tolist()}
        return max([r.timestamp for r in records if r.offset in told], default=last)


def balance(sources: Reading, pipeline: Pipeline[Any], most: int) -> None:
    """Bound the reorder buffer: above `most` events only the partitions that hold the watermark are read on, until
    half of it is gone."""
    slowest = pipeline.held_by()
    relieved = pipeline.buffered <= (most // 2 if sources.paused else most)
    # Where the slowest has reached a target it leads no further: only the others do.
    if relieved or slowest is None or sources.finished(slowest):
        if sources.paused:
            sources.pause(())
    elif not sources.paused or slowest in sources.paused:
        floor = pipeline.floor(slowest)
        sources.pause(p for p in pipeline.sources if pipeline.active(p) and pipeline.floor(p) > floor)


def segment(partition: Partition, first: int, stop: int) -> Segment:
    return partition.topic, partition.number, first, stop

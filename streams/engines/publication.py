"""What a commit publishes beside rows: deltas, feature rows, and versions with their lineage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streams.journal import Journal
from streams.live import LiveState
from streams.pipeline import Pipeline
from streams.provenance import RunningHash, records_hash
from tidemill.engine import Parts
from tidemill.events import DeltaPublished, Event, FeatureUpdated, ModelPublished
from tidemill.job import Job, VersionCut
from tidemill.log import Log, Partition, TopicSpec
from tidemill.order import Arrival
from tidemill.version import Lineage, Moved, Span

DELTAS = TopicSpec(retention_bytes=1 << 30)
"""A follower needs the deltas since the newest version. One that comes so late that these are gone serves that version
as it is until the next one. By bytes: what is seldom written is never lost."""

FEATURES = TopicSpec(compacted=True)
"""A follower needs the newest of each row."""

MODELS = TopicSpec()


class Publication:
    """Makes these events for one session, which began to read at `starts`."""

    def __init__(
        self,
        job: Job[Any],
        parts: Parts,
        histories: Mapping[str, Log],
        live: LiveState,
        starts: Mapping[Partition, int],
    ) -> None:
        self.job, self.parts, self.live = job, parts, live
        self._histories, self._starts = histories, starts
        self._topics: set[str] = set()

    def events(
        self,
        pipeline: Pipeline[Any],
        hashes: Mapping[Partition, RunningHash],
        positions: Mapping[Partition, int],
        journal: Journal,
        cuts: Sequence[VersionCut],
        sequence: int,
    ) -> list[Event]:
        """The events of commit `sequence`, which has read up to `positions`; versions are stored on the way."""
        now, counts = self.parts.clock.now(), pipeline.counts
        out: list[Event] = []
        lineage: Lineage | None = None
        for made in self.live.deltas(pipeline.states, cuts, now, counts.labels, pipeline.labelled):
            if isinstance(made, DeltaPublished):
                out.append(made)
                continue
            lineage = lineage or self._lineage(pipeline, hashes, positions, journal)
            out += self._published(made, lineage, now)
        out += self.live.features(pipeline.states, now, sequence)
        return out

    def _published(self, cut: VersionCut, read: Lineage, now: int) -> list[Event]:
        if self.parts.publisher is None:
            return []
        lineage = msgspec.structs.replace(read, number=cut.number, last=cut.last)
        delta = self.live.sequences.get(cut.model, 0)
        own: dict[str, Any] = {
            "id": f"{cut.model}@{cut.number}",
            "time": now,
            "source": f"/jobs/{self.job.name}",
            "model": cut.model,
            "version": str(cut.number),
            "job": self.job.name,
            "delta": delta,
            "bundle": self.parts.bundle,
        }
        return [ModelPublished(**own | dict(self.parts.publisher.publish(cut, lineage, delta)))]

    def _lineage(
        self,
        pipeline: Pipeline[Any],
        hashes: Mapping[Partition, RunningHash],
        positions: Mapping[Partition, int],
        journal: Journal,
    ) -> Lineage:
        """What was read so far; a cut adds where in the order it lies."""
        count, digest = records_hash(hashes.items())
        arrival = isinstance(self.job.order, Arrival)
        histories = {i.history: self._histories[i.stream] for i in self.job.reads if i.history}
        return Lineage(
            job=self.job.name,
            bundle=self.parts.bundle,
            file=self.parts.file,
            order="arrival" if arrival else "event_time",
            read=[Span(p.topic, p.number, self._starts[p], at) for p, at in sorted(positions.items())],
            watermark=pipeline.watermark,
            last=pipeline.last or (0, "", ""),
            number=0,
            after=pipeline.after,
            segments=[Span(*entry) for entry in journal.tail] if arrival else [],
            moved=[] if arrival else [Moved(*entry) for entry in journal.tail],
            journal=journal.kept,
            records=count,
            records_hash=digest,
            history={path: str(getattr(log, "digest", "")) for path, log in histories.items()},
            streams={i.stream: self.parts.streams[i.stream].version for i in self.job.reads},
        )

    def topic_of(self, event: Event) -> str:
        """The topic of a live event, made where it is not there."""
        if isinstance(event, ModelPublished):
            return "models"
        if isinstance(event, DeltaPublished):
            topic, spec = f"deltas.{event.model}", DELTAS
        else:
            assert isinstance(event, FeatureUpdated)
            topic, spec = f"features.{self.job.name}", FEATURES
        if topic not in self._topics:
            self.parts.log.create(topic, spec)
            self._topics.add(topic)
        return topic

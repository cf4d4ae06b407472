"""What every engine does between reading and committing: rejected events, effects and live state become records.

No input or output but what a dead letter or a version needs: the bytes of an event read long ago, the artefact store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streams.dead_letters import DeadLetters, RecentRecords, fetch_anywhere
from streams.emit import Emitter, Sent
from streams.engines.publication import Publication
from streams.journal import Journal
from streams.live import LiveState, key_of
from streams.pipeline import Pipeline, Stepped
from streams.provenance import RunningHash
from streams.rejecting import Rejected
from tidemill import events
from tidemill.block import Place
from tidemill.cloudevents import headers_of
from tidemill.engine import Parts
from tidemill.errors import BadEvent
from tidemill.events import Event
from tidemill.job import Job
from tidemill.log import Log, Partition, Record


def sent(topic: str, event: Event, key: bytes | None) -> Sent:
    """The record of a platform event."""
    return topic, events.encode(event), key, headers_of(event)


class Letters:
    """Dead letters of one job, with the bytes of the events: of those read last they are at hand."""

    def __init__(self, job: Job[Any], parts: Parts, histories: Mapping[str, Log]) -> None:
        self._letters = DeadLetters(job.name, parts.arrow_decode, parts.arrow_encode)
        self._parts, self._histories = parts, histories
        self._recent = RecentRecords()
        self._rejected: list[Rejected] = []

    def read(self, records: Sequence[Record], rejected: Sequence[Rejected]) -> None:
        """A run of one partition was read, and these of its events never reach the step."""
        self._recent.add(records)
        self._rejected += rejected

    def forget(self) -> None:
        """Nothing read waits to be stepped: whatever may yet be a dead letter will be read anew."""
        self._recent.clear()

    def of(self, stepped: Stepped) -> list[Sent]:
        """The letters of what was rejected since the last call, and of what the step refused."""
        asked: list[tuple[Place, BadEvent]] = [(row.place, row.error) for row in stepped.dead]
        records = {r.place: r.record for r in self._rejected}
        known = {place: records.get(place) or self._recent.find(place) for place, _ in asked}
        known |= {r.place: r.record or self._recent.find(r.place) for r in self._rejected}
        missing = [place for place, record in known.items() if record is None]
        if missing:
            known |= fetch_anywhere(self._parts.log, self._histories, missing)
        now = self._parts.clock.now()
        both = [*((r.place, r.error) for r in self._rejected), *asked]
        self._rejected = []
        return [self._letters.letter(place, error, known[place], now) for place, error in both]


class Turn:
    """Makes the records of each step of one job, which began to read at `starts`."""

    def __init__(
        self,
        job: Job[Any],
        parts: Parts,
        histories: Mapping[str, Log],
        starts: Mapping[Partition, int],
        live: LiveState,
    ) -> None:
        self.live = live
        self.letters = Letters(job, parts, histories)
        self._emitter = Emitter(job, parts.arrow_encode)
        self._published = Publication(job, parts, histories, live, starts)

    def records(
        self,
        stepped: Stepped,
        pipeline: Pipeline[Any],
        hashes: Mapping[Partition, RunningHash],
        positions: Mapping[Partition, int],
        journal: Journal,
        sequence: int,
    ) -> list[Sent]:
        """Everything that commit `sequence` sends but its own progress: rows, Arrow blocks, dead letters, live state.

        Versions are stored on the way.
        """
        cuts = [cut for _, cut in stepped.versions]
        live = self._published.events(pipeline, hashes, positions, journal, cuts, sequence)
        out: list[Sent] = []
        for group, rows in stepped.rows:
            out += self._emitter.rows(group, rows)
        out += self._emitter.blocks()
        out += self.letters.of(stepped)
        return out + [sent(self._published.topic_of(event), event, key_of(event)) for event in live]

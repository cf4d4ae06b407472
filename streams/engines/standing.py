"""Where a running job stands: what it has read, what it stepped, and what its next commit sends.

Every engine that runs one pipeline goes through the same motions; how it reads, and how it makes a commit last, is the
engine's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streams import progress
from streams.emit import Sent
from streams.engines.recovery import Positions, Recovered
from streams.engines.snapshot import Snapshot, fingerprint
from streams.engines.turn import Turn, sent
from streams.idle import Idle
from streams.intake import Intake, segment
from streams.journal import Entry
from streams.live import LiveState
from streams.pipeline import Pipeline
from streams.progress import Segment
from tidemill import state as states
from tidemill.engine import Parts
from tidemill.events import ProgressMade
from tidemill.job import Job
from tidemill.log import Log, Partition, Record
from tidemill.order import Arrival, EventTime


class Standing:
    """A recovered job that goes on. `read` is the next offset of each partition, `committed` those of the last commit,
    `sequence` its number."""

    def __init__(self, job: Job[Any], parts: Parts, histories: Mapping[str, Log], found: Recovered) -> None:
        self.job, self.parts = job, parts
        self.pipeline: Pipeline[Any] = found.pipeline
        self.intake: Intake = found.intake
        self.erasures = found.erasures
        self.sequence = found.sequence
        self.committed, self.read = found.positions, dict(found.positions)
        self.live = LiveState(job, parts.bundle)
        self.live.sequences, self.live.versions = found.deltas, found.versions
        self.live.follow(self.pipeline.states)
        self.turn = Turn(job, parts, histories, found.starts, self.live)
        self._starts = found.starts
        self._journal, self._journaled = found.journal, found.journaled
        self._run: list[Segment] = []
        self._moved: list[Entry] = []
        self._arrival = isinstance(job.order, Arrival)
        order = job.order
        self._idle: Idle | None = None
        if isinstance(order, EventTime) and order.idle_after is not None:
            self._idle = Idle(order.idle_after, order.lateness, time.monotonic())

    def take(self, partition: Partition, records: Sequence[Record], after: int) -> int:
        """Feed a run of one partition, behind which it stands at offset `after`; about how many events it held."""
        got, rejected = self.intake.take(partition, records)
        self.turn.letters.read(records, rejected)
        self._run.append(segment(partition, self.read[partition], after))
        self.read[partition] = after
        if self._idle is not None:
            self._idle.heard(partition, time.monotonic())
        return max(got, 1)

    def due(self, positions: Positions) -> bool:
        """Whether there is something to commit."""
        return bool(self._moved) or positions != self.committed

    def step(self, positions: Positions) -> tuple[list[Sent], ProgressMade]:
        """Step what has become complete: what the next commit sends, and the record of its progress."""
        stepped = self.pipeline.step()
        self._note_order(self.sequence + 1)
        hashes = self.intake.hashes
        records = self.turn.records(stepped, self.pipeline, hashes, positions, self._journal, self.sequence + 1)
        return records, self.progress(positions)

    def again(self, made: ProgressMade, positions: Positions) -> list[Sent]:
        """What commit `made` sent, its records being fed once more: the same, but for when it was sent."""
        stepped = self.pipeline.step()
        self._journal.follow(made, segments=self._arrival)
        self._journaled = made.journaled
        hashes = self.intake.hashes
        return self.turn.records(stepped, self.pipeline, hashes, positions, self._journal, made.sequence)

    def _note_order(self, sequence: int) -> None:
        """Into the journal with what can be repeated only as it was."""
        now, entries = self.parts.clock.now(), self._run if self._arrival else self._moved
        if entries:
            self._journal.add(entries, now, segments=self._arrival)
            self._journaled = sequence
        if self.parts.objects is not None:
            self._journal.seal(sequence, now, self.parts.objects.put)

    def progress(self, positions: Positions) -> ProgressMade:
        """The progress record of the next commit."""
        pipeline, run = self.pipeline, progress.merged(self._run)
        if not self._arrival:
            run = [segment(p, self.committed[p], at) for p, at in sorted(positions.items()) if at > self.committed[p]]
        return ProgressMade(
            id=f"{self.job.name}/{self.sequence + 1}",
            time=self.parts.clock.now(),
            source=f"/jobs/{self.job.name}",
            job=self.job.name,
            sequence=self.sequence + 1,
            offsets=flat(positions),
            starts=flat(self._starts),
            watermark=pipeline.watermark,
            last=pipeline.last,
            segments=run,
            emitted=dict(pipeline.counts.emitted),
            dead=pipeline.counts.dead,
            steps=pipeline.counts.steps,
            stepped=pipeline.counts.stepped,
            labels=pipeline.counts.labels,
            deltas=dict(self.live.sequences),
            versions=dict(self.live.versions),
            after=pipeline.after,
            moved=self._moved,
            journal=self._journal.kept,
            journaled=self._journaled,
        )

    def record(self, made: ProgressMade) -> Sent:
        """The record of a commit's progress."""
        return sent(progress.topic_of(self.job.name).topic, made, self.job.name.encode())

    def done(self, made: ProgressMade, positions: Positions) -> None:
        """Commit `made` has been made."""
        self.sequence, self.committed, self._run, self._moved = made.sequence, positions, [], []
        if not self.pipeline.buffered:
            self.turn.letters.forget()

    def advance_idle(self, reading: frozenset[Partition], at: Positions, end: Callable[[Partition], int]) -> None:
        """Move the clocks of the partitions that are quiet. `reading` are those that are read now."""
        idle, pipeline = self._idle, self.pipeline
        if idle is None:
            return
        now = time.monotonic()
        clocks = {p: clock for p, clock in pipeline.clocks.items() if pipeline.active(p)}
        quiet = [p for p in clocks if p in reading and not pipeline.sources[p].history and idle.quiet(p, now)]
        if not quiet or not idle.due(now, clocks, quiet, pipeline.buffered > 0):
            return
        caught_up = [p for p in quiet if end(p) <= at[p]]
        for p, moment in idle.due(now, clocks, caught_up, pipeline.buffered > 0).items():
            self.intake.move(p, moment)
            self._moved.append((p.topic, p.number, at[p], moment))

    def snapshot(self, erasures_at: int) -> bytes:
        """The job as the last commit left it, to be kept; without its state where that cannot be saved."""
        snapshot = Snapshot(
            fingerprint(self.job),
            self.sequence,
            flat(self.committed),
            flat(self._starts),
            [(p.topic, p.number, running) for p, running in sorted(self.intake.hashes.items())],
            self._journal,
            erasures_at,
            None if self.job.cannot_save else self.pipeline.snapshot(),
        )
        return states.encode(snapshot)


def flat(positions: Mapping[Partition, int]) -> list[tuple[str, int, int]]:
    """Positions as plain data."""
    return [(p.topic, p.number, at) for p, at in sorted(positions.items())]

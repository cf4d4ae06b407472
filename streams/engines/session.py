"""One session of the local engine: from a recovered job to a stop or a broken connection."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streams import progress
from streams.dead_letters import DeadLetters, RecentRecords, fetch_anywhere
from streams.emit import Emitter
from streams.engines import collecting
from streams.engines.keeper import Keeper
from streams.engines.publication import Publication
from streams.engines.recovery import Recovered, Recovery
from streams.engines.snapshot import Snapshot, fingerprint
from streams.engines.status import Status
from streams.erasures import Erasures
from streams.idle import Idle
from streams.intake import Intake, balance, segment
from streams.journal import Entry
from streams.live import LiveState, key_of
from streams.pipeline import Pipeline, Rejected, Source, Stepped
from streams.progress import Segment
from streams.sources import Sources
from tidemill import events
from tidemill import state as states
from tidemill.block import Place
from tidemill.cloudevents import headers_of
from tidemill.engine import Parts
from tidemill.errors import BadEvent, TidemillError, UnavailableError
from tidemill.events import Event, ProgressMade
from tidemill.job import Job
from tidemill.log import Log, Partition, Writer
from tidemill.order import Arrival, EventTime

_QUIET = 0.1
"""Seconds a poll waits while nothing comes; also how soon a stop is noticed."""

_FEW, _LULL = 1_000, 0.005
"""Of fewer records than this at once the next are waited for this many seconds: polls cost more than records."""


class Session:
    """Runs `job` with one reader and one transactional writer until `stop`, or until one of them fails."""

    def __init__(
        self,
        job: Job[Any],
        parts: Parts,
        stop: Callable[[], bool],
        status: Status,
        histories: Mapping[str, Log],
        sources: Sequence[Source],
        *,
        max_buffered: int,
        max_batch: int,
        snapshot_every: float,
        careful_until: int = 0,
    ) -> None:
        self._careful_until = careful_until
        self.job, self.parts, self.stop, self.status = job, parts, stop, status
        self._histories, self._all = histories, sources
        self._max_buffered, self._max_batch, self._snapshot_every = max_buffered, max_batch, snapshot_every
        self._writer: Writer | None = None
        self._keeper = Keeper(parts.store, job.name)
        self._sources: Sources | None = None
        self._emitter = Emitter(job, parts.arrow_encode)
        self._letters = DeadLetters(job.name, parts.arrow_decode, parts.arrow_encode)
        self._recent = RecentRecords()
        self._rejected: list[Rejected] = []
        self._run: list[Segment] = []
        self._moved: list[Entry] = []
        self._arrival = isinstance(job.order, Arrival)
        self._open = False
        order = job.order
        self._idle: Idle | None = None
        if isinstance(order, EventTime) and order.idle_after is not None:
            self._idle = Idle(order.idle_after, order.lateness, time.monotonic())

    def run(self) -> None:
        """Recover, then read, step and commit until `stop`; then commit, snapshot and return."""
        try:
            if self._begin():
                with collecting.at_own_pace():
                    self._loop()
        except BaseException:
            if self._open and self._writer is not None:
                with contextlib.suppress(TidemillError):  # after an unknown outcome nothing may be open
                    self._writer.abort()
            raise
        finally:
            self.close()

    def close(self) -> None:
        for part in (self._sources, self._writer, self._keeper):
            if part is not None:
                part.close()
        self._sources = self._writer = None

    def _begin(self) -> bool:
        self.status.state = "recovering"
        # The writer first: it fences an earlier one and settles its last transaction, so what is read next stays so.
        self._writer = self.parts.log.writer(f"tidemill.{self.job.name}")
        recovery = Recovery(
            self.job,
            self.parts,
            self._histories,
            self._all,
            max_buffered=self._max_buffered,
            max_batch=self._max_batch,
            stop=self.stop,
        )
        committed = progress.last(self.parts.log, self.job.name)
        found = recovery.born() if committed is None else recovery.recovered(committed)
        if found is None:
            return False
        self._take_up(found)
        if committed is None:
            self._transact([], Stepped(), [])
        self._snapshot_at = time.monotonic()
        self._saved = -1
        self.status.state = "running"
        return True

    def _take_up(self, found: Recovered) -> None:
        self._pipeline: Pipeline[Any] = found.pipeline
        self._pipeline.careful_until = self._careful_until
        self._intake: Intake = found.intake
        self._erasures = found.erasures
        self._sequence = found.sequence
        self._starts, self._committed = found.starts, found.positions
        self._recorded = dict(found.positions)
        self._journal, self._journaled = found.journal, found.journaled
        self._live = LiveState(self.job, self.parts.bundle)
        self._live.sequences, self._live.versions = found.deltas, found.versions
        self._live.follow(self._pipeline.states)
        self._published = Publication(self.job, self.parts, self._histories, self._live, self._starts)
        self._sources = Sources(
            self._all,
            self.parts.log,
            self._histories,
            found.positions,
            all_histories_first=self._arrival,
        )

    def _loop(self) -> None:
        assert self._sources is not None
        due = time.monotonic()
        while True:
            stopping = self.stop()
            if not stopping:
                # Commits keep their pace: what one takes is not added to the time between them. Where nothing came for
                # a while the pace begins anew.
                now = time.monotonic()
                due = max(min(due, now) + self.job.commit_every, now)
                self._gather(due)
            if self._moved or self._sources.positions() != self._committed:
                self._commit()
                collecting.young()
            if stopping:
                self._snapshot()
                self._note_kept(wait=True)
                # The last word of this process: up to where it is kept.
                self.status.tell(self._pipeline, self._sources, self._intake.read, force=True)
                return
            self._note_kept()
            if time.monotonic() - self._snapshot_at >= self._snapshot_every and not self._keeper.busy:
                self._snapshot()
                collecting.all_made()
            self._advance_idle()  # not before the snapshot, which is of what is committed
            self.status.tell(self._pipeline, self._sources, self._intake.read)

    def _gather(self, until: float) -> None:
        """Read and feed until the commit falls due or a batch is full."""
        sources = self._sources
        assert sources is not None
        rows = 0
        while rows < self._max_batch:
            left = until - time.monotonic()
            if rows and left <= 0:
                return
            runs = sources.poll(self._max_batch - rows, min(left, _QUIET) if rows else _QUIET)
            for partition, records in runs:
                got, rejected = self._intake.take(partition, records)
                rows += max(got, 1)
                self._recent.add(records)
                self._rejected += rejected
                after = sources.positions()[partition]
                self._run.append(segment(partition, self._recorded[partition], after))
                self._recorded[partition] = after
                if self._idle is not None:
                    self._idle.heard(partition, time.monotonic())
            for stream in sources.ended():
                self._pipeline.finish_history(stream)
            balance(sources, self._pipeline, self._max_buffered)
            if sources.paused or (not runs and (not rows or self.stop())):
                return
            if runs and sum([len(records) for _, records in runs]) < _FEW:
                # All there is was read, and nothing is done with it before the commit: let some more come together.
                time.sleep(max(0.0, min(_LULL, until - time.monotonic())))

    def _commit(self) -> None:
        assert self._sources is not None
        stepped, sequence = self._pipeline.step(), self._sequence + 1
        self._note_order(sequence)
        cuts = [cut for _, cut in stepped.versions]
        positions = self._sources.positions()
        live = self._published.events(self._pipeline, self._intake, positions, self._journal, cuts, sequence)
        self._transact(live, stepped, self._letters_of(stepped))

    def _note_order(self, sequence: int) -> None:
        """Into the journal with what can be repeated only as it was."""
        now, entries = self.parts.clock.now(), self._run if self._arrival else self._moved
        if entries:
            self._journal.add(entries, now, segments=self._arrival)
            self._journaled = sequence
        if self.parts.objects is not None:
            self._journal.seal(sequence, now, self.parts.objects.put)

    def _transact(self, live: Sequence[Event], stepped: Stepped, letters: Sequence[Any]) -> None:
        """One transaction: rows, live state, dead letters, the progress record, and the offsets."""
        assert self._writer is not None and self._sources is not None
        writer, positions = self._writer, self._sources.positions()
        writer.begin()
        self._open = True
        for group, rows in stepped.rows:
            for topic, value, key, headers in self._emitter.rows(group, rows):
                writer.send(topic, value, key=key, headers=headers)
        for topic, value, key, headers in self._emitter.blocks():
            writer.send(topic, value, key=key, headers=headers)
        for topic, value, key, headers in letters:
            writer.send(topic, value, key=key, headers=headers)
        for event in live:
            writer.send(
                self._published.topic_of(event), events.encode(event), key=key_of(event), headers=headers_of(event)
            )
        made = self._progress(positions)
        where = progress.topic_of(self.job.name)
        writer.send(where.topic, events.encode(made), key=self.job.name.encode(), headers=headers_of(made), partition=0)
        offsets = {s.partition: positions[s.partition] for s in self._all if not s.history}
        writer.commit(offsets, f"tidemill.{self.job.name}")
        self._open = False
        self._sequence, self._committed, self._run, self._moved = made.sequence, positions, [], []
        self.status.committed(self.parts.clock.now(), made, self._live)
        if not self._pipeline.buffered:
            self._recent.clear()  # whatever may yet be a dead letter will be read anew

    def _progress(self, positions: Mapping[Partition, int]) -> ProgressMade:
        pipeline, run = self._pipeline, progress.merged(self._run)
        if not self._arrival:
            run = [segment(p, self._committed[p], at) for p, at in sorted(positions.items()) if at > self._committed[p]]
        return ProgressMade(
            id=f"{self.job.name}/{self._sequence + 1}",
            time=self.parts.clock.now(),
            source=f"/jobs/{self.job.name}",
            job=self.job.name,
            sequence=self._sequence + 1,
            offsets=_flat(positions),
            starts=_flat(self._starts),
            watermark=pipeline.watermark,
            last=pipeline.last,
            segments=run,
            emitted=dict(pipeline.counts.emitted),
            dead=pipeline.counts.dead,
            steps=pipeline.counts.steps,
            deltas=dict(self._live.sequences),
            versions=dict(self._live.versions),
            after=pipeline.after,
            moved=self._moved,
            journal=self._journal.kept,
            journaled=self._journaled,
        )

    def _letters_of(self, stepped: Stepped) -> list[Any]:
        asked: list[tuple[Place, BadEvent]] = [(row.place, row.error) for row in stepped.dead]
        records = {r.place: r.record for r in self._rejected}
        known = {place: records.get(place) or self._recent.find(place) for place, _ in asked}
        known |= {r.place: r.record or self._recent.find(r.place) for r in self._rejected}
        missing = [place for place, record in known.items() if record is None]
        if missing:
            known |= fetch_anywhere(self.parts.log, self._histories, missing)
        now = self.parts.clock.now()
        both = [*((r.place, r.error) for r in self._rejected), *asked]
        self._rejected = []
        return [self._letters.letter(place, error, known[place], now) for place, error in both]

    def _advance_idle(self) -> None:
        idle, sources, pipeline = self._idle, self._sources, self._pipeline
        if idle is None or sources is None:
            return
        now = time.monotonic()
        reading, at = sources.reading(), sources.positions()
        clocks = {p: clock for p, clock in pipeline.clocks.items() if pipeline.active(p)}
        quiet = [p for p in clocks if p in reading and not pipeline.sources[p].history and idle.quiet(p, now)]
        if not quiet:
            return
        if not idle.due(now, clocks, quiet, pipeline.buffered > 0):
            return
        caught_up = [p for p in quiet if self.parts.log.end(p) <= at[p]]
        due = idle.due(now, clocks, caught_up, pipeline.buffered > 0)
        if not due:
            return
        for p, moment in due.items():
            self._intake.move(p, moment)
            self._moved.append((p.topic, p.number, at[p], moment))

    def _snapshot(self) -> None:
        """Keep the job as the last commit left it, while it goes on."""
        self._snapshot_at = time.monotonic()
        if self._saved == self._sequence:
            return
        self._note_kept(wait=True)
        log = self.parts.log
        erased = Erasures.end(log)
        snapshot = Snapshot(
            fingerprint(self.job),
            self._sequence,
            _flat(self._committed),
            _flat(self._starts),
            [(p.topic, p.number, running) for p, running in sorted(self._intake.hashes.items())],
            self._journal,
            erased,
            self._pipeline.snapshot(),
            self._live.sequences,
            self._live.versions,
        )
        self._keeper.save(self._sequence, states.encode(snapshot))
        # What is newly erased may be taken as absent only behind a snapshot that says so, and that is there for good.
        if erased > self._erasures.position and self._note_kept(wait=True):
            self._erasures.read(log, erased)

    def _note_kept(self, *, wait: bool = False) -> bool:
        """Take note of a snapshot kept since. A full disk is reported, not fatal: the log has everything."""
        try:
            sequence = self._keeper.kept(wait=wait)
        except UnavailableError as error:
            self.status.failed(error)
            return False
        if sequence is None:
            return False
        self._saved = sequence
        self.status.checkpointed(self.parts.clock.now(), sequence)
        return True


def _flat(positions: Mapping[Partition, int]) -> list[tuple[str, int, int]]:
    return [(p.topic, p.number, at) for p, at in sorted(positions.items())]

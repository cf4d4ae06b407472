"""One session of the local engine: from a recovered job to a stop or a broken connection."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streams import progress
from streams.emit import Sent
from streams.engines import collecting
from streams.engines.keeper import Keeper
from streams.engines.recovery import Positions, Recovered, Recovery
from streams.engines.standing import Standing
from streams.engines.status import Status
from streams.erasures import Erasures
from streams.intake import balance
from streams.pipeline import Source
from streams.sources import Sources
from tidemill.engine import Parts
from tidemill.errors import TidemillError, UnavailableError
from tidemill.events import ProgressMade
from tidemill.job import Job
from tidemill.log import Log, Writer
from tidemill.order import Arrival

_QUIET = 0.1
"""Seconds a poll waits while nothing comes; also how soon a stop is noticed."""

SNAPSHOT_SHARE = 1 / 200
"""Of a processor's time, what snapshots may take."""

_FEW, _LULL, _LONGEST = 1_000, 0.1, 0.05
"""Of fewer records than this at once, the next are waited for this share of the time between commits, this many seconds
at most: polls cost more than records, and nothing is done with what is read before the commit."""


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
        self._arrival = isinstance(job.order, Arrival)
        self._open = False

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
            stop=self._stopped_on_the_way,
        )
        committed = progress.last(self.parts.log, self.job.name)
        found = recovery.born() if committed is None else recovery.recovered(committed)
        if found is None:
            return False
        self._take_up(found)
        if committed is None:
            standing = self._standing
            self._transact([], standing.progress(standing.committed), standing.committed)
        self._snapshot_due = time.monotonic() + self._snapshot_every
        self._saved = -1
        self.status.state = "running"
        return True

    def _stopped_on_the_way(self) -> bool:
        self.status.recovering()
        return self.stop()

    def _take_up(self, found: Recovered) -> None:
        self._standing = Standing(self.job, self.parts, self._histories, found)
        self._standing.pipeline.careful_until = self._careful_until
        self._sources = Sources(
            self._all,
            self.parts.log,
            self._histories,
            found.positions,
            all_histories_first=self._arrival,
        )

    def _loop(self) -> None:
        assert self._sources is not None
        standing = self._standing
        due = time.monotonic()
        while True:
            stopping = self.stop()
            if not stopping:
                # Commits keep their pace: what one takes is not added to the time between them. Where nothing came for
                # a while the pace begins anew.
                now = time.monotonic()
                due = max(min(due, now) + self.job.commit_every, now)
                self._gather(due)
            if standing.due(self._sources.positions()):
                self._commit()
                collecting.young()
            if stopping:
                self._snapshot()
                self._note_kept(wait=True)
                # The last word of this process: up to where it is kept.
                self.status.tell(standing.pipeline, self._sources, standing.intake.read, force=True)
                return
            if self._note_kept():
                collecting.all_made()
            if time.monotonic() >= self._snapshot_due and not self._keeper.busy:
                self._snapshot_in_time()
            self._advance_idle()  # not before the snapshot, which is of what is committed
            self.status.tell(standing.pipeline, self._sources, standing.intake.read)

    def _gather(self, until: float) -> None:
        """Read and feed until the commit falls due or a batch is full."""
        sources, standing = self._sources, self._standing
        assert sources is not None
        rows = 0
        while rows < self._max_batch:
            left = until - time.monotonic()
            if rows and left <= 0:
                return
            runs = sources.poll(self._max_batch - rows, min(left, _QUIET) if rows else _QUIET)
            for partition, records in runs:
                rows += standing.take(partition, records, sources.positions()[partition])
            for stream in sources.ended():
                standing.pipeline.finish_history(stream)
            balance(sources, standing.pipeline, self._max_buffered)
            if sources.paused or (not runs and (not rows or self.stop())):
                return
            if runs and sum([len(records) for _, records in runs]) < _FEW:
                time.sleep(max(0.0, min(_LULL * self.job.commit_every, _LONGEST, until - time.monotonic())))

    def _commit(self) -> None:
        assert self._sources is not None
        positions = self._sources.positions()
        records, made = self._standing.step(positions)
        self._transact(records, made, positions)

    def _transact(self, records: Sequence[Sent], made: ProgressMade, positions: Positions) -> None:
        """One transaction: what the step sends, the progress record, and the offsets."""
        assert self._writer is not None
        writer, standing = self._writer, self._standing
        writer.begin()
        self._open = True
        for topic, value, key, headers in records:
            writer.send(topic, value, key=key, headers=headers)
        topic, value, key, headers = standing.record(made)
        writer.send(topic, value, key=key, headers=headers, partition=0)
        offsets = {s.partition: positions[s.partition] for s in self._all if not s.history}
        writer.commit(offsets, f"tidemill.{self.job.name}")
        self._open = False
        standing.done(made, positions)
        self.status.committed(self.parts.clock.now(), made, standing.live)

    def _advance_idle(self) -> None:
        if self._sources is not None:
            self._standing.advance_idle(self._sources.reading(), self._sources.positions(), self.parts.log.end)

    def _snapshot_in_time(self) -> None:
        """A snapshot, and when the next one is due: a large state is kept more seldom."""
        began, busy = time.monotonic(), time.thread_time()
        self._snapshot()
        took = max(time.thread_time() - busy, self._keeper.seconds)
        self._snapshot_due = began + max(self._snapshot_every, took / SNAPSHOT_SHARE)

    def _snapshot(self) -> None:
        """Keep the job as the last commit left it, while it goes on."""
        if self._saved == self._standing.sequence:
            return
        self._note_kept(wait=True)
        log, standing = self.parts.log, self._standing
        erased = Erasures.end(log)
        self._keeper.save(standing.sequence, lambda: standing.snapshot(erased))
        # What is newly erased may be taken as absent only behind a snapshot that says so, and that is there for good.
        if erased > standing.erasures.position and self._note_kept(wait=True):
            standing.erasures.read(log, erased)

    def _note_kept(self, *, wait: bool = False) -> bool:
        """Take note of a snapshot kept since. A full disk is reported, not fatal: the log has everything."""
        try:
            sequence = self._keeper.kept(wait=wait)
        except UnavailableError as error:
            self.status.unkept(error)
            return False
        if sequence is None:
            return False
        self._saved = sequence
        self.status.checkpointed(self.parts.clock.now(), sequence)
        return True

"""The Faust engine: the same job as a Faust app, at least once.

The order of writing decides what a kill leaves. Each commit is planned first: its progress record, with the offsets it
reads up to, is delivered before anything of it is sent. Then its outputs are delivered, then its offsets acknowledged.
Now and then the whole standing (state, reorder buffer, offsets together) goes into the table's changelog. So after a
kill the newest planned commit, and only that one, may be there in part: a new process loads the snapshot, re-runs
silently up to the commit before, and makes the planned one once more, from the same records, with the same ids and
contents. Outputs may come twice, equal; none is lost; nothing is learned twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from streams import progress
from streams.emit import Sent
from streams.engines import collecting, table_store
from streams.engines.keeper import Keeper
from streams.engines.patience import Patience, patiently
from streams.engines.prepare import check_settings, make_topics
from streams.engines.recovery import Positions, Recovery, positions_of
from streams.engines.snapshot import Snapshot, check_fits
from streams.engines.standing import Standing
from streams.engines.status import Status
from streams.engines.table_store import CHANGELOG, TableStore, app_of, changelog_of
from streams.erasures import Erasures
from streams.intake import balance
from streams.journal import Moves, entries_of
from streams.pipeline import Source
from streams.sources import Sources, sources_of
from tidemill import state as states
from tidemill.engine import EngineKind, Parts, refuse_unless_fit
from tidemill.errors import FencedError, IntegrityError, UnavailableError
from tidemill.events import ProgressMade
from tidemill.job import Job
from tidemill.log import Log, Partition, Writer, gone
from tidemill.state import StateStore

_TICK = 0.05
_STARTING, _ENDING, _SILENT, _LOST = 10.0, 30.0, 30.0, 5.0
"""Seconds for the app to start before it is ended, to end, without a record of what is there to be read, and without a
run of those that were fetched."""


class FaustEngine(EngineKind):
    """An `Engine` on a Faust app in this process: one worker, which reads every partition.

    `connection` are the settings to connect with, by librdkafka's names. The other settings are the local engine's.
    """

    name: ClassVar[str] = "faust"
    provides: ClassVar[frozenset[str]] = frozenset({"event_time", "timers", "versions", "deltas"})
    options: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        connection: Mapping[str, Any],
        *,
        max_buffered: int = 1_000_000,
        max_batch: int = 50_000,
        snapshot_every: float = 10.0,
        unknown_for: float = 60.0,
    ) -> None:
        self.connection = connection
        self.max_buffered = max_buffered
        self.max_batch = max_batch
        self.snapshot_every = snapshot_every
        self.unknown_for = unknown_for

    @staticmethod
    def topics(job: str) -> list[str]:
        """The table's changelog."""
        return [changelog_of(job)]

    @staticmethod
    def saved(job: str, log: Log, store: StateStore) -> tuple[int, bytes] | None:
        """The newest snapshot in the table."""
        return table_store.load(table_store.read(log, job))

    @staticmethod
    def check_saved(job: Job[Any], saved: bytes) -> None:
        """Raises `IncompatibleError`, naming what differs, where the snapshot is of a job that `job` cannot go on
        from."""
        check_fits(job, states.decode(saved, Snapshot).fingerprint)

    def run(self, job: Job[Any], parts: Parts, stop: Callable[[], bool]) -> None:
        """Run until `stop()`. While the log does not answer it waits and tries again. Raises what the local engine
        does."""
        refuse_unless_fit(job, self, [self])
        check_settings(job, parts)
        status = Status(job, parts.log, parts.report)
        job.warm()

        def attempt(careful_until: int) -> None:
            make_topics(job, parts)
            parts.log.create(changelog_of(job.name), CHANGELOG)
            sources = sources_of(job, parts.streams, parts.log, {})
            Session(job, parts, stop, status, sources, self, careful_until).run()

        patiently(attempt, Patience(self.unknown_for), status, stop)


class Session:
    """One life of the app: from a recovered table to a stop or a failure."""

    def __init__(
        self,
        job: Job[Any],
        parts: Parts,
        stop: Callable[[], bool],
        status: Status,
        sources: Sequence[Source],
        engine: FaustEngine,
        careful_until: int,
    ) -> None:
        self._careful_until = careful_until
        self.job, self.parts, self.stop, self.status = job, parts, stop, status
        self._all, self._engine = sources, engine
        self._standing: Standing | None = None
        self._failure: BaseException | None = None
        self._writer: Writer = parts.log.writer()
        self._rows = 0
        self._due = self._snapshot_at = time.monotonic()
        self._stuck: dict[tuple[Partition, int], float] = {}
        self._longest = 0.0
        self._saved = -1

    def run(self) -> None:
        """Recover, then read, step and commit until `stop`; then commit, snapshot and return."""
        self.status.state = "recovering"
        try:
            with tempfile.TemporaryDirectory(prefix="tidemill-faust-") as folder, collecting.at_own_pace():
                asyncio.run(self._serve(folder))
        finally:
            with contextlib.suppress(UnavailableError):
                self._writer.close()

    async def _serve(self, folder: str) -> None:
        from streams.engines import faust_app

        self._lock, self._recovering = asyncio.Lock(), asyncio.Lock()
        app = faust_app.make_app(
            app_of(self.job.name), self._engine.connection, folder, self._where, self._engine.max_batch
        )
        store = TableStore(faust_app.table_of(app), asyncio.get_running_loop())
        self._app, self._parts = app, replace(self.parts, store=store)
        self._keeper = Keeper(store, self.job.name)
        topics = list(dict.fromkeys(s.partition.topic for s in self._all))
        app.agent(faust_app.runs_of(app, topics), name="job")(self._read)
        store.table.on_recover(self._recovered)
        self._flow = faust_app.Flow(app, self._all, self.parts.log.end, self._where)
        starting = asyncio.ensure_future(app.start())
        try:
            while not self._over(starting):
                await asyncio.sleep(_TICK)
                await self._guarded(self._tend)
            if self._failure is None and not app.crashed:
                await self._guarded(self._finish)
        finally:
            await self._end(starting)
        if self._failure is not None:
            raise self._failure

    def _over(self, starting: asyncio.Future[None]) -> bool:
        if self._failure is None and starting.done() and (error := starting.exception()) is not None:
            self._failure = _known(error)
        if self._failure is None and self._app.crashed:
            self._failure = _known(self._app.crash_reason)
        return self._failure is not None or self.stop()

    async def _end(self, starting: asyncio.Future[None]) -> None:
        """End the app: what it read and the job did not is read anew. One that is half started leaves its connections
        open, so it is let start; without its standing it does nothing."""
        if self._failure is None:
            await asyncio.wait({starting}, timeout=_STARTING)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._app.stop(), _ENDING)
        starting.cancel()
        with contextlib.suppress(BaseException):
            await starting
        await asyncio.to_thread(self._keeper.close)

    async def _guarded(self, what: Callable[[Standing], Any]) -> None:
        """One at a time. What goes wrong ends the session; it never reaches Faust, which would go on with the next."""
        async with self._lock:
            if self._standing is None or self._failure is not None:
                return
            try:
                await what(self._standing)
            except Exception as error:
                self._failure = error

    def _where(self) -> Positions:
        return {} if self._standing is None else self._standing.read

    async def _recovered(self) -> None:
        """Faust has its table again. A rebalance meanwhile has it say so anew, and the first call goes on."""
        async with self._recovering:
            await self._recover_once()

    async def _recover_once(self) -> None:
        try:
            mine = {Partition(*tp) for tp in self._app.consumer.assignment()}
            if missing := {s.partition for s in self._all} - mine:
                raise FencedError(
                    "another process reads partitions of this job",
                    where=f"group {app_of(self.job.name)}",
                    got=", ".join(f"{p.topic}/{p.number}" for p in sorted(missing)),
                )
            if self._standing is None and self._failure is None:
                standing = await asyncio.to_thread(self._recover)
                self._due = self._snapshot_at = time.monotonic()
                self._standing = standing
                if standing is not None:
                    self.status.state = "running"
        except Exception as error:
            self._failure = error

    def _recover(self) -> Standing | None:
        """The job where it stood; None where `stop` said so on the way."""
        job, log = self.job, self.parts.log
        recovery = Recovery(
            job,
            self._parts,
            {},
            self._all,
            max_buffered=self._engine.max_buffered,
            max_batch=self._engine.max_batch,
            stop=self.stop,
        )
        planned = progress.last(log, job.name)
        if planned is None:
            standing = Standing(job, self._parts, {}, recovery.born())
            made = standing.progress(standing.committed)
            self._deliver([standing.record(made)])
            standing.done(made, standing.committed)
            return standing
        saved = self._parts.store.load(job.name, planned.sequence)
        whole = planned.sequence == 0 or (saved is not None and saved[0] == planned.sequence)
        base = planned if whole else self._before(planned)
        found = recovery.recovered(base)
        if found is None:
            return None
        standing = Standing(job, self._parts, {}, found)
        standing.pipeline.careful_until = self._careful_until
        if not whole:
            self._redo(standing, planned)
            recovery.check(found, planned)
        return standing

    def _before(self, planned: ProgressMade) -> ProgressMade:
        made = progress.since(self.parts.log, self.job.name, planned.sequence - 2)
        if not made or made[0].sequence != planned.sequence - 1:
            raise IntegrityError(
                "the progress before the newest commit is gone, and that one may be there in part",
                where=f"job {self.job.name}",
                wanted=f"commit {planned.sequence - 1}",
                fix="Submit it with --reset to learn again from the log.",
            )
        return made[0]

    def _redo(self, standing: Standing, planned: ProgressMade) -> None:
        """Make the planned commit once more: whether it was delivered, and how much of it, is not known."""
        target = positions_of(planned.offsets)
        moves = Moves(entries_of(planned, False))
        sources = Sources(self._all, self.parts.log, {}, standing.committed, until=target)
        heard = time.monotonic()
        try:
            moves.reach(standing.intake, sources.positions())
            while not sources.done():
                runs = sources.poll(self._engine.max_batch, 1.0)
                heard = time.monotonic() if runs else heard
                for partition, records in runs:
                    standing.turn.letters.read(records, moves.feed(standing.intake, partition, records)[1])
                moves.reach(standing.intake, sources.positions())
                if time.monotonic() - heard >= _SILENT:
                    raise UnavailableError("the log gives no more records", where=f"recovery of {self.job.name}")
        finally:
            sources.close()
        self._deliver(standing.again(planned, target))
        standing.read = dict(target)
        standing.done(planned, target)

    async def _read(self, stream: Any) -> None:
        """The agent."""
        async for event in stream.events():
            partition, run = Partition(event.message.topic, event.message.partition), event.value
            began = time.monotonic()
            await self._guarded(partial(self._take, partition, run))
            self._longest = max(self._longest, time.monotonic() - began)

    async def _take(self, partition: Partition, run: Any, standing: Standing) -> None:
        position = standing.read[partition]
        if run.before > position:
            # Faust lost what it was handed before: it drops messages around a rebalance.
            await self._again({partition: position})
            return
        records = run.of(partition, position)
        first = records[0].offset if records else run.after
        if first > position and (begin := self.parts.log.begin(partition)) > position:
            raise gone(partition, position, begin, run.after)
        if records:
            self._rows += standing.take(partition, records, run.after)
            balance(self._flow, standing.pipeline, self._engine.max_buffered)
        elif run.after > position:
            standing.read[partition] = run.after
        if self._rows >= self._engine.max_batch or time.monotonic() >= self._due:
            await self._commit(standing)

    async def _again(self, lost: Positions) -> None:
        """Fetch anew what was lost on its way."""
        self._stuck.clear()
        try:
            await self._app.consumer.read_from(lost)
        except Exception as error:
            raise _known(error) from error  # of a rebalance: it ends what waits, and assigns anew

    async def _commit(self, standing: Standing) -> None:
        """Plan, deliver, acknowledge."""
        now = time.monotonic()
        self._due, self._rows = max(min(self._due, now) + self.job.commit_every, now), 0
        positions = dict(standing.read)
        if not standing.due(positions):
            return
        records, made = standing.step(positions)
        await asyncio.to_thread(self._deliver, [standing.record(made)])
        if records:
            await asyncio.to_thread(self._deliver, records)
        standing.done(made, positions)
        await self._app.consumer.acknowledge(positions)
        self.status.committed(self.parts.clock.now(), made, standing.live)
        collecting.young()

    def _deliver(self, records: Iterable[Sent]) -> None:
        """Returns when all of it is acknowledged by all in-sync replicas."""
        for topic, value, key, headers in records:
            self._writer.send(topic, value, key=key, headers=headers)
        self._writer.flush()

    async def _tend(self, standing: Standing) -> None:
        """What falls due though nothing comes."""
        now = time.monotonic()
        handed = self._app.consumer.handed_over()
        behind = [(p, at) for p, at in standing.read.items() if handed.get(tuple(p), at) > at]
        self._stuck = {stand: self._stuck.get(stand, now) for stand in behind}
        patience = _LOST + 2.0 * self._longest  # a run may wait for those of other partitions
        if lost := {p: at for (p, at), since in self._stuck.items() if now - since >= patience}:
            await self._again(lost)
        if now >= self._due:
            await self._commit(standing)
        if self._note_kept():
            collecting.all_made()
        if now - self._snapshot_at >= self._engine.snapshot_every and not self._keeper.busy:
            await self._commit(standing)  # a snapshot is of what is committed
            await self._snapshot(standing)
        standing.advance_idle(self._flow.reading(), standing.read, self.parts.log.end)
        self.status.tell(standing.pipeline, self._flow, standing.intake.read)

    async def _finish(self, standing: Standing) -> None:
        await self._commit(standing)
        await asyncio.to_thread(self._note_kept, wait=True)
        await self._snapshot(standing)
        await asyncio.to_thread(self._note_kept, wait=True)
        self.status.tell(standing.pipeline, self._flow, standing.intake.read, force=True)

    async def _snapshot(self, standing: Standing) -> None:
        self._snapshot_at = time.monotonic()
        if self._saved == standing.sequence:
            return
        log = self.parts.log
        erased = Erasures.end(log)
        self._keeper.save(standing.sequence, lambda: standing.snapshot(erased))
        # What is newly erased may be taken as absent only behind a snapshot that says so, and that is there for good.
        if erased > standing.erasures.position and await asyncio.to_thread(self._note_kept, wait=True):
            standing.erasures.read(log, erased)

    def _note_kept(self, *, wait: bool = False) -> bool:
        sequence = self._keeper.kept(wait=wait)
        if sequence is None:
            return False
        self._saved = sequence
        self.status.checkpointed(self.parts.clock.now(), sequence)
        return True


def _known(error: BaseException | None) -> BaseException:
    """What Faust fails with is most often a broker that does not answer: the session is tried anew."""
    return UnavailableError("the Faust app ended", got=f"{type(error).__name__}: {error}")

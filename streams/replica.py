"""A second copy of a job's state, made of what the job has committed and of nothing else.

    progress.<job> ─ a commit: what was read, which clocks were moved ─ the same records ─ the same pipeline and step

So the copy is the job's own state at a *position*: after so many events stepped, in the job's order. By the job law
this is a function of the log, whatever the engine, the batches and the machines. A position is one whole number; what
was asked of the state at one can be asked again (`visit`), of a state made anew from the log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, count, takewhile
from typing import Any, Generic, TypeVar

import numpy as np

from streams import progress
from streams.engines.recovery import Positions, Recovered, Recovery, positions_of
from streams.engines.snapshot import Snapshot
from streams.journal import Moves
from streams.sources import Segments, sources_of
from tidemill import events
from tidemill.engine import Parts
from tidemill.errors import IncompatibleError, IntegrityError, SubmissionError, UnavailableError
from tidemill.events import ProgressMade
from tidemill.job import DeadRow, Effects, Job
from tidemill.log import Log, Partition, Record
from tidemill.order import Arrival, Batch
from tidemill.state import NO_STATES

S = TypeVar("S")

_log = logging.getLogger("tidemill.replica")

SLICE = 200
"""Events stepped at a time: whoever asks waits for no more."""

STALE = 60.0
"""Seconds for which a copy that cannot go on answers from what it has."""

UNREAD = "the job has not read the files that it began on to their end"
"""The problem of a copy that waits for its job."""

_BATCH, _BUFFERED = 50_000, 1_000_000
_LONGEST_PAUSE = 2.0


class Copied(Generic[S]):
    """The step of a copy: the job's own, in slices, silent. `between` is called before each slice with the state, the
    position, and how many events follow; it says how many to step at most."""

    def __init__(self, job: Job[S], between: Callable[[S, int, int], int]) -> None:
        if job.groups != 1:
            raise SubmissionError("a copy is of one state", where=f"job {job.name}", got=f"{job.groups} groups")
        self._job = job
        self.position = 0
        self.state: S = job.init()
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._between = between
        self.from_snapshot = False

    @property
    def job(self) -> Job[S]:
        """The job whose step this is. Not kept: it holds the copy, which would hold itself then, and a whole graph
        until the collector came by."""
        return replace(self._job, step=self._step)

    @contextmanager
    def held(self) -> Iterator[S]:
        """The state, which stays as it is meanwhile. Whoever waits for it waits for one slice."""
        with self._turn:
            self._lock.acquire()
        try:
            yield self.state
        finally:
            self._lock.release()

    def restored(self, out: Recovered) -> None:
        """A snapshot was taken up."""
        self.from_snapshot = True
        self.position, self.state = out.pipeline.counts.stepped, out.pipeline.states.get(0, self.state)

    def _step(self, state: S, batch: Batch) -> Effects[S]:
        dead: list[DeadRow] = []
        wake_at, at = None, 0
        while True:
            upto = min(len(batch), at + max(1, self._between(state, self.position, len(batch) - at)))
            last = upto == len(batch)
            piece = batch if last and not at else batch.take(np.arange(at, upto), batch.wake if last else None)
            # A lock that is let go and taken again at once is hardly ever had by who waits for it: they hold the turn.
            with self._turn:
                pass
            with self._lock:
                effects = self._job.step(state, piece)
                state = self.state = effects.state
                self.position += len(piece)
            dead += effects.dead
            wake_at, at = effects.wake_at, upto
            if last:
                return Effects(state, wake_at=wake_at, dead=dead)


class _Silent(Recovery):
    """Recovery of what emits nothing: only where it stands is compared. `restored` is told of a snapshot taken up."""

    restored: Callable[[Recovered], object] = staticmethod(lambda out: None)

    def _fresh(self, starts: Positions, after: int) -> Recovered:
        out = super()._fresh(starts, after)
        out.intake.hashing = False
        return out

    def _saved(self, snapshot: Snapshot, after: int) -> Recovered:
        out = super()._saved(snapshot, after)
        self.restored(out)
        return out

    def check(self, out: Recovered, committed: ProgressMade, *, rebuilt: bool = False) -> None:
        if not out.erasures.met:
            check_cut(out, committed)


def check_cut(found: Recovered, committed: ProgressMade) -> None:
    """Raises `IntegrityError` where a copy does not stand where the job did."""
    pipeline = found.pipeline
    got = (pipeline.watermark, pipeline.last, pipeline.counts.stepped, pipeline.counts.dead)
    wanted = (committed.watermark, committed.last, committed.stepped, committed.dead)
    if got != wanted:
        raise IntegrityError(
            f"the copy is not where commit {committed.sequence} stood",
            where=f"job {committed.job}",
            wanted=f"watermark, last event, events stepped, dead letters {wanted}",
            got=str(got),
            fix="The step is not deterministic, or the log was changed; check it with tidemill.checks.jobs.",
        )


class Replica(Generic[S]):
    """Follows `job` in a thread of its own (`start`, `close`); `parts` are those of an engine, of which the log, the
    streams, and for a long run `objects` and `archive`, are used. From a snapshot of the job's in its `store`, where
    there is one, it need not read what came before.

    `versioned`: it can be asked only once the job has cut a version in its present life, for what an earlier one
    learned is not of this state.
    """

    def __init__(self, job: Job[S], parts: Parts, *, versioned: bool = False) -> None:
        self._job = job
        self._copied = self._begun()
        self._parts = parts
        self._versioned = versioned
        self._failing: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tidemill-replica-{job.name}", daemon=True)
        self._ready = False
        self.name = job.name
        self.sequence = -1
        self.problem = "it has not read the log yet"
        """What keeps the copy from being asked, or from going on; empty where nothing does."""

    def start(self) -> None:
        self._thread.start()

    def close(self, *, wait: bool = True) -> None:
        """End the thread; without `wait` it ends by itself, soon."""
        self._stop.set()
        if wait and self._thread.is_alive():
            self._thread.join(35)

    def _begun(self) -> Copied[S]:
        return Copied(self._job, lambda state, position, left: SLICE)

    @property
    def position(self) -> int:
        return self._copied.position

    @property
    def ready(self) -> bool:
        """Whether it has been where the job stood, and can be asked. Where it must be made anew, the one before answers
        meanwhile; where it cannot go on, for `STALE` seconds, and not at all where it is not what the job has."""
        return self._ready

    @property
    def stale(self) -> float:
        """For how many seconds it could not go on; 0 where it does."""
        failing = self._failing
        return 0.0 if failing is None else time.monotonic() - failing

    @contextmanager
    def held(self) -> Iterator[tuple[S, int]]:
        """The state and its position; it stays as it is meanwhile. Raises `UnavailableError` until it is `ready`."""
        copied = self._copied
        with copied.held() as state:
            if not self._ready:
                raise UnavailableError("the state is not here yet", where=f"copy of job {self.name}", got=self.problem)
            yield state, copied.position

    def _run(self) -> None:
        pause = 0.1
        while not self._stop.is_set():
            try:
                self._follow()
                pause, self._failing = 0.1, None
            except Exception as error:
                # A thread that ended would leave old answers for ever, silently.
                self.problem = str(error)
                passing = isinstance(error, UnavailableError)
                _log.log(logging.INFO if passing else logging.ERROR, "copy of job %s: %s", self.name, error)
                self._failing = self._failing or time.monotonic()
                if isinstance(error, IntegrityError) or time.monotonic() - self._failing > STALE:
                    self._ready = False
                self._stop.wait(pause)
                pause = min(_LONGEST_PAUSE if passing else 30 * _LONGEST_PAUSE, pause * 2)

    def _follow(self) -> None:
        """Catch up with the last commit, then take each as it comes, until it can go on only from the beginning."""
        log, at = self._parts.log, progress.topic_of(self.name)
        end = log.end(at) if at.topic in log.topics() else 0
        committed = progress.last(log, self.name)
        caught = None if committed is None else self._caught_up(committed)
        if committed is None or caught is None:
            self._stop.wait(0.3)
            return
        copied, found = caught
        self.sequence = committed.sequence
        self._take(copied, committed)
        reader, segments = log.reader({at: end}), Segments(log, {})
        try:
            while not self._stop.is_set():
                made = _commits(reader.poll(1_000, 0.1), committed)
                following = [m for m, _ in takewhile(_is_next, zip(made, count(self.sequence + 1), strict=False))]
                # Several that are there at once: one by one, a copy that fell behind might never catch up.
                for few in _together(following, copied.position):
                    if self._stop.is_set():
                        return
                    _apply(found, few, segments)
                    self.sequence = few[-1].sequence
                    self._take(copied, few[-1])
                if len(following) < len(made):
                    _log.info("copy of job %s: it began anew, or commits are gone: copying anew", self.name)
                    return
                self._failing = None
        finally:
            reader.close()
            segments.close()

    def _take(self, copied: Copied[S], made: ProgressMade) -> None:
        """From now on it is this one that is asked, where it can be."""
        if self._versioned and not made.versions:
            self.problem = "the job has cut no version in its present life"
        elif self._copied is not copied or not self._ready:
            self._copied, self.problem, self._ready = copied, "", True

    def _caught_up(self, committed: ProgressMade) -> tuple[Copied[S], Recovered] | None:
        """The job at this commit, from its newest snapshot or from the beginning; None where it still reads the files
        that it began on."""
        self.problem = f"it is being made from the log, up to commit {committed.sequence}"
        try:
            copied = self._begun()
            found = recovered(copied.job, self._parts, committed, self._stop.is_set, copied.restored)
        except (IncompatibleError, IntegrityError) as error:
            if isinstance(error, IntegrityError) and not copied.from_snapshot:
                raise
            _log.info("copy of job %s: not from its snapshot: %s", self.name, error)
            copied = self._begun()
            found = recovered(copied.job, self._parts, committed, self._stop.is_set)
        if found is None:
            return None
        if not all(found.pipeline.active(p) for p in found.pipeline.sources if _is_own(found, p)):
            self.problem = UNREAD
            return None
        return copied, found


def visit(
    job: Job[S],
    parts: Parts,
    committed: ProgressMade,
    positions: Sequence[int],
    visited: Callable[[S, int], object],
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Make the job's state anew from the log up to `committed`, and call `visited` with the state at each of
    `positions` (ascending). It must leave the state as it is.

    How many events were erased on request, and so are absent: behind them positions are of other states, and the last
    are not reached. Raises `IntegrityError` where the log does not lead to the commit, or the positions lie beyond it.
    """
    left = list(reversed(positions))

    def between(state: S, position: int, following: int) -> int:
        while left and left[-1] == position:
            visited(state, left.pop())
        return min(following, left[-1] - position) if left else following

    copied = Copied(job, between)
    found = recovered(copied.job, parts, committed, stop)
    if found is None:
        return 0
    between(copied.state, copied.position, 0)
    if left and not found.erasures.met:
        raise IntegrityError(
            "positions that the job has not reached",
            where=f"job {job.name}",
            wanted=f"at most {copied.position}",
            got=str(left[0]),
        )
    return int(found.erasures.met)


def recovered(
    job: Job[Any],
    parts: Parts,
    committed: ProgressMade,
    stop: Callable[[], bool],
    restored: Callable[[Recovered], object] | None = None,
) -> Recovered | None:
    """A silent `job` at this commit; None where `stop` said so on the way. From the beginning, or where `restored` is
    given from a snapshot in the store of `parts`, of which that is told.

    Raises `IncompatibleError` where a snapshot is of another state, and as `check_cut` does.
    """
    histories: Mapping[str, Log] = {
        i.stream: parts.history(i.history, parts.streams[i.stream]) for i in job.reads if i.history and parts.history
    }
    recovery = _Silent(
        job,
        replace(parts, store=NO_STATES) if restored is None else parts,
        histories,
        sources_of(job, parts.streams, parts.log, histories),
        max_buffered=_BUFFERED,
        max_batch=_BATCH,
        stop=stop,
    )
    if restored is not None:
        recovery.restored = restored
    return recovery.recovered(committed)


def _commits(records: Sequence[Record], after: ProgressMade) -> list[ProgressMade]:
    """The commits that these records tell of, without what `after` covered."""
    made = [events.decode(record.value or b"") for record in records]
    return [m for m in made if isinstance(m, ProgressMade) and (m.sequence > after.sequence or m.time > after.time)]


def _is_next(commit: tuple[ProgressMade, int]) -> bool:
    return commit[0].sequence == commit[1]


def _together(made: Sequence[ProgressMade], stepped: int) -> Iterator[Sequence[ProgressMade]]:
    """Commits in a row, in parts in each of which the job stepped about a batch, after `stepped` events."""
    first = 0
    for i, one in enumerate(made):
        if one.stepped - stepped >= _BATCH or i + 1 == len(made):
            yield made[first : i + 1]
            first, stepped = i + 1, one.stepped


def _apply(found: Recovered, made: Sequence[ProgressMade], segments: Segments) -> None:
    """Take what commits in a row covered, at once."""
    until = positions_of(made[-1].offsets)
    if isinstance(found.pipeline.job.order, Arrival):
        spans, moves = progress.merged(chain.from_iterable(m.segments for m in made)), Moves([])
    else:
        # In which order partitions were read does not count, and not every engine says.
        at = found.positions
        spans = [(*p, at.get(p, end), end) for p, end in sorted(until.items()) if at.get(p, end) < end]
        moves = Moves(chain.from_iterable(m.moved for m in made))
    for partition, records in segments.runs(spans):
        moves.feed(found.intake, partition, records)
    moves.reach(found.intake, until)
    found.pipeline.step()
    found.positions = until
    if not found.erasures.met:
        check_cut(found, made[-1])


def _is_own(found: Recovered, partition: Partition) -> bool:
    """Whether it is one of the stream's own partitions, not of the files before it."""
    return not found.pipeline.sources[partition].history

"""Where a job goes on: at its birth, or exactly where its last commit stood.

A restarted job loads its newest snapshot and re-runs silently, emitting nothing, the records from there up to the
offsets last committed; a job without one, or whose state cannot be saved, re-runs them all. The step is deterministic,
so it must arrive at the committed cut with the committed counts; if it does not, it refuses to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from streams import progress
from streams.archived import ArchivedLog
from streams.engines.snapshot import Snapshot, check_fits
from streams.erasures import Erasures
from streams.intake import Intake, balance
from streams.journal import Entry, Journal, Moves, chain, decode, entries_of
from streams.pipeline import Pipeline, Source
from streams.sources import HISTORY, Segments, Sources
from tidemill import state as states
from tidemill.engine import Objects, Parts
from tidemill.errors import IncompatibleError, IntegrityError, UnavailableError
from tidemill.events import ProgressMade
from tidemill.job import Job
from tidemill.log import Log, Partition
from tidemill.order import Arrival
from tidemill.version import Span

Positions = dict[Partition, int]


class Recovered(msgspec.Struct):
    """A job's standing: everything a session goes on from."""

    pipeline: Any
    intake: Any
    erasures: Any
    sequence: int
    positions: Positions
    starts: Positions
    journal: Journal
    journaled: int
    deltas: dict[str, int]
    versions: dict[str, int]


class Recovery:
    """Brings a job back to its last commit. `stop` is asked between steps of the silent replay."""

    def __init__(
        self,
        job: Job[Any],
        parts: Parts,
        histories: Mapping[str, Log],
        sources: Sequence[Source],
        *,
        max_buffered: int,
        max_batch: int,
        stop: Callable[[], bool],
    ) -> None:
        self.job, self.parts, self.histories, self.sources = job, parts, histories, sources
        self._max_buffered, self._max_batch, self._stop = max_buffered, max_batch, stop
        self._arrival = isinstance(job.order, Arrival)
        self._log = parts.log

    def _fresh(self, starts: Positions, after: int) -> Recovered:
        pipeline = Pipeline(self.job, self.parts.streams, self.sources, after)
        erasures = Erasures()
        intake = Intake(self.job, self.parts.streams, self.sources, pipeline, erasures, self.parts.arrow_decode)
        return Recovered(pipeline, intake, erasures, 0, dict(starts), dict(starts), Journal(), -1, {}, {})

    def born(self) -> Recovered:
        """A job that never committed: from the first offsets kept, with every erasure known now, its versions numbered
        above those there are."""
        self.parts.store.clear(self.job.name)
        starts = {s.partition: 0 if s.history else self.parts.log.begin(s.partition) for s in self.sources}
        out = self._fresh(starts, self._newest())
        out.sequence = -1
        out.erasures.read(self.parts.log)
        return out

    def _newest(self) -> int:
        if self.parts.publisher is None:
            return 0
        return self.parts.publisher.newest(self.job.name, self.job.live.models(self.job.init()).keys())

    def recovered(self, committed: ProgressMade) -> Recovered | None:
        """The job at commit `committed`; None where `stop` said so on the way.

        Raises `IncompatibleError` where the job, its state or its partitions changed, `IntegrityError` where the
        silent replay does not arrive at the committed cut and counts, `GoneError` where records it needs are gone and
        no archive has them.
        """
        target = positions_of(committed.offsets)
        self._check_partitions(target)
        found = self.parts.store.load(self.job.name, committed.sequence)
        saved = None if found is None else states.decode(found[1], Snapshot)
        if saved is not None:
            check_fits(self.job, saved.fingerprint)
        rebuilt = saved is None or saved.pipeline is None or bool(self.job.cannot_save)
        if saved is None or rebuilt:
            out, entries = self._unsaved(committed, saved)
        else:
            out, entries = self._saved(saved, committed.after), []
        entries += self._entries(out, committed)
        if not (self._replay_segments(out, entries) if self._arrival else self._replay(out, target, entries)):
            return None
        out.positions, out.journaled = target, committed.journaled
        out.sequence = committed.sequence
        out.deltas, out.versions = dict(committed.deltas), dict(committed.versions)
        self.check(out, committed, rebuilt=rebuilt)
        return out

    def _check_partitions(self, target: Positions) -> None:
        now = {s.partition for s in self.sources}
        if now != target.keys():
            raise IncompatibleError(
                "the partitions that the job reads changed",
                where=f"job {self.job.name}",
                wanted=", ".join(f"{p.topic}/{p.number}" for p in sorted(target)),
                got=", ".join(f"{p.topic}/{p.number}" for p in sorted(now)),
                fix="Submit under a new name, or with --reset to learn again from the log.",
            )
        for s in self.sources:
            if not s.history and target[s.partition] > self.parts.log.end(s.partition):
                raise IntegrityError(
                    "the log ends before what the job has committed",
                    where=f"{s.partition.topic}/{s.partition.number}",
                    wanted=f"offset {target[s.partition]}",
                    got=str(self.parts.log.end(s.partition)),
                )

    def _saved(self, snapshot: Snapshot, after: int) -> Recovered:
        out = self._fresh(positions_of(snapshot.starts), after)
        out.pipeline.restore(snapshot.pipeline)
        out.intake.hashes |= {Partition(t, n): running for t, n, running in snapshot.hashes}
        out.erasures.read(self.parts.log, snapshot.erasures_at)
        out.positions = positions_of(snapshot.positions)
        out.sequence = snapshot.sequence
        out.journal = snapshot.journal
        return out

    def _unsaved(self, committed: ProgressMade, saved: Snapshot | None) -> tuple[Recovered, list[Entry]]:
        """A job at its beginning, with every erasure known now, and what its journal says of the way to `sequence`."""
        out = self._fresh(positions_of(committed.starts), committed.after)
        out.erasures.read(self.parts.log)
        spans = [
            Span(t, n, first, at) for (t, n, at), (_, _, first) in zip(committed.offsets, committed.starts, strict=True)
        ]
        self._log = ArchivedLog(
            self.parts.log, [s for s in spans if not s.topic.startswith(HISTORY)], self.parts.archive
        )
        if saved is not None:
            out.sequence, out.journal = saved.sequence, saved.journal
        elif committed.journal:
            chunk = decode(self._objects().get(committed.journal))
            out.sequence, out.journal = chunk.sequence, Journal(committed.journal)
        else:
            out.sequence = -1
        return out, [*(chain(out.journal.kept, self._objects().get) if out.journal.kept else ()), *out.journal.tail]

    def _objects(self) -> Objects:
        if self.parts.objects is None:
            raise IntegrityError("nothing here holds the record of its order", where=f"job {self.job.name}")
        return self.parts.objects

    def _entries(self, out: Recovered, committed: ProgressMade) -> list[Entry]:
        """What the journal says of the way from `out.sequence` to `committed`; `out.journal` then stands there too.

        Raises `IntegrityError` where the progress topic does not have it any more.
        """
        entries: list[Entry] = []
        after = out.sequence
        if committed.journaled <= after:
            return entries
        since = progress.since(self.parts.log, self.job.name, after)
        # A copy is made while the job goes on: what it has committed since is not of this cut.
        made = [one for one in since if one.sequence <= committed.sequence]
        if not made or made[0].sequence > after + 1:
            raise IntegrityError(
                "progress since the newest snapshot is gone, and with it the order of what was read",
                where=f"job {self.job.name}",
                wanted=f"commits from {after + 1} on",
                got=f"from {made[0].sequence} on" if made else "none",
                fix="Submit it with --reset to learn again from the log.",
            )
        for one in made:
            entries += entries_of(one, self._arrival)
            out.journal.follow(one, segments=self._arrival)
        return entries

    def _replay(self, out: Recovered, target: Positions, moved: Sequence[Entry]) -> bool:
        moves = Moves(moved)
        moves.reach(out.intake, out.positions)
        sources = Sources(self.sources, self._log, self.histories, out.positions, until=target)
        silent = rows = 0
        try:
            while not sources.done():
                if self._stop():
                    return False
                runs = sources.poll(self._max_batch, 1.0)
                silent = 0 if runs else silent + 1
                for partition, records in runs:
                    rows += moves.feed(out.intake, partition, records)[0]
                moves.reach(out.intake, sources.positions())
                for stream in sources.ended():
                    out.pipeline.finish_history(stream)
                if rows >= self._max_batch or not runs or sources.paused:
                    out.pipeline.step()
                    rows = 0
                balance(sources, out.pipeline, self._max_buffered)
                if silent >= 30:
                    raise UnavailableError("the log gives no more records", where=f"silent replay of {self.job.name}")
        finally:
            sources.close()
        for stream in sources.ended():
            out.pipeline.finish_history(stream)
        out.pipeline.step()
        return True

    def _replay_segments(self, out: Recovered, segments: Sequence[Entry]) -> bool:
        reader = Segments(self._log, self.histories)
        try:
            for partition, records in reader.runs(segments):
                if self._stop():
                    return False
                if not out.pipeline.sources[partition].history:
                    for stream in self.histories:  # all of them were read before anything else
                        out.pipeline.finish_history(stream)
                out.intake.take(partition, records)
                if out.pipeline.buffered >= self._max_batch:
                    out.pipeline.step()
        finally:
            reader.close()
        out.pipeline.step()
        return True

    def check(self, out: Recovered, committed: ProgressMade, *, rebuilt: bool = False) -> None:
        """Raises `IntegrityError` where the replay did not arrive at the cut and counts of `committed`."""
        if rebuilt and out.erasures.met:
            return  # the first run may have seen what was erased since
        counts = out.pipeline.counts
        got = {
            "watermark": out.pipeline.watermark,
            "last": out.pipeline.last,
            "emitted": counts.emitted,
            "dead": counts.dead,
        }
        wanted = {
            "watermark": committed.watermark,
            "last": committed.last,
            "emitted": committed.emitted,
            "dead": committed.dead,
        }
        if got != wanted:
            name = next(n for n in got if got[n] != wanted[n])
            raise IntegrityError(
                f"the silent replay did not arrive where commit {committed.sequence} stood: {name} differs",
                where=f"job {self.job.name}",
                wanted=str(wanted[name]),
                got=str(got[name]),
                fix="The step is not deterministic, or the log was changed; check it with tidemill.checks.jobs.",
            )


def positions_of(offsets: Sequence[tuple[str, int, int]]) -> Positions:
    """Positions from plain data."""
    return {Partition(topic, number): at for topic, number, at in offsets}

"""The local engine: runs a job in this process, exactly once, over any log.

Outputs, dead letters, live state, the progress record and the consumer offsets commit in one transaction under the
identity `tidemill.<job>`. The job's state is snapshotted beside it and caught up by silent re-runs, so nothing needs
two-phase agreement between disk and log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from streams.engines.patience import Patience, patiently
from streams.engines.prepare import check_settings, make_topics
from streams.engines.session import Session
from streams.engines.snapshot import Snapshot, check_fits
from streams.engines.status import Status
from streams.sources import sources_of
from tidemill import state as states
from tidemill.engine import EngineKind, Parts, refuse_unless_fit
from tidemill.job import NEEDS, Job
from tidemill.log import Log


class LocalEngine(EngineKind):
    """An `Engine` in this process. `max_buffered` bounds the events that wait for the watermark, `max_batch` those of
    one step; `snapshot_every` is seconds between snapshots, which bounds how much a restart re-runs; where taking one
    keeps the job for more than a 200th of that, they come at 200 times what it takes; `unknown_for` is
    for how many seconds the log may not know a topic that it was told to make."""

    name: ClassVar[str] = "local"
    provides: ClassVar[frozenset[str]] = frozenset(NEEDS) - {"rescale"}
    options: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        max_buffered: int = 1_000_000,
        max_batch: int = 50_000,
        snapshot_every: float = 10.0,
        unknown_for: float = 60.0,
    ) -> None:
        self.max_buffered = max_buffered
        self.max_batch = max_batch
        self.snapshot_every = snapshot_every
        self.unknown_for = unknown_for

    @staticmethod
    def check_saved(job: Job[Any], saved: bytes) -> None:
        """Raises `IncompatibleError`, naming what differs, where the snapshot is of a job that `job` cannot go on
        from."""
        check_fits(job, states.decode(saved, Snapshot).fingerprint)

    def run(self, job: Job[Any], parts: Parts, stop: Callable[[], bool]) -> None:
        """Run until `stop()`. While the log does not answer it waits and tries again.

        Raises `SubmissionError` for settings that cannot work, `IncompatibleError` where the saved state does not fit,
        `FencedError` where another process runs this job, `GoneError` and `IntegrityError` where the log no longer
        holds what the job needs or the step is not deterministic, and `StepError` where the step raises. It is tried
        once more then, event by event, so that the one it raises on is named.
        """
        refuse_unless_fit(job, self, [self])
        check_settings(job, parts)
        histories = _histories(job, parts)
        status = Status(job, parts.log, parts.report)
        job.warm()

        def attempt(careful_until: int) -> None:
            make_topics(job, parts)
            sources = sources_of(job, parts.streams, parts.log, histories)
            Session(
                job,
                parts,
                stop,
                status,
                histories,
                sources,
                max_buffered=self.max_buffered,
                max_batch=self.max_batch,
                snapshot_every=self.snapshot_every,
                careful_until=careful_until,
            ).run()

        patiently(attempt, Patience(self.unknown_for), status, stop)


def _histories(job: Job[Any], parts: Parts) -> Mapping[str, Log]:
    assert parts.history is not None or not any(i.history for i in job.reads)
    return {
        i.stream: parts.history(i.history, parts.streams[i.stream]) for i in job.reads if i.history and parts.history
    }

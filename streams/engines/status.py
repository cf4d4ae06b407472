"""What a running job tells of itself, about once a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import psutil

from streams.live import LiveState
from streams.pipeline import Pipeline
from streams.sources import Reading
from tidemill.errors import UnavailableError
from tidemill.events import ProgressMade
from tidemill.job import Job
from tidemill.log import Log
from tidemill.time import MIN_TIME

_EVERY = 1.0


class Status:
    """Collects figures and hands them to `report`: plain values only, times in UTC microseconds."""

    def __init__(self, job: Job[Any], log: Log, report: Callable[[dict[str, Any]], None]) -> None:
        self.state = "starting"
        self._job, self._log, self._report = job.name, log, report
        self._error = self._unkept = ""
        self._replayed = bool(job.cannot_save)
        self._facts: dict[str, Any] = {"rebuilt_by_replay": job.cannot_save} if job.cannot_save else {}
        self._told = 0.0
        self._before = (time.monotonic(), 0)

    def failed(self, error: Exception) -> None:
        """What was begun is tried again; the error is shown until a commit succeeds after it."""
        self._error = _said(error)
        self._told = 0.0

    def unkept(self, error: Exception) -> None:
        """A snapshot could not be kept, and commits go on; shown until one is kept after it."""
        self._unkept = _said(error)
        self._told = 0.0

    def waiting(self, seconds: float) -> None:
        """The log does not answer; trying again in `seconds`."""
        self.state = "waiting"
        self._report(self._known() | {"retry_in": seconds})

    def recovering(self) -> None:
        """The silent replay goes on; told where a second has passed since the last report."""
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            self._report(self._known())

    def committed(self, now: int, made: ProgressMade, live: LiveState) -> None:
        self._facts |= {
            "last_commit": now,
            "sequence": made.sequence,
            "deltas": dict(live.sequences),
            "versions": dict(live.versions),
        }
        self._error = ""

    def checkpointed(self, now: int, sequence: int) -> None:
        """A snapshot is kept: of a job rebuilt by replay not one that it could begin at."""
        if not self._replayed:
            self._facts |= {"last_checkpoint": now, "checkpoint_sequence": sequence}
        self._unkept = ""

    def tell(self, pipeline: Pipeline[Any], sources: Reading, read: int, *, force: bool = False) -> None:
        """Report, where a second has passed since the last report."""
        now = time.monotonic()
        if now - self._told < _EVERY and not force:
            return
        counts = pipeline.counts
        since, before = self._before
        rate = (counts.stepped - before) / (now - since) if now > since else 0.0
        self._told, self._before = now, (now, counts.stepped)
        held = pipeline.held_by()
        self._report(
            self._known()
            | msgspec.to_builtins(counts)
            | {
                "lag": self._lag(sources),
                "records": read,
                "events_per_second": round(max(rate, 0.0), 1),
                "buffered": pipeline.buffered,
                "watermark": None if pipeline.watermark == MIN_TIME else pipeline.watermark,
                "held_by": "" if held is None else f"{held.topic}/{held.number}",
                "paused": [f"{p.topic}/{p.number}" for p in sorted(sources.paused)],
                "groups": len(pipeline.states),
                "memory": psutil.Process().memory_info().rss,
            }
        )

    def _known(self) -> dict[str, Any]:
        """What holds whatever the job does just now."""
        error = self._error or self._unkept
        return self._facts | {"job": self._job, "state": self.state, "last_error": error}

    def _lag(self, sources: Reading) -> dict[str, int | None]:
        """Records not yet read, by partition; None where the log cannot say."""
        lag: dict[str, int | None] = {}
        for p, at in sorted(sources.positions().items()):
            try:
                lag[f"{p.topic}/{p.number}"] = max(0, sources.end(p) - at)
            except UnavailableError:
                lag[f"{p.topic}/{p.number}"] = None
        return lag


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

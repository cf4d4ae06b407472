"""What the topic `jobs` says: which jobs there are, and what is wanted of each."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import msgspec

from tidemill import events
from tidemill.errors import BadEvent, DeclarationError, NotFoundError
from tidemill.events import JobChanged
from tidemill.log import Log, Partition, TopicSpec
from tidemill.stream import check_name
from tidemill.time import Clock
from tidemill_app.home import Home, write_atomically
from tidemill_app.telling import tell

TOPIC = "jobs"
REMOVED = "removed"
"""What is wanted of a job that shall be no more; a later submission makes it anew."""


class JobTable:
    """What is wanted of each job, and with what outcome; `refresh` reads on."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        log.create(TOPIC, TopicSpec(compacted=True))
        self._at = Partition(TOPIC, 0)
        self._reader = log.reader({self._at: log.begin(self._at)})
        self.jobs: dict[str, JobChanged] = {}

    def refresh(self, wait: float = 0.0) -> list[JobChanged]:
        """Read to the end of the topic; waits up to `wait` seconds for something new. Returns what came."""
        came: list[JobChanged] = []
        end = self._log.end(self._at)
        while True:
            behind = self._reader.positions()[self._at] < end
            records = self._reader.poll(1000, 1.0 if behind else wait)
            for record in records:
                # A record of somebody else's in this topic is passed over: it cannot be a wish about a job.
                with contextlib.suppress(BadEvent, DeclarationError):
                    event = events.decode(record.value or b"")
                    if isinstance(event, JobChanged):
                        # The name becomes part of paths in the home.
                        check_name(event.job, "job")
                        if self._take(event):
                            came.append(event)
            if not behind or not records:
                return came

    def _take(self, event: JobChanged) -> bool:
        if event.answers:
            wish = self.jobs.get(event.job)
            if wish is None or wish.id != event.answers:
                return False  # the outcome of a wish that is no longer the newest
            event = msgspec.structs.replace(wish, wanted=event.wanted, reason=event.reason)
        if event.wanted == REMOVED:
            return self.jobs.pop(event.job, None) is not None
        self.jobs[event.job] = event
        return True

    @property
    def position(self) -> int:
        """The offset that is read next."""
        return self._reader.positions()[self._at]

    def get(self, job: str) -> JobChanged:
        """Raises `NotFoundError`, naming the jobs there are."""
        try:
            return self.jobs[job]
        except KeyError:
            known = ", ".join(sorted(self.jobs)) or "none yet"
            raise NotFoundError(f"no job {job!r}", wanted=f"one of: {known}", fix="See `tidemill jobs`.") from None

    def change(self, job: str, **values: Any) -> JobChanged:
        """Publish what is wanted of `job` now; what is not given stays as it was."""
        now = self._clock.now()
        before = self.jobs.get(job)
        fixed: dict[str, Any] = {"id": f"{job}/{now}", "time": now, "source": "/tidemill/jobs", "job": job}
        event = JobChanged(**fixed, **values) if before is None else msgspec.structs.replace(before, **(fixed | values))
        tell(self._log, TOPIC, event, job)
        self._take(event)
        return event

    def failed(self, wish: JobChanged, reason: str) -> None:
        """Publish that `wish` cannot be fulfilled; a newer wish, known here or not, stays as it is."""
        now = self._clock.now()
        event = JobChanged(
            id=f"{wish.job}/{now}",
            time=now,
            source="/tidemill/jobs",
            job=wish.job,
            wanted="failed",
            reason=reason,
            answers=wish.id,
        )
        tell(self._log, TOPIC, event, f"{wish.job}/outcome")
        self._take(event)

    def close(self) -> None:
        self._reader.close()


class JobFiles:
    """What a job's process leaves in the home: its status and its log."""

    def __init__(self, home: Home, job: str) -> None:
        self.folder = home.path / "jobs" / job
        self.log = home.logs / f"job-{job}.log"

    @property
    def status(self) -> Path:
        return self.folder / "status.json"

    def write_status(self, status: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self.status, msgspec.json.encode(status | {"reported": time.time()}, enc_hook=str))

    def read_status(self) -> dict[str, Any]:
        """The last status reported; empty where there is none."""
        try:
            return dict(msgspec.json.decode(self.status.read_bytes()))
        except (FileNotFoundError, msgspec.DecodeError):
            return {}

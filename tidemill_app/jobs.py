"""The verbs of jobs: what the command line and the control server do with a job, one method each.

`PlatformJobs` does it here; `client.ControlClient` has a control server do it. Neither the command line nor the server
knows a way around them, so whatever one can do the other can too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import msgspec

from tidemill.events import JobChanged
from tidemill.time import to_rfc3339
from tidemill_app.job_table import JobFiles
from tidemill_app.log_lines import LogLines

if TYPE_CHECKING:
    from tidemill_app.cli import Output
    from tidemill_app.client import ControlClient
    from tidemill_app.job_file import Target
    from tidemill_app.wiring import Platform

MAX_WAIT = 300.0
MAX_LINES = 10_000
Wait = Annotated[float, msgspec.Meta(ge=0, le=MAX_WAIT)]
"""Seconds to wait until what was asked for is so; 0 does not wait."""

POLL = 0.2
"""Seconds between two looks at a log that is followed."""


class Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Commit, snapshot and end. With `savepoint` say where the snapshot is, which another start may name."""

    wait: Wait = 60.0
    savepoint: bool = False


class Start(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Go on where it left off; or at a savepoint, once: what was made since then is made again."""

    wait: Wait = 60.0
    savepoint: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class Savepoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Commit and snapshot, and go on."""

    wait: Annotated[float, msgspec.Meta(gt=0, le=MAX_WAIT)] = 60.0


class Rescale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Go on at another parallelism."""

    parallelism: Annotated[int, msgspec.Meta(ge=1, le=32_768)]
    wait: Wait = 60.0


class Remove(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Forget a stopped job; with `purge` delete its own topics; with `dry` only say what would become of them."""

    purge: bool = False
    dry: bool = False


class Submitted(msgspec.Struct, frozen=True):
    """What became of a submission: `bundle` is the digest of the code, `files` what it holds, `notes` what is to be
    known of the job beside, in sentences."""

    job: str
    engine: str
    bundle: str
    files: list[str]
    state: str
    notes: list[str] = []


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a verb. `checkpoint_sequence` is that of the snapshot, where one was taken; `savepoint` where it
    is."""

    job: str
    state: str
    checkpoint_sequence: int | None = None
    savepoint: str = ""


class Removed(msgspec.Struct, frozen=True):
    """What became of a removed job's topics."""

    job: str
    deleted: list[str]
    kept: list[str]


class Jobs(Protocol):
    """The jobs there are, and what can be done with one. Errors are those of `submission`."""

    def submit(
        self,
        target: Target,
        engine: str,
        *,
        include: Sequence[str],
        options: Mapping[str, str],
        reset: bool,
        wait: float,
    ) -> Submitted: ...

    def all(self) -> list[dict[str, Any]]: ...

    def show(self, name: str) -> dict[str, Any]: ...

    def logs(self, name: str, lines: int, follow: bool) -> Iterator[str]: ...

    def stop(self, name: str, ask: Stop) -> Outcome: ...

    def start(self, name: str, ask: Start) -> Outcome: ...

    def savepoint(self, name: str, ask: Savepoint) -> Outcome: ...

    def rescale(self, name: str, ask: Rescale) -> Outcome: ...

    def remove(self, name: str, ask: Remove) -> Removed: ...

    def engines(self) -> dict[str, list[str]]: ...


class PlatformJobs:
    """The jobs of this home's platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def submit(
        self,
        target: Target,
        engine: str,
        *,
        include: Sequence[str],
        options: Mapping[str, str],
        reset: bool,
        wait: float,
    ) -> Submitted:
        from tidemill_app.submission import submit

        wish, files, notes = submit(self._platform, target, engine, include=include, options=options, reset=reset)
        return self.submitted(wish, files, notes, wait)

    def submitted(self, wish: JobChanged, files: list[str], notes: list[str], wait: float) -> Submitted:
        """The answer to a submission that was recorded, after the wait for it to run."""
        from tidemill_app.submission import wait_until

        status = wait_until(self._platform, wish, wait) if wait else {}
        return Submitted(wish.job, wish.engine, wish.bundle, files, status.get("state", "submitted"), notes)

    def all(self) -> list[dict[str, Any]]:
        return [self._summary(wish) for _, wish in sorted(self._platform.jobs().jobs.items())]

    def show(self, name: str) -> dict[str, Any]:
        return self._summary(self._platform.jobs().get(name))

    def logs(self, name: str, lines: int, follow: bool) -> Iterator[str]:
        log = self.log(name, lines)
        yield from log.read()
        while follow:
            time.sleep(POLL)
            yield from log.read()

    def log(self, name: str, lines: int) -> LogLines:
        """What the job's process writes."""
        self._platform.jobs().get(name)
        return LogLines(JobFiles(self._platform.home, name).log, lines)

    def stop(self, name: str, ask: Stop) -> Outcome:
        from tidemill_app.submission import stop

        status = stop(self._platform, name, ask.wait, savepoint=ask.savepoint)
        return _outcome(name, "stopped", ask.wait, status, status.get("savepoint", "") if ask.savepoint else "")

    def start(self, name: str, ask: Start) -> Outcome:
        from tidemill_app.submission import start

        return _outcome(name, "running", ask.wait, start(self._platform, name, ask.wait, savepoint=ask.savepoint))

    def savepoint(self, name: str, ask: Savepoint) -> Outcome:
        from tidemill_app.submission import savepoint

        return Outcome(name, "running", savepoint(self._platform, name, ask.wait))

    def rescale(self, name: str, ask: Rescale) -> Outcome:
        from tidemill_app.submission import rescale

        status = rescale(self._platform, name, ask.parallelism, ask.wait)
        return Outcome(name, status.get("state", "to be rescaled"))

    def remove(self, name: str, ask: Remove) -> Removed:
        from tidemill_app.removing import plan, remove

        what = plan(self._platform, name)
        if not ask.dry:
            remove(self._platform, what, purge=ask.purge)
        deleted, kept = (what.own, what.kept) if ask.purge else ([], [*what.own, *what.kept])
        return Removed(name, deleted, kept)

    def engines(self) -> dict[str, list[str]]:
        return provided()

    def _summary(self, wish: JobChanged) -> dict[str, Any]:
        status = JobFiles(self._platform.home, wish.job).read_status()
        # A status file outlives its process: what is not running reports nothing now.
        state = status.get("state", "starting") if wish.wanted == "running" else wish.wanted
        facts: dict[str, Any] = {"job": wish.job, "state": state, "engine": wish.engine, "file": wish.file}
        facts |= {k: v for k, v in status.items() if k not in ("job", "state")}
        lag = status.get("lag") or {}
        facts["total_lag"] = sum(v for v in lag.values() if v)
        for key, name_at in (("last_commit", "committed_at"), ("last_checkpoint", "checkpoint_at")):
            if status.get(key):
                facts[name_at] = to_rfc3339(status[key])
        if wish.wanted == "running" and status.get("reported", 0) and time.time() - status["reported"] > 10:
            facts["state"] = "not reporting"
        facts["options"] = wish.options
        facts["reason"] = wish.reason
        facts["bundle"] = wish.bundle
        return facts


def _outcome(name: str, wanted: str, wait: float, status: dict[str, Any], savepoint: str = "") -> Outcome:
    return Outcome(name, wanted if wait else f"to be {wanted}", status.get("checkpoint_sequence"), savepoint)


def provided() -> dict[str, list[str]]:
    """What each engine that is installed here provides."""
    from tidemill_app.engines import engines

    return {name: sorted(engine.provides) for name, engine in engines().items()}


def options_taken() -> dict[str, list[str]]:
    """The options that each engine that is installed here takes."""
    from tidemill_app.engines import engines

    return {name: sorted(engine.options) for name, engine in engines().items()}


@contextmanager
def jobs_of(out: Output) -> Iterator[Jobs]:
    """The jobs a command is about: those of the control server that `TIDEMILL_CONTROL` names, unless the command was
    given a home; otherwise those of the home."""
    client = client_of(out)
    if client is not None:
        with client:
            yield client
    else:
        from tidemill_app.wiring import connected

        with connected(out) as platform:
            yield PlatformJobs(platform)


def client_of(out: Output) -> ControlClient | None:
    """The client of the control server that a command is to use, if it is to use one."""
    from tidemill_app import config

    settings = config.load(out.home)
    if not settings.control or out.home is not None:
        return None
    from tidemill_app.client import ControlClient

    return ControlClient(settings.control, settings.control_token.reveal(), settings.control_cafile)

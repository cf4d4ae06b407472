"""Submitting a job: everything that can be refused is refused here, before anything is changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tidemill.engine import refuse_unless_fit
from tidemill.errors import IncompatibleError, NotFoundError, UnavailableError, UserError
from tidemill.events import JobChanged
from tidemill.job import Job
from tidemill.state import StateStore, decode
from tidemill.time import SECOND
from tidemill_app.alive import living
from tidemill_app.bundle import SIGNED, pack
from tidemill_app.config import up_command
from tidemill_app.job_file import Target, load_job
from tidemill_app.job_table import JobFiles
from tidemill_app.run_job import engines
from tidemill_app.supervisor import NAME as SUPERVISOR
from tidemill_app.wiring import Platform

ALONE_SECONDS = 5.0
"""For how long a home may be without a supervisor while something is waited for: one may just be starting."""

STILL_SECONDS = 5.0
"""A process that has reported within this time may be alive: they report once a second."""


def submit(
    platform: Platform, target: Target, engine: str, *, include: Sequence[str] = (), reset: bool = False
) -> tuple[JobChanged, list[str]]:
    """Submit the job of `target` to `engine`; what was recorded, and the files that were packed (see `bundle.pack`).

    Raises `SubmissionError` where the file makes no job or the engine cannot run it, `NotFoundError` for an unknown
    engine or stream, `IncompatibleError` where a job of that name has a state that the changed job cannot take over
    (unless `reset`, which forgets the state so that the job learns again from the log).
    """
    from streams.engines.local import check_settings
    from streams.state_store import FolderStore
    from tidemill_app.run_job import parts_of

    job = load_job(target.path, target.function)
    there = engines()
    if engine not in there:
        raise NotFoundError(f"no engine {engine!r}", wanted=f"one of {', '.join(sorted(there))}")
    refuse_unless_fit(job, there[engine], list(there.values()))
    bundle = pack(target, include)
    wish = JobChanged(id="", time=0, job=job.name, wanted="running", file=bundle.entry)
    check_settings(job, parts_of(platform, job, wish, lambda status: None))
    table = platform.jobs()
    before = table.jobs.get(job.name)
    if reset and before is not None and before.wanted == "running":
        raise IncompatibleError(
            "the job is running", where=f"job {job.name}", fix=f"First run `tidemill job stop {job.name}`."
        )
    if reset and before is not None and before.wanted == "stopped":
        status = JobFiles(platform.home, job.name).read_status()
        if status.get("state") != "stopped" and time.time() - status.get("reported", 0.0) < STILL_SECONDS:
            raise IncompatibleError("the job is still stopping", where=f"job {job.name}", fix="Try again in a moment.")
    if reset:
        forget(platform, job.name)
    else:
        _check_saved(job, FolderStore(platform.home.path / "state"))
    digest = platform.artefacts.put_signed(SIGNED, bundle.encode())
    changed = table.change(job.name, wanted="running", bundle=digest, file=bundle.entry, engine=engine, reason="")
    return changed, list(bundle.files)


def _check_saved(job: Job[Any], store: StateStore) -> None:
    from streams.engines.snapshot import Snapshot, check_fits

    saved = store.load(job.name)
    if saved is not None:
        check_fits(job, decode(saved[1], Snapshot).fingerprint)


def forget(platform: Platform, name: str) -> None:
    """Forget a stopped job's snapshots and progress, so that it begins at the log's beginning again."""
    from streams.state_store import FolderStore

    FolderStore(platform.home.path / "state").clear(name)
    platform.delete_topic(f"progress.{name}")


def set_wanted(platform: Platform, name: str, wanted: str, seconds: float) -> dict[str, Any]:
    """Say that job `name` shall be `running` or `stopped`, and wait until it is; its status. 0 seconds: do not wait."""
    table = platform.jobs()
    table.get(name)
    wish = table.change(name, wanted=wanted, reason="")
    return wait_until(platform, wish, seconds) if seconds else {}


def savepoint(platform: Platform, name: str, seconds: float) -> int:
    """Have a running job commit and snapshot: it is stopped and started. The sequence of the snapshot.

    Raises `UserError` where it does not run, `UnavailableError` as `wait_until`.
    """
    if platform.jobs().get(name).wanted != "running":
        raise UserError("the job does not run", where=f"job {name}", fix=f"First run `tidemill job start {name}`.")
    stopped = set_wanted(platform, name, "stopped", seconds)
    set_wanted(platform, name, "running", seconds)
    if "checkpoint_sequence" not in stopped:
        raise UnavailableError("no snapshot was taken", where=f"job {name}", fix=f"See `tidemill job logs {name}`.")
    return int(stopped["checkpoint_sequence"])


def wait_until(platform: Platform, wish: JobChanged, seconds: float) -> dict[str, Any]:
    """Wait until the job reports that it is as `wish` wants it; its status. What the process reports that ran before
    with other code does not count.

    Raises `UnavailableError` where it does not within `seconds`, or fails; with the reason. Where no supervisor is
    there to see to it, that is said without waiting any longer.
    """
    name, state = wish.job, wish.wanted
    own = {"bundle": wish.bundle, "file": wish.file, "engine": wish.engine, "options": wish.options}
    table, files = platform.jobs(), JobFiles(platform.home, name)
    begun = time.monotonic()
    while True:
        table.refresh(wait=0.1)
        now, status = table.get(name), files.read_status()
        if now.wanted == "failed":
            raise UnavailableError(
                "the job failed", where=f"job {name}", got=now.reason, fix=f"See `tidemill job logs {name}`."
            )
        ours = state == "stopped" or own.items() <= status.items()
        if ours and status.get("state") == state and status.get("reported", 0) * SECOND >= wish.time:
            return status
        waited = time.monotonic() - begun
        if waited > min(seconds, ALONE_SECONDS) and not living(platform.home, SUPERVISOR):
            raise UnavailableError(
                f"it is recorded that the job shall be {state}, but no supervisor of this home runs to see to it",
                where=f"job {name}",
                fix=f"Run `{up_command(platform.connection.settings)}`.",
            )
        if waited > seconds:
            raise UnavailableError(
                f"not {state} after {seconds:.0f} s", where=f"job {name}", fix=f"See `tidemill job logs {name}`."
            )

"""Submitting a job: everything that can be refused is refused here, before anything is changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.engine import refuse_unless_fit
from tidemill.errors import IncompatibleError, UnavailableError, UserError
from tidemill.events import JobChanged
from tidemill.job import Job, stays_single
from tidemill.time import SECOND
from tidemill_app.alive import living
from tidemill_app.bundle import SIGNED, pack
from tidemill_app.config import up_command
from tidemill_app.engines import check_options, engines, every, host_of, kind_of
from tidemill_app.job_file import Target, load_job
from tidemill_app.job_table import JobFiles, JobTable
from tidemill_app.supervisor import NAME as SUPERVISOR
from tidemill_app.wiring import Platform

_NONE: Mapping[str, str] = {}

ALONE_SECONDS = 5.0
"""For how long a home may be without a supervisor while something is waited for: one may just be starting."""

STILL_SECONDS = 5.0
"""A process that has reported within this time may be alive: they report once a second."""


def submit(
    platform: Platform,
    target: Target,
    engine: str,
    *,
    include: Sequence[str] = (),
    options: Mapping[str, str] = _NONE,
    reset: bool = False,
) -> tuple[JobChanged, list[str], list[str]]:
    """Submit the job of `target` to `engine`; what was recorded, the files that were packed (see `bundle.pack`), and
    what to know beside.

    Raises `SubmissionError` where the file makes no job, and as `check`.
    """
    job = load_job(target.path, target.function)
    bundle = pack(target, include)
    notes = check(platform, job, bundle.entry, engine, options=options, reset=reset)
    digest = platform.artefacts.put_signed(SIGNED, bundle.encode())
    how = {"options": options, "reset": reset, "endpoint": endpoint_of(job)}
    wish = record(platform, job.name, digest, bundle.entry, engine, **how)  # type: ignore[arg-type]
    return wish, list(bundle.files), notes


def check(
    platform: Platform,
    job: Job[Any],
    entry: str,
    engine: str,
    *,
    options: Mapping[str, str] = _NONE,
    reset: bool = False,
) -> list[str]:
    """Refuse what cannot run; nothing is changed. What whoever submits the job is to know of it beside, in sentences.

    Raises `SubmissionError` where the engine cannot run the job or takes no such option, `NotFoundError` for an unknown
    engine or stream, `IncompatibleError` where a job of that name has a state that the changed job cannot take over
    (unless `reset`, which forgets the state so that the job learns again from the log), or `reset` meets one that runs,
    or another job that runs has its endpoint; and as the engine's `Host.check`.
    """
    from streams.engines.prepare import check_settings
    from tidemill_app.run_job import parts_of

    there = engines()
    check_options(engine, job.name, options)
    refuse_unless_fit(job, there[engine], list(there.values()))
    wish = JobChanged(id="", time=0, job=job.name, wanted="running", file=entry, options=dict(options))
    check_settings(job, parts_of(platform, job, wish, lambda status: None))
    check_endpoint(platform.jobs(), job.name, endpoint_of(job))
    if reset:
        check_at_rest(platform, job.name)
    saved = None if reset else _check_saved(platform, job, engine)
    return _notes(platform, job, options) + host_of(engine).check(platform, job.name, options, saved)


def record(
    platform: Platform,
    name: str,
    digest: str,
    entry: str,
    engine: str,
    *,
    options: Mapping[str, str] = _NONE,
    reset: bool = False,
    endpoint: str = "",
) -> JobChanged:
    """Have job `name` run by the stored, signed bundle `digest`; what was recorded. With `reset` its state is forgotten
    first. To be called with what `check` has let pass."""
    if reset:
        check_at_rest(platform, name)
        forget(platform, name)
    return platform.jobs().change(
        name,
        wanted="running",
        bundle=digest,
        file=entry,
        engine=engine,
        options=dict(options),
        reason="",
        endpoint=endpoint,
    )


def endpoint_of(job: Job[Any]) -> str:
    """The name of the job's endpoint; empty where it has none."""
    return "" if job.endpoint is None else job.endpoint.name


def check_endpoint(table: JobTable, name: str, endpoint: str) -> None:
    """Raises `IncompatibleError` where another job than `name` runs and has the endpoint of that name: requests to it
    would be answered by another model all at once. From a job that was stopped an endpoint is taken over."""
    for other, wish in table.jobs.items():
        if endpoint and other != name and wish.wanted == "running" and wish.endpoint == endpoint:
            raise IncompatibleError(
                f"endpoint {endpoint} is that of a job that runs",
                where=f"job {name}",
                got=f"job {other}",
                fix=f"Name another endpoint=, or first run `tidemill job stop {other}`.",
            )


def _notes(platform: Platform, job: Job[Any], options: Mapping[str, str]) -> list[str]:
    """What is to be said of a job that can be taken on."""
    notes = []
    if stays_single(job):
        notes.append("One global model whose merge is not exact: it runs at parallelism 1, whatever the engine.")
    elif (asked := int(options.get("parallelism", 1))) > job.groups:
        notes.append(f"It has {job.groups} groups, so no more than {job.groups} of {asked} tasks ever step at once.")
    if not job.cannot_save:
        return notes
    notes.append(f"No snapshots are kept: rebuilt by replay of all its input after a restart ({job.cannot_save}).")
    topics = [spec.topic for spec in platform.specs_of(job).values() if spec.topic in platform.log.topics()]
    if lost := [topic for topic in topics if platform.forgets(topic)]:
        notes.append(
            f"{', '.join(lost)} forgets: each version archives what was read up to it; what Kafka removes before that "
            "cannot be replayed, and the job then stops at its next restart. To keep all, raise the topic's retention."
        )
    return notes


def check_at_rest(platform: Platform, name: str, table: JobTable | None = None) -> None:
    """Raises `IncompatibleError` where a process of the job may be running, as `table` has it where one was read, or
    the job elsewhere without one; `UnavailableError` where the latter cannot be seen."""
    before = (table or platform.jobs()).jobs.get(name)
    if before is not None and before.wanted == "running":
        raise IncompatibleError("the job is running", where=f"job {name}", fix=f"First run `tidemill job stop {name}`.")
    if before is not None and before.wanted == "stopped":
        status = JobFiles(platform.home, name).read_status()
        if status.get("state") != "stopped" and time.time() - status.get("reported", 0.0) < STILL_SECONDS:
            raise IncompatibleError("the job is still stopping", where=f"job {name}", fix="Try again in a moment.")
    told = JobFiles(platform.home, name).read_status().get("state")
    if before is not None and told != "stopped":
        host_of(before.engine).check_gone(platform.connection, name)


def _check_saved(platform: Platform, job: Job[Any], engine: str) -> bytes | None:
    """The newest state of a job, from where its engine keeps it; refused where `job` cannot go on from it."""
    from streams.state_store import FolderStore

    before = platform.jobs().jobs.get(job.name)
    kept_by = every().get(engine if before is None else before.engine)
    store = FolderStore(platform.home.path / "state")
    saved = kept_by.saved(job.name, platform.log, store) if kept_by is not None else None
    moves = before is not None and before.engine != engine
    # Another engine would go on from the progress alone, not knowing whether its last commit is whole.
    if saved is None and not (moves and f"progress.{job.name}" in platform.log.topics()):
        return None
    if before is not None and moves:
        raise IncompatibleError(
            f"the job ran on engine {before.engine}, and its state does not move between engines",
            where=f"job {job.name}",
            fix="Submit it with --reset to learn again from the log (the answer is the same), or under a new name.",
        )
    if saved is None:
        return None
    kind_of(engine).check_saved(job, saved[1])
    return saved[1]


def forget(platform: Platform, name: str) -> None:
    """Forget a stopped job's snapshots and progress, so that it begins at the log's beginning again."""
    from streams.state_store import FolderStore

    FolderStore(platform.home.path / "state").clear(name)
    for topic in (f"progress.{name}", *kept_by_engines(name)):
        platform.delete_topic(topic)


def kept_by_engines(name: str) -> list[str]:
    """The topics in which engines keep what they know of a job, beside its progress."""
    return [topic for kind in every().values() for topic in kind.topics(name)]


def set_wanted(
    platform: Platform, name: str, wanted: str, seconds: float, table: JobTable | None = None
) -> dict[str, Any]:
    """Say that job `name` shall be `running` or `stopped`, and wait until it is; its status. 0 seconds: do not wait.

    Raises `IncompatibleError` where another job runs that has its endpoint.
    """
    table = table or platform.jobs()
    before = table.get(name)
    if wanted == "running":
        check_endpoint(table, name, before.endpoint)
    wish = table.change(name, wanted=wanted, reason="")
    return wait_until(platform, wish, seconds, table) if seconds else {}


def stop(platform: Platform, name: str, seconds: float, *, savepoint: bool = False) -> dict[str, Any]:
    """Have job `name` stop, and wait until it has; its status. With `savepoint` that says where the savepoint is.

    Raises `IncompatibleError` where its engine takes none that could be named, `UnavailableError` where none was taken.
    """
    table = platform.jobs()
    if savepoint:
        _refuse_unless_named(table.get(name))
    status = set_wanted(platform, name, "stopped", seconds, table)
    if savepoint and seconds and not status.get("savepoint"):
        raise UnavailableError(
            "it has stopped, and no savepoint was taken", where=f"job {name}", fix=f"See `tidemill job logs {name}`."
        )
    return status


def start(platform: Platform, name: str, seconds: float, *, savepoint: str = "") -> dict[str, Any]:
    """Have job `name` go on, at `savepoint` where one is named, and wait until it runs; its status.

    Raises `IncompatibleError` where its engine starts from none, or the job runs; `NotFoundError` where there is none.
    """
    if not savepoint:
        return set_wanted(platform, name, "running", seconds)
    table = platform.jobs()
    wish = table.get(name)
    _refuse_unless_named(wish)
    check_endpoint(table, name, wish.endpoint)
    # Which asking this is: the same savepoint may be asked for again, and each asking counts once.
    options = wish.options | {"savepoint": savepoint, "savepoint_asked": str(platform.clock.now())}
    check_options(wish.engine, name, options)
    host_of(wish.engine).check_savepoint(platform.connection, savepoint)
    check_at_rest(platform, name, table)
    wish = table.change(name, wanted="running", options=options, reason="")
    return wait_until(platform, wish, seconds, table) if seconds else {}


def _refuse_unless_named(wish: JobChanged) -> None:
    able = sorted(engine.name for engine in engines().values() if "savepoint" in engine.options)
    go_on = "`tidemill job stop` and `start` go on where it left off."
    _refuse_unless(wish, able, "has no savepoints that can be named", go_on)


def savepoint(platform: Platform, name: str, seconds: float) -> int:
    """Have a running job commit and snapshot: it is stopped and started. The sequence of the snapshot.

    However the wait ends, the job is wanted running again, unless somebody said otherwise meanwhile. Raises `UserError`
    where it does not run, `UnavailableError` as `wait_until`.
    """
    table = platform.jobs()
    if table.get(name).wanted != "running":
        raise UserError("the job does not run", where=f"job {name}", fix=f"First run `tidemill job start {name}`.")
    if why := JobFiles(platform.home, name).read_status().get("rebuilt_by_replay"):
        raise UserError("no snapshots are kept of the job: it is rebuilt by replay", where=f"job {name}", got=why)
    wish = table.change(name, wanted="stopped", reason="")
    try:
        stopped = wait_until(platform, wish, seconds, table)
    finally:
        wish = _resumed(table, wish)
    wait_until(platform, wish, seconds, table)
    if stopped.get("checkpoint_sequence") is None:
        raise UnavailableError("no snapshot was taken", where=f"job {name}", fix=f"See `tidemill job logs {name}`.")
    return int(stopped["checkpoint_sequence"])


def _resumed(table: JobTable, stop: JobChanged) -> JobChanged:
    """Have the job of `stop` run again, if that is still what is wanted of it; what is wanted then."""
    table.refresh()
    now = table.jobs.get(stop.job)
    if now is None or now.id != stop.id or now.wanted != stop.wanted:
        return now or stop
    return table.change(stop.job, wanted="running", reason="")


def rescale(platform: Platform, name: str, parallelism: int, seconds: float) -> dict[str, Any]:
    """Have job `name` go on at another parallelism, which is its engine's option; its status. 0 seconds: do not wait.

    Raises `IncompatibleError`, naming the engines that can, where its engine cannot.
    """
    table = platform.jobs()
    wish = table.get(name)
    able = sorted(engine.name for engine in engines().values() if "rescale" in engine.provides)
    _refuse_unless(wish, able, "does not provide rescale")
    options = wish.options | {"parallelism": str(parallelism)}
    check_options(wish.engine, name, options)
    wish = table.change(name, options=options, reason="")
    return wait_until(platform, wish, seconds, table) if seconds else {}


def _refuse_unless(wish: JobChanged, able: Sequence[str], lacks: str, fix: str = "") -> None:
    if wish.engine not in able:
        raise IncompatibleError(
            f"engine {wish.engine} {lacks}",
            where=f"job {wish.job}",
            wanted=f"one of the engines {', '.join(able)}" if able else "another engine; none that is installed does",
            fix=fix,
        )


def wait_until(platform: Platform, wish: JobChanged, seconds: float, table: JobTable | None = None) -> dict[str, Any]:
    """Wait until the job reports that it is as `wish` wants it; its status. What the process reports that ran before
    with other code does not count. `table` is read on where one was read before: to read it anew is to read it whole.

    Raises `UnavailableError` where it does not within `seconds`, or fails; with the reason. Where no supervisor is
    there to see to it, that is said without waiting any longer.
    """
    name, state = wish.job, wish.wanted
    own = {"bundle": wish.bundle, "file": wish.file, "engine": wish.engine, "options": wish.options}
    table, files = table or platform.jobs(), JobFiles(platform.home, name)
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
                f"not {state} after {seconds:.0f} s",
                where=f"job {name}",
                got=str(status.get("last_error") or ""),
                fix=f"See `tidemill job logs {name}`.",
            )

"""The process of one job: loads what was submitted, hands the engine its parts, and runs until told to stop."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any, NamedTuple

from streams.engines.patience import PASSING, Patience, wait
from tidemill.block import Column
from tidemill.engine import Engine, Parts
from tidemill.errors import IntegrityError, SubmissionError, UserError
from tidemill.events import JobChanged
from tidemill.job import Job
from tidemill.log import Log
from tidemill.stream import StreamSpec
from tidemill_app import config
from tidemill_app.bundle import SIGNED, decode, unpack
from tidemill_app.engines import check_options, host_of
from tidemill_app.giving_way import give_way
from tidemill_app.home import Home
from tidemill_app.job_file import load_job
from tidemill_app.job_table import JobFiles, JobTable
from tidemill_app.measuring import MEASURES, measuring_job
from tidemill_app.supervisor import EXIT_REFUSED
from tidemill_app.wiring import Platform

REFUSED = (UserError, IntegrityError)
MEASURING_NICE = 10
UNKNOWN_FOR = 20.0
"""Seconds for which a job or stream may be unknown at the start: what was submitted is in the log, or soon will be."""


def submitted_job(platform: Platform, wish: JobChanged, came: bytes | None = None) -> Job[Any]:
    """The job that was submitted, or the one that measures what its endpoint answers, from its bundle; nothing of it is
    loaded before its signature is verified. `came` is a bundle of that digest from whoever has done so.

    Raises `SignatureError` where no trusted key has signed it, `SubmissionError` where it makes no job.
    """
    bundle = decode(came if came is not None else platform.artefacts.get_signed(SIGNED, wish.bundle))
    if bundle.entry != wish.file:
        # The topic says so, and only the bundle is signed.
        raise SubmissionError(
            "not the job file that was submitted", where=f"job {wish.job}", wanted=bundle.entry, got=repr(wish.file)
        )
    target = unpack(bundle, platform.home.path / "bundles" / wish.bundle)
    job = load_job(target.path, target.function)
    return measuring_job(platform, job) if MEASURES in wish.options else job


def parts_of(platform: Platform, job: Job[Any], wish: JobChanged, report: Callable[[dict[str, Any]], None]) -> Parts:
    """What the engine is handed for `job`."""
    from streams.state_store import FolderStore
    from tidemill_app.publisher import ArtefactPublisher

    publisher = ArtefactPublisher(platform.artefacts, platform.log, platform.clock, pin=platform.pin)
    platform.closes(publisher.close)
    return Parts(
        log=platform.log,
        store=FolderStore(platform.home.path / "state"),
        clock=platform.clock,
        streams=platform.specs_of(job),
        publisher=publisher,
        objects=platform.artefacts,
        arrow_decode=arrow_decode,
        arrow_encode=arrow_encode,
        history=file_log,
        archive=platform.archive,
        bundle=wish.bundle,
        file=wish.file,
        report=report,
    )


def arrow_decode(content: bytes) -> dict[str, Column]:
    """As `connectors.arrow.decode`, which is imported where a topic holds such."""
    from connectors import arrow

    return arrow.decode(content)


def arrow_encode(columns: Mapping[str, Column]) -> bytes:
    """As `connectors.arrow.encode`."""
    from connectors import arrow

    return arrow.encode(columns)


def file_log(path: str, spec: StreamSpec) -> Log:
    """The log over a history's files."""
    from connectors.files import FileLog

    return FileLog(path, spec)


class Ready(NamedTuple):
    """A job that can run, and what it runs with."""

    platform: Platform
    engine: Engine
    job: Job[Any]
    parts: Parts


def prepare(home: str | os.PathLike[str] | None, name: str, report: Callable[[dict[str, Any]], None]) -> Ready:
    """Connect, and load the submitted job `name`."""
    platform = Platform.open(home)
    try:
        with closing(JobTable(platform.log, platform.clock)) as table:
            table.refresh()
            wish = table.get(name)
        if MEASURES in wish.options:
            give_way(MEASURING_NICE)  # what is measured goes before
        job = submitted_job(platform, wish)
        if job.name != name:
            raise SubmissionError("the bundle holds another job", where=name, got=job.name)
        check_options(wish.engine, name, {k: v for k, v in wish.options.items() if k != MEASURES})
        engine = host_of(wish.engine).make(platform.connection, wish)
        # Every report says what it is of: a process that is being replaced goes on reporting for a while.
        own = {"bundle": wish.bundle, "file": wish.file, "engine": wish.engine, "options": wish.options}
        parts = parts_of(platform, job, wish, lambda status: report(status | own))
        return Ready(platform, engine, job, parts)
    except BaseException:
        platform.close()
        raise


def run(home: str | os.PathLike[str] | None, name: str, stop: Callable[[], bool], *, stopping: bool = False) -> int:
    """Run the submitted job `name` until `stop()`, or with `stopping` only stop what runs of it elsewhere; the exit
    code.

    Where brokers or stores do not answer it waits and tries again, and the job's status says so: that they are away is
    no failure of the job.
    """
    ready, patience = None, Patience(UNKNOWN_FOR)
    try:
        folder = Home(config.load(home).home)
        folder.create()
        files = JobFiles(folder, name)
        files.write_status({"job": name, "state": "connecting"})
        while ready is None and not stop():
            try:
                ready = prepare(home, name, files.write_status)
            except PASSING as error:
                pause = patience.pause(error)
                why = f"{type(error).__name__}: {error}"
                print(f"waiting: {why}", file=sys.stderr, flush=True)
                files.write_status({"job": name, "state": "waiting", "last_error": why, "retry_in": pause})
                wait(pause, stop)
        if ready is not None:
            with closing(ready.platform):
                ready.engine.run(ready.job, ready.parts, lambda: stopping or stop())
            files.write_status(files.read_status() | {"state": "stopped"})
        return 0
    except REFUSED as error:
        print(f"refused: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return EXIT_REFUSED
    except Exception as error:
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}"
        print(f"FATAL {why}", file=sys.stderr, flush=True)
        # Until the supervisor starts it again, or gives it up.
        with suppress(Exception):
            files = JobFiles(Home(config.load(home).home), name)
            files.write_status(files.read_status() | {"state": "failing", "last_error": why})
        return 1

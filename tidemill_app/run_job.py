"""The process of one job: loads what was submitted, hands the engine its parts, and runs until told to stop."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidemill.engine import Engine, Parts
from tidemill.errors import IncompatibleError, IntegrityError, NotFoundError, SubmissionError, UserError
from tidemill.events import JobChanged
from tidemill.job import Job
from tidemill.log import Log
from tidemill.stream import StreamSpec
from tidemill_app.bundle import unpack
from tidemill_app.job_file import load_job
from tidemill_app.job_table import JobFiles, JobTable
from tidemill_app.supervisor import EXIT_REFUSED
from tidemill_app.wiring import Platform

REFUSED = (UserError, SubmissionError, IncompatibleError, IntegrityError)


def engines() -> dict[str, Engine]:
    """The engines there are, by name."""
    from streams.engines.local import LocalEngine

    return {"local": LocalEngine()}


def submitted_job(platform: Platform, wish: JobChanged) -> Job[Any]:
    """The job that was submitted, from its bundle."""
    folder = unpack(platform.artefacts.get(wish.bundle), platform.home.path / "bundles")
    file, _, function = wish.file.partition(":")
    if file != Path(file).name:
        raise SubmissionError("the job file lies outside its bundle", where=f"job {wish.job}", got=repr(file))
    return load_job(folder / file, function or None)


def parts_of(platform: Platform, job: Job[Any], wish: JobChanged, report: Callable[[dict[str, Any]], None]) -> Parts:
    """What the engine is handed for `job`."""

    from connectors import arrow
    from streams.state_store import FolderStore
    from tidemill_app.publisher import ArtefactPublisher

    return Parts(
        log=platform.log,
        store=FolderStore(platform.home.path / "state"),
        clock=platform.clock,
        streams=platform.specs_of(job),
        publisher=ArtefactPublisher(platform.artefacts, platform.log, platform.clock, pin=platform.pin),
        arrow_decode=arrow.decode,
        arrow_encode=arrow.encode,
        history=file_log,
        bundle=wish.bundle,
        file=wish.file,
        report=report,
    )


def file_log(path: str, spec: StreamSpec) -> Log:
    """The log over a history's files."""
    from connectors.files import FileLog

    return FileLog(path, spec)


def run(platform: Platform, name: str) -> int:
    """Run the submitted job `name`; the exit code."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    parent = os.getppid()
    try:
        table = JobTable(platform.log, platform.clock)
        table.refresh()
        wish = table.get(name)
        table.close()
        job = submitted_job(platform, wish)
        if job.name != name:
            raise SubmissionError("the bundle holds another job", where=name, got=job.name)
        try:
            engine = engines()[wish.engine]
        except KeyError:
            raise NotFoundError(f"no engine {wish.engine!r} here", wanted=f"one of {sorted(engines())}") from None
        files = JobFiles(platform.home, name)
        parts = parts_of(platform, job, wish, files.write_status)
        # A supervisor killed outright leaves its children behind; they end so that the next one's can run.
        engine.run(job, parts, lambda: stopping or os.getppid() != parent)
        files.write_status(files.read_status() | {"state": "stopped"})
        return 0
    except REFUSED as error:
        print(f"refused: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return EXIT_REFUSED
    except Exception as error:
        traceback.print_exc()
        print(f"FATAL {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1

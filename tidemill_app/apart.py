"""Checking submitted code in a process of its own: to load a job file is to run it, and a server must outlive that.

The process gets the bundle, makes the job, and refuses what `submission.check` refuses. It changes nothing: what has
passed is signed and recorded by the server. It is no cage. Who may submit may run code with the rights of the server's
account, here as later under the supervisor; what it keeps off is a job file that never returns, ends the process,
prints, or takes all memory.

::

    FOLDER/order     what to check, msgpack
    FOLDER/code/     the unpacked bundle
    FOLDER/answer    the job's name and notes, or the error
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from tidemill import errors
from tidemill.errors import SubmissionError, TidemillError, UnavailableError
from tidemill.stream import check_name
from tidemill_app.bundle import Bundle, unpack
from tidemill_app.home import Home

SECONDS = 60.0
"""How long a job file may take to load and be checked."""

MAX_ANSWER = 64 * 1024


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be checked, for which home."""

    home: str
    bundle: Bundle
    engine: str
    options: dict[str, str] = {}
    reset: bool = False


class Answer(msgspec.Struct, frozen=True):
    """The job's name, what to know of it beside, and its endpoint's name; or an error's class and line."""

    job: str = ""
    notes: list[str] = []
    endpoint: str = ""
    error: str = ""
    line: str = ""


def check_apart(order: Order, seconds: float = SECONDS) -> tuple[str, list[str], str]:
    """The name of the job that the bundle makes, what to know of it beside, and its endpoint's name (or none), checked
    in a process of its own.

    Raises as `submission.check` does, and `SubmissionError` where the process ends without an answer or takes longer
    than `seconds`. Its folder and its process group
    are gone afterwards; a process of the job file's that left the group is not.
    """
    folder = Path(tempfile.mkdtemp(prefix="tidemill-check-"))
    try:
        (folder / "order").write_bytes(msgspec.msgpack.encode(order))
        code = _run(folder, seconds)
        answer = _read(folder / "answer")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if answer is None:
        raise SubmissionError("the job file ended the process that loaded it", where=order.bundle.entry, got=code)
    if answer.error:
        kind = getattr(errors, answer.error, None)
        if not isinstance(kind, type) or not issubclass(kind, TidemillError):
            kind = SubmissionError
        raise kind(answer.line)
    if answer.endpoint:
        check_name(answer.endpoint, "endpoint")
    return check_name(answer.job, "job"), answer.notes, answer.endpoint


def _run(folder: Path, seconds: float) -> str:
    """How the process ended. What it and its own children print goes nowhere."""
    null = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidemill_app.apart", str(folder)],
            stdin=null,
            stdout=null,
            stderr=null,
            start_new_session=True,
        )
    except OSError as error:
        raise UnavailableError("no process can be started", got=error.strerror or str(error)) from None
    try:
        code = process.wait(seconds)
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    except subprocess.TimeoutExpired:
        raise SubmissionError("the job file did not load in time", wanted=f"within {seconds:.0f} s") from None
    finally:
        # It leads its own session, so its group is what it started, too.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read(file: Path) -> Answer | None:
    try:
        with open(file, "rb") as stream:
            return msgspec.msgpack.decode(stream.read(MAX_ANSWER), type=Answer)
    except (OSError, msgspec.DecodeError):
        return None


def _check(folder: Path) -> Answer:
    from tidemill_app.job_file import load_job
    from tidemill_app.submission import check, endpoint_of
    from tidemill_app.wiring import Platform

    order = msgspec.msgpack.decode((folder / "order").read_bytes(), type=Order)
    try:
        target = unpack(order.bundle, folder / "code")
        job = load_job(target.path, target.function)
        platform = Platform.open(Home(order.home).path)
        try:
            notes = check(platform, job, order.bundle.entry, order.engine, options=order.options, reset=order.reset)
        finally:
            platform.close()
    except TidemillError as error:
        return Answer(error=type(error).__name__, line=str(error)[:4000])
    return Answer(job=job.name, notes=notes, endpoint=endpoint_of(job))


def main(folder: Path) -> None:
    """What the process does."""
    # Where memory runs out, this process goes and not the server. Linux only.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    (folder / "answer").write_bytes(msgspec.msgpack.encode(_check(folder)))
    # Threads that the job file has begun are not waited for.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""A detached process: a pid file that cannot lie, a log, a readiness probe, an end.

A process outlives the command that started it (its own session) and is found again through a pid file. The file
holds the process's *identity*, not its number only: the machine's boot and the process's start time, so a number
that the system has given to another process since is never signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tidemill.errors import UnavailableError
from tidemill_app.home import write_atomically

MARK = "TIDEMILL_PROCESS"
"""Set in the environment of a process and so of all it starts: which pid file they belong to."""

LOG_LIMIT = 32 * 2**20
"""Bytes a log may have when its process starts; a larger one is moved to `NAME.log.1` first."""


def rotate(log: Path) -> None:
    """Move a log that has grown beyond `LOG_LIMIT` out of the way; for a process that is about to start."""
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        os.replace(log, log.with_name(log.name + ".1"))


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """How to start one process and how to see that it answers.

    `ready` is called again and again until it returns True; it must return within a second or two and may raise
    `UnavailableError` to say what it is still waiting for. `argv` never holds a secret: everybody on the machine
    can read it.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    ready: Callable[[], bool]
    ready_seconds: float = 60.0
    stop_seconds: float = 30.0
    stop_signal: int = signal.SIGTERM


class PidFile(msgspec.Struct, frozen=True, kw_only=True):
    """What `run/NAME.pid` holds."""

    pid: int
    identity: str
    started: float
    """Seconds since the epoch."""
    stop_signal: int
    stop_seconds: float


def identity(pid: int) -> str | None:
    """Who the process with this number is, equal for the whole life of it and of no other; None if there is none.

    A process that has ended and only waits to be collected counts as none.
    """
    _collect(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except ProcessLookupError:
        return None
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _portable_identity(pid)
    # The command's name stands in parentheses and may hold anything, so fields are counted after the last one.
    fields = stat[stat.rindex(")") + 2 :].split()
    # After kill -9 the first thread is a zombie at once, while others may still hold ports and files.
    ended = fields[0] == "X" or (fields[0] == "Z" and int(fields[17]) <= 1)
    return None if ended else f"{boot}:{fields[19]}"


def _portable_identity(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def _collect(pid: int) -> None:
    """Take the exit status of a child of ours, so that it does not stay behind as a zombie."""
    with contextlib.suppress(ChildProcessError, PermissionError):
        os.waitpid(pid, os.WNOHANG)


def running(run: Path, name: str) -> PidFile | None:
    """The live process of that name, or None; a pid file left by a dead one does not count."""
    try:
        file = msgspec.json.decode((run / f"{name}.pid").read_bytes(), type=PidFile)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return file if identity(file.pid) == file.identity else None


def start(service: Service, run: Path, logs: Path) -> PidFile:
    """Start the process detached, its output appended to `logs/NAME.log`, unless it runs already.

    It is not ready yet: see `wait_ready`. The caller holds the home's lock.

    Raises:
        UnavailableError: the program cannot be started.
    """
    alive = running(run, service.name)
    if alive is not None:
        return alive
    end_orphans(run, service.name)
    log = logs / f"{service.name}.log"
    rotate(log)
    try:
        pid = os.posix_spawn(
            service.argv[0],
            service.argv,
            service.env | {MARK: _mark(run, service.name)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                *((os.POSIX_SPAWN_CLOSE, number) for number in _inherited()),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        )
    except OSError as error:
        raise UnavailableError(
            f"cannot be started: {error.strerror}",
            where=service.name,
            got=service.argv[0],
            fix="Run `tidemill doctor`.",
        ) from error
    file = PidFile(
        pid=pid,
        identity=identity(pid) or "",
        started=time.time(),
        stop_signal=int(service.stop_signal),
        stop_seconds=service.stop_seconds,
    )
    write_atomically(run / f"{service.name}.pid", msgspec.json.encode(file))
    return file


def _inherited() -> list[int]:
    """Open files, besides the standard ones, that whoever started us left open to every process we start: a lock or a
    pipe among them would be held for as long as the stack runs."""
    found = []
    for number in map(int, os.listdir("/dev/fd")):
        with contextlib.suppress(OSError):  # the listing's own is closed by now
            if number > 2 and os.get_inheritable(number):
                found.append(number)
    return found


def wait_ready(service: Service, run: Path, logs: Path) -> float:
    """Wait until the process answers; the seconds it took.

    Raises:
        UnavailableError: it ended, or does not answer within `ready_seconds`; with the end of its log.
    """
    began = time.monotonic()
    waiting_for = ""
    while True:
        try:
            if service.ready():
                return time.monotonic() - began
        except UnavailableError as error:
            waiting_for = str(error)
        fault = ""
        if running(run, service.name) is None:
            fault = "ended before it was ready"
        elif time.monotonic() - began > service.ready_seconds:
            fault = f"does not answer after {service.ready_seconds:.0f} s"
        if fault:
            raise UnavailableError(
                fault,
                where=service.name,
                got=reason(logs / f"{service.name}.log") or waiting_for,
                fix=f"See `tidemill logs {service.name}`, or run `tidemill doctor`.",
            )
        time.sleep(0.05)


def stop(run: Path, name: str, seconds: float | None = None) -> bool:
    """Ask the process to end, and after its time is over end it and what it started; False if none ran."""
    file = running(run, name)
    if file is None:
        end_orphans(run, name)
        (run / f"{name}.pid").unlink(missing_ok=True)
        return False
    _signal(file, file.stop_signal)
    if not _wait_gone(file, file.stop_seconds if seconds is None else seconds):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # It leads its own session, so its group holds exactly what it started.
            if os.getpgid(file.pid) == file.pid and identity(file.pid) == file.identity:
                os.killpg(file.pid, signal.SIGKILL)
        _signal(file, signal.SIGKILL)
        _wait_gone(file, 10.0)
    end_orphans(run, name)
    (run / f"{name}.pid").unlink(missing_ok=True)
    return True


def _mark(run: Path, name: str) -> str:
    return str(run.resolve() / name)


def end_orphans(run: Path, name: str) -> list[int]:
    """Kill what a process of that name started and left behind when it was killed; the numbers of those.

    Only processes are ended whose own environment says that they belong here (Linux; elsewhere none are found).
    """
    mark = f"{MARK}={_mark(run, name)}".encode()
    ended = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                ended.append(int(entry.name))
        except OSError:  # it has ended meanwhile, or belongs to another user
            continue
    return ended


def _signal(file: PidFile, number: int) -> None:
    if identity(file.pid) == file.identity:
        with contextlib.suppress(ProcessLookupError):
            os.kill(file.pid, number)


def _wait_gone(file: PidFile, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while identity(file.pid) == file.identity:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def tail(log: Path, lines: int = 20, since: int = 0) -> list[str]:
    """The last lines of a log, of those written after its first `since` bytes; empty where there is none."""
    try:
        with open(log, "rb") as stream:
            stream.seek(max(since, log.stat().st_size - 64 * 1024))
            return stream.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def reason(log: Path, since: int = 0) -> str:
    """The line of a log's end, after its first `since` bytes, that most likely says why its process failed."""
    last = [line.strip() for line in tail(log, 60, since) if line.strip() and not line.startswith(("\t", "    "))]
    for word in ("FATAL", "Exception", "ERROR", "Error", "error"):
        for line in reversed(last):
            if word in line:
                return line[:600]
    return last[-1][:600] if last else ""

"""The supervisor: keeps the processes of the jobs that are wanted running.

It follows the topic `jobs`. A job's process that ends by itself is started again, after 0.5 s at first and twice as
long each time up to 30 s; one that fails six times within five minutes is stopped with the reason it gave. A process
that ran for a minute has its failures forgotten. Each job runs in a process of its own (`tidemill run-job NAME`), so
that none takes another down.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from tidemill.errors import UnavailableError
from tidemill_app.home import Home
from tidemill_app.job_table import JobFiles, JobTable
from tidemill_app.stack.process import reason

EXIT_REFUSED = 2
"""How a job's process ends when starting it again cannot help: a user's mistake, or state that does not fit."""

MAX_FAILURES, WINDOW = 6, 300.0
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0


class Child:
    """One job's process and what became of the ones before it."""

    def __init__(self, home: Home, job: str) -> None:
        self.job = job
        self.files = JobFiles(home, job)
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self.bundle = ""
        self.started = 0.0
        self.failures: deque[float] = deque(maxlen=MAX_FAILURES)
        self.next_start = 0.0

    def start(self, bundle: str) -> None:
        self.bundle = bundle
        self.started = time.monotonic()
        self.files.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self.files.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tidemill_app", "--home", str(self.home.path), "run-job", self.job],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self, seconds: float = 30.0) -> None:
        """Ask the process to commit, snapshot and end; after `seconds` it is killed."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def ended(self) -> int | None:
        """The exit code of a process that has ended, once."""
        code = self.process.poll() if self.process is not None else None
        if code is not None:
            self.process = None
        return code

    def failed(self) -> bool:
        """Count a failure and set when to start again; True where it is one too many."""
        now = time.monotonic()
        if now - self.started > 60.0:
            self.failures.clear()
        self.failures.append(now)
        wait = min(FIRST_WAIT * 2 ** (len(self.failures) - 1), LONGEST_WAIT)
        self.next_start = now + wait
        return len(self.failures) == MAX_FAILURES and now - self.failures[0] < WINDOW


class Supervisor:
    """Runs until `stop` is set."""

    def __init__(self, home: Home, table: JobTable) -> None:
        self.home = home
        self.table = table
        self.children: dict[str, Child] = {}
        self.stopping = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopping", True))
        signal.signal(signal.SIGINT, lambda *_: setattr(self, "stopping", True))
        try:
            while not self.stopping:
                try:
                    self.table.refresh(wait=0.2)
                    self.tend()
                except UnavailableError as error:
                    print(f"waiting for the log: {error}", file=sys.stderr, flush=True)
                    time.sleep(0.5)
        finally:
            self._stop_all()

    def tend(self) -> None:
        """Bring the processes nearer to what is wanted."""
        for job, wish in list(self.table.jobs.items()):
            child = self.children.setdefault(job, Child(self.home, job))
            self._see_after(child)
            running = child.process is not None
            if running and (wish.wanted != "running" or wish.bundle != child.bundle):
                child.stop()
                running = False
                child.failures.clear()
                child.next_start = 0.0
            if wish.wanted == "running" and not running and time.monotonic() >= child.next_start:
                child.start(wish.bundle)

    def _see_after(self, child: Child) -> None:
        code = child.ended()
        if code is None:
            return
        wish = self.table.jobs[child.job]
        if wish.wanted != "running" or wish.bundle != child.bundle:
            return
        why = reason(child.files.log) or f"ended with code {code}"
        if code == EXIT_REFUSED:
            self.table.change(child.job, wanted="failed", reason=why)
        elif child.failed():
            self.table.change(child.job, wanted="failed", reason=f"failed {MAX_FAILURES} times; last: {why}")

    def _stop_all(self) -> None:
        for child in self.children.values():
            if child.process is not None:
                child.process.terminate()
        for child in self.children.values():
            child.stop()


def write_ready(home: Home) -> None:
    """Say that the supervisor follows the topic."""
    (home.run / "supervisor.ready").write_text(str(os.getpid()))


def clear_ready(home: Home) -> None:
    """Take back what an earlier supervisor said."""
    (home.run / "supervisor.ready").unlink(missing_ok=True)


def is_ready(home: Home, pid: int) -> bool:
    """Whether the supervisor process `pid` follows the topic."""
    file = Path(home.run / "supervisor.ready")
    return file.exists() and file.read_text() == str(pid)

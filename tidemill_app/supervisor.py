"""The supervisor: keeps the processes of the jobs that are wanted running.

It follows the topic `jobs`. A job's process that ends by itself is started again, after 0.5 s at first and twice as
long each time up to 30 s; one that fails six times within five minutes is stopped with the reason it gave. A process
that ran for a minute has its failures forgotten, and so has a job of which something new is wanted. Each job runs in a
process of its own (`tidemill run-job NAME`), so that none takes another down; none waits while another stops.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from streams.engines.patience import PASSING
from tidemill.events import JobChanged
from tidemill_app.engines import host_of
from tidemill_app.home import Home
from tidemill_app.job_table import JobFiles, JobTable
from tidemill_app.stack.process import reason, rotate

NAME = "supervisor"
"""What it is alive as (`tidemill_app.alive`)."""

EXIT_REFUSED = 2
"""How a job's process ends when starting it again cannot help: a user's mistake, or state that does not fit."""

MAX_FAILURES, WINDOW = 6, 300.0
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
STOP_SECONDS = 30.0
"""How long a job may take to commit, snapshot and end; then it is killed, and recovers at its next start."""

Command = Callable[[str], Sequence[str]]
"""The command line that runs the job of a name."""


class Child:
    """One job's process and what became of the ones before it."""

    def __init__(self, home: Home, job: str) -> None:
        self.files = JobFiles(home, job)
        self.process: subprocess.Popen[bytes] | None = None
        self.wish = ""
        """The id of the wish that was heeded last."""
        self._running: JobChanged | None = None
        self.stopping = False
        """Whether the process only stops what runs of the job elsewhere."""
        self._resting = ""
        self._started, self._log_began = 0.0, 0
        self._kill_at: float | None = None
        self._failures: deque[float] = deque(maxlen=MAX_FAILURES)
        self._reached = -1
        self.next_start = 0.0

    def start(self, wish: JobChanged, command: Sequence[str], *, stopping: bool = False) -> None:
        self._running, self._started, self.stopping = wish, time.monotonic(), stopping
        self.files.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        rotate(self.files.log)
        with open(self.files.log, "ab") as log:
            self._log_began = log.tell()
            words = [*command, "--stopping"] if stopping else command
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def runs(self, wish: JobChanged) -> bool:
        """Whether the process, running or just ended, is of what the wish names."""
        was = self._running
        return was is not None and (was.bundle, was.file, was.engine, was.options) == (
            wish.bundle,
            wish.file,
            wish.engine,
            wish.options,
        )

    def stop(self) -> None:
        """Ask the process to commit, snapshot and end. Asked once; `ended` kills it where it takes too long."""
        if self.process is not None and self._kill_at is None:
            self.process.terminate()
            self._kill_at = time.monotonic() + STOP_SECONDS

    def ended(self) -> int | None:
        """The exit code of a process that has ended unasked, once."""
        if self.process is None:
            return None
        code = self.process.poll()
        if code is None:
            if self._kill_at is not None and time.monotonic() > self._kill_at:
                self.process.kill()
            return None
        asked, self.process, self._kill_at = self._kill_at is not None, None, None
        return None if asked else code

    def runs_on(self, wish: JobChanged) -> bool:
        """Whether the job may run elsewhere though its process has ended: none has said that it stopped it."""
        if not host_of(wish.engine).elsewhere or self._resting == wish.id:
            return False
        return bool(self.files.read_status().get("state", "stopped") != "stopped")

    def rest(self, wish: JobChanged) -> None:
        """Say that the job has stopped, as wished: its process may have been killed, or none was there."""
        if self._resting != wish.id:
            self._resting = wish.id
            self.files.write_status(self.files.read_status() | {"job": wish.job, "state": "stopped"})

    def why(self, code: int) -> str:
        """What the process that ended with `code` said last."""
        return reason(self.files.log, self._log_began) or f"ended with code {code}"

    def failed(self) -> bool:
        """Count a failure and set when to start again; True where it is one too many."""
        now = time.monotonic()
        reached = self.files.read_status().get("sequence", -1)
        if now - self._started > 60.0 or reached > self._reached:
            self._failures.clear()
        self._reached = max(self._reached, reached)
        self._failures.append(now)
        wait = min(FIRST_WAIT * 2 ** (len(self._failures) - 1), LONGEST_WAIT)
        self.next_start = now + wait
        return len(self._failures) == MAX_FAILURES and now - self._failures[0] < WINDOW

    def forgive(self) -> None:
        """Forget the failures: the next start is at once."""
        self._failures.clear()
        self.next_start = 0.0


class Supervisor:
    """Runs until `stopping` is set."""

    def __init__(self, home: Home, table: JobTable, command: Command | None = None) -> None:
        self.home = home
        self.table = table
        self.children: dict[str, Child] = {}
        self.stopping = False
        self._trouble = ""
        own = [sys.executable, "-m", "tidemill_app", "--home", str(home.path), "run-job"]
        self._command: Command = command or (lambda job: [*own, job])

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopping", True))
        signal.signal(signal.SIGINT, lambda *_: setattr(self, "stopping", True))
        try:
            while not self.stopping:
                try:
                    self.table.refresh(wait=0.2)
                    self.tend()
                    self._trouble = ""
                except Exception as error:
                    # A supervisor that ended would leave every job without one.
                    self._say(error)
                    time.sleep(0.5)
        finally:
            self.stop_all()

    def _say(self, error: Exception) -> None:
        """What keeps the supervisor from its work, once; a broker that has just come up may know no topic yet."""
        text = f"{type(error).__name__}: {error}"
        if text != self._trouble:
            self._trouble = text
            if not isinstance(error, PASSING):
                traceback.print_exc()
            print(f"waiting: {text}", file=sys.stderr, flush=True)

    def tend(self) -> None:
        """Bring the processes nearer to what is wanted; waits for none of them. Where one job cannot be tended, the
        others are, and what was wrong with it is raised in the end."""
        trouble: Exception | None = None
        for job, wish in list(self.table.jobs.items()):
            try:
                self._tend(job, wish)
            except Exception as error:
                trouble = trouble or error
        for job in self.children.keys() - self.table.jobs.keys():
            self._leave(job)
        if trouble is not None:
            raise trouble

    def _tend(self, job: str, wish: JobChanged) -> None:
        child = self.children.get(job)
        if child is None:
            child = self.children[job] = Child(self.home, job)
        if child.wish != wish.id:
            child.wish = wish.id
            child.forgive()
        code = child.ended()
        wanted = wish.wanted == "running"
        if code is not None and wanted and child.runs(wish):
            wanted = self._goes_on(child, wish, code)
        if code and child.stopping:
            child.failed()  # to be tried again after a while, as often as it takes
        if child.process is None:
            due = time.monotonic() >= child.next_start
            if wanted and due:
                child.start(wish, self._command(job))
            elif wish.wanted == "stopped" and not child.runs_on(wish):
                child.rest(wish)
            elif wish.wanted == "stopped" and due:
                child.start(wish, self._command(job), stopping=True)
        elif not child.stopping and (not wanted or not child.runs(wish)):
            child.stop()

    def _leave(self, job: str) -> None:
        """The job was removed: its process ends, if it has one, and is forgotten."""
        child = self.children[job]
        child.stop()
        child.ended()
        if child.process is None:
            del self.children[job]

    def _goes_on(self, child: Child, wish: JobChanged, code: int) -> bool:
        """Whether a job whose process has ended by itself is started again."""
        why = child.why(code)
        if code == EXIT_REFUSED:
            self.table.failed(wish, why)
            return False
        if child.failed():
            self.table.failed(wish, f"failed {MAX_FAILURES} times; last: {why}")
            return False
        return True

    def stop_all(self) -> None:
        """Stop every process, all at once."""
        children = list(self.children.values())
        for child in children:
            child.stop()
        while any(child.process is not None for child in children):
            for child in children:
                child.ended()
            time.sleep(0.02)


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

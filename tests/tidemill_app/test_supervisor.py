"""Which processes run: with real processes that are small scripts, and a log in memory."""

import sys
import time
from collections.abc import Callable

import pytest

from connectors.memory import MemoryLog
from tidemill.errors import NotFoundError
from tidemill.time import SystemClock
from tidemill_app import supervisor
from tidemill_app.home import Home
from tidemill_app.job_table import JobFiles, JobTable
from tidemill_app.supervisor import Supervisor

RUNS = """
import pathlib, signal, sys, time
name, home = sys.argv[1], pathlib.Path(sys.argv[2])
def end(*_):
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
with open(home / f"{name}.starts", "a") as file:
    file.write("x")
time.sleep(60)
"""
FAILS = RUNS.replace("time.sleep(60)", "sys.exit('Error: no such column')")
REFUSES = RUNS.replace("time.sleep(60)", "print('refused: state does not fit', flush=True); sys.exit(2)")
DEAF = RUNS.replace("end(*_):\n    sys.exit(0)", "end(*_):\n    pass\n").replace(
    "time.sleep(60)", "\n".join(["for _ in range(600):", "    time.sleep(0.1)"])
)
# Ends only once all the others of its kind have been asked to end too.
TOGETHER = RUNS.replace(
    "    sys.exit(0)",
    """
    (home / f"{name}.asked").touch()
    while len(list(home.glob("*.asked"))) < 3:
        time.sleep(0.01)
    (home / f"{name}.done").touch()
    sys.exit(0)
""",
)


class World:
    """A supervisor, and a user's own table of jobs on the same log."""

    def __init__(self, tmp_path):
        self.home = Home(tmp_path / "home")
        self.home.create()
        self.scripts = {}
        log = MemoryLog()
        self.users = JobTable(log, SystemClock())
        self.supervisor = Supervisor(self.home, JobTable(log, SystemClock()), self.command)

    def command(self, job):
        return [sys.executable, "-c", self.scripts[job], job, str(self.home.path)]

    def want(self, job, script=None, **values):
        if script is not None:
            self.scripts[job] = script
        self.users.refresh()
        return self.users.change(job, **({"wanted": "running"} | values))

    def until(self, condition: Callable[[], object]):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "did not come true in time"
            self.supervisor.table.refresh()
            self.supervisor.tend()
            time.sleep(0.01)

    def starts(self, job):
        file = self.home.path / f"{job}.starts"
        return len(file.read_text()) if file.exists() else 0

    def state(self, job):
        self.users.refresh()
        return self.users.get(job).wanted

    def process(self, job):
        child = self.supervisor.children.get(job)
        return child and child.process


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_WAIT", 0.01)
    made = World(tmp_path)
    yield made
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.0)
    for child in made.supervisor.children.values():
        if child.process is not None:
            child.process.kill()
    made.supervisor.stop_all()


def test_what_is_wanted_runs_and_what_is_not_stops(world):
    world.want("a", RUNS)
    world.until(lambda: world.starts("a") == 1)
    world.want("a", wanted="stopped")
    world.until(lambda: JobFiles(world.home, "a").read_status().get("state") == "stopped")
    assert world.process("a") is None
    world.want("a")
    world.until(lambda: world.starts("a") == 2)


@pytest.mark.parametrize(
    "change", [{"bundle": "2" * 64}, {"file": "b.py"}, {"engine": "other"}, {"options": {"a": "1"}}]
)
def test_a_job_is_started_anew_where_anything_of_it_changed_and_only_there(world, change):
    world.want("a", RUNS, bundle="1" * 64, file="a.py")
    world.until(lambda: world.starts("a") == 1)
    same = world.process("a")
    world.want("a")
    world.until(lambda: world.supervisor.children["a"].wish == world.users.get("a").id)
    assert world.process("a") is same
    world.want("a", **change)
    world.until(lambda: world.starts("a") == 2)
    assert same.poll() is not None


def test_a_removed_job_is_forgotten_with_its_process(world):
    world.want("a", RUNS)
    world.until(lambda: world.starts("a") == 1)
    process = world.process("a")
    world.want("a", wanted="removed")
    world.until(lambda: "a" not in world.supervisor.children)
    assert process.poll() is not None
    world.want("a", RUNS)
    world.until(lambda: world.starts("a") == 2)


def test_a_job_that_takes_long_to_stop_keeps_no_other_waiting(world):
    world.want("slow", DEAF)
    world.until(lambda: world.starts("slow") == 1)
    world.want("slow", wanted="stopped")
    world.want("quick", RUNS)
    world.until(lambda: world.starts("quick") == 1)
    assert world.process("slow") is not None


def test_a_job_that_does_not_stop_is_killed(world, monkeypatch):
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.2)
    world.want("slow", DEAF)
    world.until(lambda: world.starts("slow") == 1)
    world.want("slow", wanted="stopped")
    world.until(lambda: JobFiles(world.home, "slow").read_status().get("state") == "stopped")
    assert world.process("slow") is None


# Fails to stop what runs elsewhere until somebody lets it.
ELSEWHERE = """
import pathlib, signal, sys, time
from tidemill_app.home import Home
from tidemill_app.job_table import JobFiles
name, home = sys.argv[1], pathlib.Path(sys.argv[2])
files = JobFiles(Home(home), name)
def end(*_):
    if not (home / "let").exists():
        files.write_status({"job": name, "state": "failing"})
        sys.exit(1)
    files.write_status({"job": name, "state": "stopped"})
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
files.write_status({"job": name, "state": "running"})
with open(home / f"{name}.starts", "a") as file:
    file.write("s" if "--stopping" in sys.argv else "x")
if "--stopping" in sys.argv:
    end()
time.sleep(60)
"""


def test_a_job_that_runs_elsewhere_has_stopped_only_when_its_process_says_so(world):
    world.want("a", ELSEWHERE, engine="flink")
    world.until(lambda: world.starts("a") == 1)
    world.want("a", wanted="stopped")
    world.until(lambda: world.starts("a") >= 3)
    state = JobFiles(world.home, "a").read_status
    assert state()["state"] != "stopped"
    (world.home.path / "let").touch()
    world.until(lambda: state()["state"] == "stopped" and world.process("a") is None)
    assert set((world.home.path / "a.starts").read_text()[1:]) == {"s"}
    starts = world.starts("a")
    world.want("a", wanted="stopped")
    world.until(lambda: world.supervisor.children["a"].wish == world.users.get("a").id)
    assert world.starts("a") == starts
    world.want("a")
    world.until(lambda: world.starts("a") == starts + 1)
    assert (world.home.path / "a.starts").read_text()[-1] == "x"


@pytest.mark.parametrize("engine", ["local", "flink"])
def test_a_supervisor_that_comes_new_stops_what_was_left_running_elsewhere_and_only_that(world, engine):
    JobFiles(world.home, "a").write_status({"job": "a", "state": "running"})
    (world.home.path / "let").touch()
    world.want("a", ELSEWHERE, engine=engine, wanted="stopped")
    world.until(lambda: JobFiles(world.home, "a").read_status()["state"] == "stopped" and world.process("a") is None)
    assert world.starts("a") == (engine == "flink")


def test_all_are_stopped_at_once(world):
    for job in ("a", "b", "c"):
        world.want(job, TOGETHER)
    world.until(lambda: all(world.starts(job) == 1 for job in ("a", "b", "c")))
    world.supervisor.stop_all()
    assert sorted(p.stem for p in world.home.path.glob("*.done")) == ["a", "b", "c"]


def test_a_crash_loop_ends_with_the_reason_and_a_new_wish_begins_anew(world):
    JobFiles(world.home, "a").log.write_text("FATAL: of an earlier run\n")
    world.want("a", FAILS)
    world.until(lambda: world.state("a") == "failed")
    assert world.starts("a") == supervisor.MAX_FAILURES
    assert world.users.get("a").reason == "failed 6 times; last: Error: no such column"
    world.want("a")
    world.until(lambda: world.starts("a") == 2 * supervisor.MAX_FAILURES)
    world.until(lambda: world.state("a") == "failed")


def test_failures_of_a_job_that_gets_further_are_no_crash_loop(world):
    """As a job that is killed again and again from outside: each process has committed before it ended."""
    world.want("a", FAILS)
    limit = 2 * supervisor.MAX_FAILURES

    def further():
        child = world.supervisor.children.get("a")
        started = world.starts("a")
        if 0 < started < limit and child.process is not None and child.process.poll() is not None:
            child.files.write_status({"job": "a", "sequence": started})
        return started == limit

    world.until(further)
    assert world.state("a") == "running"
    world.until(lambda: world.state("a") == "failed")
    assert world.starts("a") < limit + supervisor.MAX_FAILURES


def test_the_supervisor_outlives_whatever_the_log_says(world, monkeypatch):
    said = iter([NotFoundError("no such topic or partition", where="jobs/0"), KeyError("a fault of ours")])
    tend = world.supervisor.tend

    def troubled():
        for error in said:
            raise error
        tend()
        world.supervisor.stopping = world.starts("a") == 1

    monkeypatch.setattr(world.supervisor, "tend", troubled)
    monkeypatch.setattr(supervisor.signal, "signal", lambda *_: None)  # this process keeps its own
    world.want("a", RUNS)
    world.supervisor.run()
    assert world.supervisor.stopping


def test_what_is_refused_is_not_started_again(world):
    world.want("a", REFUSES)
    world.until(lambda: world.state("a") == "failed")
    assert (world.starts("a"), world.users.get("a").reason) == (1, "refused: state does not fit")


def test_the_failure_of_old_code_does_not_fail_the_new(world):
    """The supervisor learns of the new wish only after it has seen the old process fail."""
    world.want("a", REFUSES, bundle="1" * 64)
    world.until(lambda: world.process("a") is not None)
    process = world.process("a")
    process.wait(30)
    world.want("a", RUNS, bundle="2" * 64)
    world.supervisor.tend()
    assert world.supervisor.table.get("a").wanted == "failed"
    assert world.state("a") == "running"
    world.until(lambda: world.starts("a") == 2)


def test_a_job_that_cannot_be_started_keeps_no_other_from_it(world):
    world.want("a", RUNS)
    (world.home.path / "jobs").mkdir()
    (world.home.path / "jobs" / "a").write_text("a file where a folder belongs")
    world.want("b", RUNS)
    with pytest.raises(FileExistsError):
        world.until(lambda: False)
    assert world.process("b") is not None

"""kill -9 of a job's process at random moments, on a real broker, verified by a separate reader: nothing lost, nothing
twice, in order, and the state that of an undisturbed run. On an engine without `exactly_once` outputs may come twice,
the same byte for byte."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from connectors.kafka import KafkaLog
from streams.engines import table_store
from streams.engines.snapshot import Snapshot
from streams.state_store import FolderStore
from tests.scenarios.killed_job import scenario
from tidemill import state as states
from tidemill.checks.engines import check_outcome, expected, numbers, recorded
from tidemill.checks.reference import interpret_arrival, read_all
from tidemill.checks.scenarios import publish
from tidemill.order import Arrival

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0


class Killed:
    """The job's process, started again and again."""

    def __init__(self, arguments: list[str], errors: Path, script: str = "killed_job.py") -> None:
        self.command = [sys.executable, str(ROOT / "tests/scenarios" / script), *arguments]
        self.errors = errors
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with open(self.errors, "ab") as errors:
            self.process = subprocess.Popen(self.command, env=environment, stderr=errors)

    def kill(self, after: float = 0.0) -> None:
        """kill -9 after so many seconds."""
        assert self.process is not None
        try:
            gone = self.process.wait(after)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        else:
            pytest.fail(f"the job ended by itself with {gone}: {self.errors.read_text()[-2000:]}")


def progressed(log: KafkaLog, job: str) -> int:
    topic = f"progress.{job}"
    return sum(log.end(p) for p in log.partitions(topic)) if topic in log.topics() else 0


def until(condition, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not in {PATIENCE} s: {what}"
        time.sleep(0.05)


def rounds(kafka, fresh, tmp_path, order, kills, engine="local", scenario=scenario, script="killed_job.py") -> None:
    """`scenario` makes what the process of `script` runs."""
    job, name = fresh("killed"), fresh("trips")
    what = scenario(job, name, order)
    log = KafkaLog({"bootstrap.servers": kafka})
    rng = random.Random(kills)
    state = tmp_path / "state"
    edges = [len(what.sendings) * i // kills for i in range(kills + 1)]
    publish(log, what, 0, 0)
    runner = Killed([kafka, job, name, str(state), order, engine], tmp_path / "errors", script)
    try:
        runner.start()
        for i in range(kills):
            # Part of the records come while it recovers, part while it runs; the kill strikes among its commits.
            middle = rng.randint(edges[i], edges[i + 1])
            publish(log, what, edges[i], middle)
            before = progressed(log, job)
            until(lambda before=before, m=middle: progressed(log, job) > before or finished(log, what, m), "a commit")
            publish(log, what, middle, edges[i + 1])
            runner.kill(rng.uniform(0.0, 0.08))
            runner.start()
        wanted = numbers(what, expected(what, log))
        until(lambda: all(count(log, t) >= n for t, n in wanted.items()), f"all of {wanted}")
        until(lambda: finished(log, what, len(what.sendings)), "the last commit")
        runner.kill()
        check_state(what, log, runner, snapshots(engine, job, state, log))
        # After one more start, which had nothing left to read and so nothing to add.
        check_outcome(what, log, once=engine == "local")
    finally:
        if runner.process is not None and runner.process.poll() is None:
            runner.process.kill()
            runner.process.wait()
        log.close()


def finished(log, what, published) -> bool:
    """Whether all that was published so far has been read (then no further commit comes)."""
    made = recorded(log, what.job.name) if progressed(log, what.job.name) else []
    return sum(stop - first for _, _, first, stop in made) >= published


def count(log, topic) -> int:
    """Different records: the same row, or the same dead event, may be there twice."""
    records = [r for p in log.partitions(topic) for r in read_all(log, p)] if topic in log.topics() else []
    marks = ("dead_partition", "dead_offset", "dead_row", "dead_error")
    return len({(r.key, r.value, *(value for name, value in r.headers if name in marks)) for r in records})


def snapshots(engine, job, folder, log):
    """How to load the newest snapshot."""
    if engine == "local":
        return lambda: FolderStore(folder).load(job)
    return lambda: table_store.load(table_store.read(log, job))


def check_state(what, log, runner, load) -> None:
    """The last snapshot holds, group by group, the bytes that the reference interpreter ends with."""
    last = recorded(log, what.job.name)
    runner.start()
    commits = len(read_all(log, log.partitions(f"progress.{what.job.name}")[0]))
    until(lambda: (load() or (-1,))[0] >= commits - 1, "a snapshot of the last commit")
    runner.kill()
    found = load()
    assert found is not None
    saved = dict(states.decode(found[1], Snapshot).pipeline.states)
    arrival = isinstance(what.job.order, Arrival)
    outcome = interpret_arrival(what.job, what.streams, log, last) if arrival else expected(what, log)
    assert saved == outcome.states


@pytest.mark.stack
@pytest.mark.parametrize("order", ["event_time", "arrival"])
def test_three_kills(kafka, fresh, tmp_path, order):
    rounds(kafka, fresh, tmp_path, order, 3)


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("order", ["event_time", "arrival"])
def test_twenty_kills(kafka, fresh, tmp_path, order):
    rounds(kafka, fresh, tmp_path, order, 20)


@pytest.mark.stack
def test_two_kills_of_a_faust_app(kafka, fresh, tmp_path):
    rounds(kafka, fresh, tmp_path, "event_time", 2, "faust")


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_kills_of_a_faust_app(kafka, fresh, tmp_path):
    rounds(kafka, fresh, tmp_path, "event_time", 10, "faust")

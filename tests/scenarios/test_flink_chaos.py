"""kill -9 of a Flink cluster's processes while events come, also between the two phases of a commit, and of the process
that tends the job: a separate reader of committed records finds nothing lost, nothing twice, and each key in order."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from connectors.kafka import KafkaLog
from tests.scenarios.flink_life import PATIENCE, Life, life, until
from tidemill.checks.reference import read_all
from tidemill.checks.scenarios import publish
from tidemill.log import Partition
from tidemill_app import config
from tidemill_app.stack import lifecycle, process
from tidemill_app.stack.flink import ask

TASKS, LEADER = "flink-taskmanager-1", "flink-jobmanager"
EVENTS = 30_000

# What is killed, and when: as soon as a checkpoint begins (outputs are being pre-committed), as soon as all of it is
# written (everything is pre-committed, nothing committed yet), or at any moment.
KILLS = [
    ((TASKS,), "triggered"),
    ((TASKS,), "complete"),
    ((LEADER,), "complete"),
    ((TASKS,), "any"),
    ((TASKS, LEADER), "complete"),
    ((LEADER,), "any"),
    ((TASKS,), "complete"),
    ((LEADER,), "triggered"),
    ((LEADER,), "complete"),
    ((TASKS, LEADER), "any"),
]


class Chaos:
    """The cluster of a home, and one job on it."""

    def __init__(self, settings, it: Life) -> None:
        self.settings, self.it, self.run = settings, it, config.connect(settings.home).home.run
        self.rng = random.Random(7)
        self.figures: list[str] = []
        self.between = 0
        """Kills after which outputs of a complete checkpoint were committed that had only been pre-committed."""

    def up(self) -> None:
        lifecycle.up(self.settings)

    @property
    def url(self) -> str:
        return str(config.connect(self.settings.home).flink)

    @cached_property
    def checkpoints(self) -> Path:
        """Of the job on the cluster, which is the same one all the time."""
        return Path(self.settings.home) / "flink" / "checkpoints" / self.it.status()["flink_job"]

    def kill(self, names: tuple[str, ...], when: str) -> None:
        folder = self.checkpoints
        pids = {name: process.running(self.run, name).pid for name in (TASKS, LEADER)}
        self.struck(folder, when, pids[TASKS])
        for name in names:
            os.kill(pids[name], signal.SIGKILL)
        began, newest = time.time(), complete(folder)
        until(lambda: not any(alive(pids[name]) for name in names), lambda: names)
        pending = self.pending()
        if TASKS not in names:
            os.kill(pids[TASKS], signal.SIGCONT)
        self.up()
        up = time.time() - began
        until(lambda: complete(folder) > newest and self.recovered(began), self.it.status)
        back = (folder / f"chk-{complete(folder)}" / "_metadata").stat().st_mtime - began
        committed = self.committed(pending)
        self.between += when == "complete" and committed > 0
        self.figures.append(
            f"{' and '.join(names)}, checkpoint {newest} {when}: {sum(b - a for a, b in pending.values())} records "
            f"pending, {committed} of them committed then; up again after {up:.1f} s, "
            f"checkpointing after {back:.1f} s"
        )
        print(self.figures[-1], flush=True)

    def struck(self, folder: Path, when: str, tasks: int) -> None:
        """Waits for the moment. In the midst of a commit, what would commit stands still: the checkpoint counts, and
        its outputs are pre-committed."""
        if when == "any":
            threading.Event().wait(self.rng.uniform(0.5, 2.0))  # a moment nobody chose
            return
        name, deadline = "_metadata" if when == "complete" else "", time.monotonic() + PATIENCE
        while True:
            newest = begun(folder)
            while not any((folder / f"chk-{n}" / name).exists() for n in range(newest + 1, newest + 10)):
                assert time.monotonic() < deadline, (sorted(folder.iterdir()), self.it.status())
                time.sleep(0.0005)
            if when == "triggered":
                return
            os.kill(tasks, signal.SIGSTOP)
            if self.pending():
                return
            # Nothing was in that checkpoint, or it is committed already.
            os.kill(tasks, signal.SIGCONT)

    def pending(self) -> dict[Partition, tuple[int, int]]:
        """Where outputs are written and not committed: from the first open transaction of a partition to its end."""
        ends = []
        for isolation in ("read_committed", "read_uncommitted"):
            with consumer(self.it, isolation) as reader:
                outputs = [p for o in self.it.scenario.job.writes for p in self.it.log.partitions(o.topic)]
                ends.append({p: reader.get_watermark_offsets(TopicPartition(*p), timeout=30)[1] for p in outputs})
        return {p: (low, ends[1][p]) for p, low in ends[0].items() if low < ends[1][p]}

    def committed(self, ranges: dict[Partition, tuple[int, int]]) -> int:
        """How many records of these ranges a reader of committed records gets."""
        return sum(low <= r.offset < high for p, (low, high) in ranges.items() for r in read_all(self.it.log, p))

    def recovered(self, began: float) -> bool:
        job = self.checkpoints.name
        restored = ((ask(self.url, f"/jobs/{job}/checkpoints") or {}).get("latest") or {}).get("restored")
        state = (ask(self.url, f"/jobs/{job}") or {}).get("state")
        return bool(state == "RUNNING" and restored and restored["restore_timestamp"] > began * 1000)

    def kill_tending(self) -> None:
        """kill -9 of the process that tends the job; the supervisor starts another, which finds the job."""
        whole = psutil.Process(process.running(self.run, "supervisor").pid).children(recursive=True)
        (tending,) = [p for p in whole if "run-job" in p.cmdline() and self.it.name in p.cmdline()]
        began = time.time()
        tending.kill()
        told = self.it.status
        until(lambda: told()["reported"] > began + 1 and told()["state"] == "running", told)
        after = told()
        assert after["flink_job"] == self.checkpoints.name
        self.figures.append(f"the tending process: reporting again after {after['reported'] - began:.1f} s")
        print(self.figures[-1], flush=True)


@contextmanager
def consumer(it: Life, isolation: str) -> Iterator[Consumer]:
    reader = Consumer({"bootstrap.servers": it.outside.bootstrap, "group.id": "p", "isolation.level": isolation})
    try:
        yield reader
    finally:
        reader.close()


def complete(folder: Path) -> int:
    """The number of the newest complete checkpoint."""
    return max((int(f.parent.name.removeprefix("chk-")) for f in folder.glob("chk-*/_metadata")), default=0)


def begun(folder: Path) -> int:
    return max((int(f.name.removeprefix("chk-")) for f in folder.glob("chk-*")), default=0)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Publisher(threading.Thread):
    """Publishes a life's events, a few at a time, until told to stop; then the rest of them at once."""

    def __init__(self, it: Life) -> None:
        super().__init__()
        self.it, self.stopping, self.error = it, threading.Event(), ""
        self.log = KafkaLog({"bootstrap.servers": it.outside.bootstrap})

    def run(self) -> None:
        sent, every = 0, len(self.it.scenario.sendings)
        try:
            while sent < every:
                many = every if self.stopping.wait(0.2) else sent + 15
                publish(self.log, self.it.scenario, sent, many)
                sent = many
        except Exception as error:
            self.error = repr(error)
        finally:
            self.log.close()


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", ["process", "thread"])
def test_ten_kills(own_home, fresh, tmp_path, mode):
    settings = config.load(own_home)
    lifecycle.up(settings, taskmanagers=1)
    with life(config.connect(own_home), fresh("chaos"), tmp_path, EVENTS) as it:
        chaos, publisher = Chaos(settings, it), Publisher(it)
        publisher.start()
        try:
            it.submit("--parallelism", "2", "--option", f"mode={mode}")
            until(lambda: complete(chaos.checkpoints) > 1, it.status)
            for number, (names, when) in enumerate(KILLS):
                chaos.kill(names, when)
                if number == 4:
                    chaos.kill_tending()
            assert publisher.is_alive(), "all came before the last kill: let more come"
        finally:
            publisher.stopping.set()
            publisher.join(120)
        assert not publisher.error, publisher.error
        it.caught_up()
        status = it.status()
        assert (status["state"], status["flink_job"], status["mode"]) == ("running", chaos.checkpoints.name, mode)
        it.check()
        assert chaos.between >= 3, "too few kills struck between the phases of a commit"
        it.outside.tidemill("job", "stop", it.name, "--wait", 300, timeout=400)
        it.check()
        print(f"{chaos.between} of {len(KILLS)} kills struck between the two phases of a commit")

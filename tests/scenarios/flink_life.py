"""A keyed job on a Flink cluster as its owner sees it: job files, what comes in, and the command line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.kafka import KafkaLog
from tests.scenarios.outside import Outside
from tidemill.checks.engines import check_outcome, expected, numbers
from tidemill.checks.inputs import adversarial, stream
from tidemill.checks.scenarios import Scenario, publish
from tidemill.checks.witness import witness
from tidemill.order import EventTime
from tidemill_app.catalogue import Catalogue

GROUPS, LATENESS = 4, 30
FAST = ("--option", "checkpoint_ms=300", "--option", "gather_ms=50")
PATIENCE = 600.0

JOB = """
from dataclasses import replace

from tidemill.checks.witness import Witness, witness
from tidemill.job import Input
from tidemill.order import Arrival, EventTime

class More(Witness):
    extra: int = 0

def job():
    return replace(witness("{job}", ["{stream}"], {groups}, EventTime(lateness={lateness}, idle_after=None)){changes})
"""


class Life:
    """One job and its stream, on the cluster of a home."""

    def __init__(self, connection: Any, name: str, folder: Path, events: int) -> None:
        spec = stream(name, 3)
        job = witness(name, [name], GROUPS, EventTime(lateness=LATENESS, idle_after=None))
        self.name, self.folder, self.outside = name, folder, Outside(connection)
        self.log = KafkaLog({"bootstrap.servers": str(connection.bootstrap)})
        self.scenario = Scenario(name, job, {name: spec}, adversarial([spec], events, 40, seed=5))
        Catalogue(self.log).declare(spec)
        self._sent = 0

    def file(self, changes: str = "") -> Path:
        """The job file with these changes to the job."""
        path = self.folder / "job.py"
        said = f", {changes}" if changes else ""
        text = JOB.format(job=self.name, stream=self.name, groups=GROUPS, lateness=LATENESS, changes=said)
        path.write_text(text)
        return path

    def submit(self, *options: str, changes: str = "") -> Any:
        return self.outside.tidemill(
            "submit", self.file(changes), "--engine", "flink", *FAST, *options, "--wait", 300, timeout=400
        )

    def publish(self, share: float) -> None:
        """What comes up to this share of all that comes."""
        until = round(len(self.scenario.sendings) * share)
        publish(self.log, self.scenario, self._sent, until)
        self._sent = until

    def status(self) -> Any:
        return self.outside.tidemill("job", "show", self.name)

    def caught_up(self) -> None:
        """Waits until all that came is worked, and its outputs are committed."""
        wanted = numbers(self.scenario, expected(self.scenario, self.log))
        until(lambda: all(self.count(topic) >= n for topic, n in wanted.items()), self.status)

    def count(self, topic: str) -> int:
        return sum(1 for _ in self.outside.read(topic)) if topic in self.log.topics() else 0

    def check(self) -> None:
        """All that came out is what the reference interpreter gives: each row once, by key in order."""
        check_outcome(self.scenario, self.log)


def until(condition: Any, what: Any, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what()}"
        time.sleep(0.2)


@contextmanager
def life(connection: Any, name: str, folder: Path, events: int) -> Iterator[Life]:
    """A life whose job is stopped in the end."""
    made = Life(connection, name, folder, events)
    try:
        yield made
    finally:
        made.outside.run("job", "stop", name)
        made.log.close()

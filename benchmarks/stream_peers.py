"""One job, four programs: our local engine on JSON records and on Arrow blocks, Quix Streams and Bytewax with River.

Each runs alone, in a process of its own, and the peers in environments of their own. All predict and then learn the
same events with a standard scaler and a logistic regression, and write one prediction for each, acknowledged by all
replicas and compressed with lz4. The peers read the topic of JSON records that ours reads; on Arrow blocks, ours reads
the same events in blocks. The outputs are read back with `read_committed` and counted, and the predictions compared,
before a ratio counts.

*Start* is the time from the start of the process until a reader sees the first output, *steady* the rate of the
outputs after it, until a reader sees the last. Ours is exactly once, and keeps its state; what the peers promise and
keep stands with each (`benchmarks/peers/`). `TIDEMILL_BENCH_EVENTS` and `TIDEMILL_BENCH_RUNS` say how many.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Consumer

from benchmarks.harness import compare
from benchmarks.peers.environment import environment
from benchmarks.peers.shared import LR, NAMES
from benchmarks.pipeline import BLOCK, Form, declare, fill, ours, predictions, same, scores
from connectors.kafka import KafkaLog, watermarks
from tidemill.log import Partition, TopicSpec
from tidemill.stream import StreamSpec

EVENTS = int(os.environ.get("TIDEMILL_BENCH_EVENTS", "1000000"))
RUNS = int(os.environ.get("TIDEMILL_BENCH_RUNS", "1"))
CHECKED = 20_000
FORMS: tuple[Form, ...] = ("json", "arrow")
ROOT = Path(__file__).parents[1]
PRODUCER = {"acks": "all", "compression.type": "lz4", "linger.ms": 5, "enable.idempotence": True}
LOOK = 0.02
"""Seconds between two looks at how much a reader would see."""


class Peer(NamedTuple):
    """A peer: its lock and its script in `benchmarks/peers/`, and what it promises."""

    name: str
    title: str
    says: str


PEERS = (
    Peer("quix", "Quix Streams 3.28.1 and River", "exactly once, commits every 0.5 s, its model in memory only"),
    Peer("bytewax", "Bytewax 0.21.1 and River", "at least once, batches of 1,000, its model in memory only"),
)


class Outcome(NamedTuple):
    """What one run gave: seconds until the first output, outputs after it and seconds until the last, predictions."""

    start: float
    rest: int
    seconds: float
    scores: dict[str, float]

    @property
    def steady(self) -> float:
        """Events a second after the first output."""
        if not self.rest:
            raise AssertionError("all outputs came at once: more events are needed for a rate")
        return self.rest / self.seconds


def run(log: KafkaLog, command: list[str | Path], order: dict[str, Any], form: Form) -> Outcome:
    """Run a program, with the order on its input, until it ends."""
    at = Partition(order["output"], 0)
    log.create(at.topic, TopicSpec())
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        began = time.monotonic()
        child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=said, stderr=said)
        try:
            assert child.stdin is not None
            child.stdin.write(json.dumps(order | {"folder": folder}).encode())
            child.stdin.close()
            seen = _watched(log, order["bootstrap"], at, child)
        finally:
            child.kill()
            child.wait()
        if child.returncode or not seen:
            said.seek(0)
            raise RuntimeError(f"{command}: exit code {child.returncode}: {said.read().decode()[-2000:]}")
    (first, end), (last, _) = seen[0], seen[-1]
    at_first = sum(1 for _ in predictions(log, at.topic, form, end=end))
    found = scores(log, at.topic, order["events"], form)
    return Outcome(first - began, len(found) - at_first, last - first, found)


def _watched(log: KafkaLog, bootstrap: str, at: Partition, child: subprocess.Popen[bytes]) -> list[tuple[float, int]]:
    """When a reader could see more of a topic, and up to which offset, until the program and its last commit ended."""
    seen, end, deadline = list[tuple[float, int]](), 0, time.monotonic() + 600
    written = Consumer({"bootstrap.servers": bootstrap, "group.id": at.topic, "isolation.level": "read_uncommitted"})
    while child.poll() is None or end < watermarks(written, at)[1]:
        if (now := log.end(at)) > end:
            end = now
            seen.append((time.monotonic(), end))
        if time.monotonic() > deadline:
            raise RuntimeError(f"{at.topic}: not done after 600 s")
        time.sleep(LOOK)
    written.close()
    return seen


class Compared:
    """`n` events, as JSON records and as Arrow blocks, and every program run on them."""

    def __init__(self, bootstrap: str, n: int) -> None:
        self.bootstrap, self.n = bootstrap, n
        self.log = KafkaLog({"bootstrap.servers": bootstrap})
        self.specs: dict[str, StreamSpec] = {}
        for form in FORMS:
            self.specs[form] = declare(f"bench-{uuid.uuid4().hex[:8]}")
            fill(self.log, self.specs[form], n, form)

    def ours(self, form: Form) -> Outcome:
        name, spec = f"bench-{uuid.uuid4().hex[:8]}", msgspec.to_builtins(self.specs[form])
        order = {"bootstrap": self.bootstrap, "spec": spec, "events": self.n, "form": form}
        order |= {"name": name, "output": f"predictions.{name}"}
        return run(self.log, [sys.executable, "-m", "benchmarks.stream_peers"], order, form)

    def peer(self, name: str) -> Outcome:
        order = {
            "bootstrap": self.bootstrap,
            "topic": self.specs["json"].topic,
            "output": f"{name}-{uuid.uuid4().hex[:8]}",
            "events": self.n,
            "names": NAMES,
            "lr": LR,
            "producer": PRODUCER,
        }
        return run(self.log, [environment(name), "-m", f"benchmarks.peers.{name}_river"], order, "json")

    def round(self) -> dict[str, Outcome]:
        """One run of each in turn, by name; raises unless all predicted the same."""
        mine = self.ours("json")
        out = {"json": mine._replace(scores={})}
        runs = {peer.name: partial(self.peer, peer.name) for peer in PEERS} | {"arrow": partial(self.ours, "arrow")}
        for name, once in runs.items():
            outcome = once()
            same(mine.scores, outcome.scores)
            out[name] = outcome._replace(scores={})
        return out


def main() -> None:
    """Steady state and start against each peer: of ours on JSON records, then on Arrow blocks."""
    bootstrap = os.environ["TIDEMILL_BOOTSTRAP"]
    Compared(bootstrap, CHECKED).round()  # equal before anything is timed; what is compiled once is compiled
    compared = Compared(bootstrap, EVENTS)
    rounds = [compared.round() for _ in range(RUNS)]
    for peer, form in product(PEERS, FORMS):
        texts = {"json": "JSON in and out", "arrow": f"Arrow blocks of {BLOCK:,} in and out, of the peer JSON"}
        workload = f"{EVENTS:,} flight-like events, {texts[form]}, one partition; the peer {peer.says}"
        name = f"stream_{peer.name}{'_arrow' if form == 'arrow' else ''}"
        shared: dict[str, Any] = {"check": lambda: None, "peer": peer.title, "runs": RUNS, "warmup": 0}
        compare(
            name,
            ours=iter([out[form].steady for out in rounds]).__next__,
            theirs=iter([out[peer.name].steady for out in rounds]).__next__,
            unit="events/s",
            workload=f"{workload}; start apart",
            aim=5,
            **shared,
        )
        compare(
            f"{name}_start",
            ours=iter([out[form].start for out in rounds]).__next__,
            theirs=iter([out[peer.name].start for out in rounds]).__next__,
            unit="s",
            workload="the same runs: start of the process to the first output",
            better="lower",
            **shared,
        )


def alone() -> None:
    """Our side, in this process; its order is on the input."""
    order = json.loads(sys.stdin.read())
    log = KafkaLog({"bootstrap.servers": order["bootstrap"]})
    ours(log, msgspec.convert(order["spec"], StreamSpec), order["events"], order["form"], name=order["name"])
    log.close()


if __name__ == "__main__":
    alone()

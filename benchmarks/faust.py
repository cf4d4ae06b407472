"""One job, JSON in and out: our Faust engine, and plain Faust with River.

Both read the same topic, predict and then learn each event with a standard scaler and a logistic regression, and write
one prediction for each, acknowledged by all replicas. The outputs are read back and counted, and the predictions
compared, before a ratio counts. Plain Faust is what its documentation shows: an agent that awaits each event. It keeps
no state that would survive it; ours pays for its plans, its changelog and its metrics within the time.

Start-up is shown apart: from the call until events are taken. What follows is the steady state, until the broker has
appended the last prediction. `TIDEMILL_BENCH_EVENTS` and `TIDEMILL_BENCH_RUNS` say how many.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import faust
import orjson

from benchmarks.harness import compare
from benchmarks.peers.river_job import RiverJob
from benchmarks.peers.shared import LR, NAMES
from benchmarks.pipeline import declare, fill, ours, same, scores
from connectors.kafka import KafkaLog
from streams.engines.faust import FaustEngine
from tidemill.checks.reference import read_all
from tidemill.log import Partition, TopicSpec
from tidemill.stream import StreamSpec

EVENTS = int(os.environ.get("TIDEMILL_BENCH_EVENTS", "100000"))
RUNS = int(os.environ.get("TIDEMILL_BENCH_RUNS", "1"))


async def plain(bootstrap: str, spec: StreamSpec, n: int, output: str, began: Callable[[], None]) -> None:
    """A Faust app as one is written by hand, until `n` predictions are delivered; `began` is called at the first."""
    with tempfile.TemporaryDirectory() as folder:
        app = faust.App(
            f"plain-{uuid.uuid4().hex[:8]}",
            broker=f"kafka://{bootstrap}",
            datadir=folder,
            web_enabled=False,
            autodiscover=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
        )
        events = app.topic(spec.topic, value_type=bytes, value_serializer="raw")
        predictions = app.topic(output, value_type=bytes, value_serializer="raw")
        job, done, seen = RiverJob(NAMES, LR), asyncio.Event(), 0

        @app.agent(events)
        async def learn(stream: Any) -> None:
            nonlocal seen
            async for value in stream:
                if not seen:
                    began()
                if seen == n:
                    continue
                await predictions.send(value=orjson.dumps(job(orjson.loads(value))))
                seen += 1
                if seen == n:
                    done.set()

        await app.start()
        await done.wait()
        await app.producer.flush()
        await app.stop()


class Timed:
    """Runs both on one topic: start-up in seconds and steady state in events a second, of each run."""

    def __init__(self, bootstrap: str, n: int) -> None:
        self.bootstrap, self.n = bootstrap, n
        self.log = KafkaLog({"bootstrap.servers": bootstrap})
        self.spec = declare(f"bench-{uuid.uuid4().hex[:8]}")
        self.start: dict[str, list[float]] = {"ours": [], "plain": []}
        self.steady: dict[str, list[float]] = {"ours": [], "plain": []}
        fill(self.log, self.spec, n, "json")

    def _note(self, who: str, called: float, began: float, topic: str) -> dict[str, float]:
        last = read_all(self.log, Partition(topic, 0))[-1].timestamp / 1e6
        self.start[who].append(began - called)
        self.steady[who].append((self.n - 1) / (last - began))
        return scores(self.log, topic, self.n, "json")

    def ours(self) -> dict[str, float]:
        called = time.time()
        engine = FaustEngine({"bootstrap.servers": self.bootstrap})
        topic = ours(self.log, self.spec, self.n, "json", engine)
        # Its first progress record is written when it has recovered, before it is given anything to read.
        born = read_all(self.log, Partition(topic.replace("predictions.", "progress."), 0))[0].timestamp / 1e6
        return self._note("ours", called, born, topic)

    def plain(self) -> dict[str, float]:
        called, topic, began = time.time(), f"plain-{uuid.uuid4().hex[:8]}", list[float]()
        self.log.create(topic, TopicSpec())
        asyncio.run(plain(self.bootstrap, self.spec, self.n - 1, topic, lambda: began.append(time.time())))
        return self._note("plain", called, began[0], topic)

    def run(self) -> None:
        """`RUNS` of each in turn, each pair with equal predictions."""
        for _ in range(RUNS):
            same(self.ours(), self.plain())


def main() -> None:
    """Steady state, then start-up."""
    timed = Timed(os.environ["TIDEMILL_BOOTSTRAP"], EVENTS)
    peer = f"faust-streaming {version('faust-streaming')} and river {version('river')}, an agent by hand"
    workload = f"{EVENTS:,} flight-like events, JSON in and out, one partition"
    timed.run()
    for name, figures, unit, aim, better in (
        ("faust", timed.steady, "events/s", 10, "higher"),
        ("faust_start", timed.start, "s", None, "lower"),
    ):
        compare(
            name,
            ours=iter(figures["ours"]).__next__,
            theirs=iter(figures["plain"]).__next__,
            check=lambda: None,  # each pair was compared when it ran
            peer=peer,
            unit=unit,
            workload=f"{workload}, {'start-up' if better == 'lower' else 'start-up apart'}",
            aim=aim,
            better=better,  # type: ignore[arg-type]
            runs=RUNS,
            warmup=0,
        )
    timed.log.close()


if __name__ == "__main__":
    main()

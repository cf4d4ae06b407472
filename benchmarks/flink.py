"""Our job on Flink, and the same River pipeline written by hand in PyFlink's default process mode.

Both run on one cluster, one after the other. They read the same topic of JSON events, predict and then learn each
with a standard scaler and a logistic regression, and write one JSON prediction for each with Flink's exactly-once Kafka
sink, the same checkpoint interval, lz4. The outputs are read back with `read_committed` and counted, and the
predictions compared, before a ratio counts.

*Steady* is the rate at which outputs are appended between the first fifth and the last of them, *start* the time from
submission to the first append. `TIDEMILL_BENCH_EVENTS` and `TIDEMILL_BENCH_RUNS` say how many.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import orjson
from confluent_kafka import Consumer, TopicPartition

from benchmarks.harness import compare
from benchmarks.pipeline import LR, NAMES, declare, fill, same
from connectors import arrow
from connectors.artefacts import ArtefactStore
from connectors.kafka import KafkaLog
from connectors.signing import make_key
from streams.classifier import online_classifier
from streams.engines.flink import rest
from streams.engines.flink.engine import FlinkEngine
from streams.engines.flink.flow import Choices, Flow
from streams.learners.logistic import ScaledLogistic
from streams.state_store import FolderStore
from tidemill.engine import Parts
from tidemill.job import Job
from tidemill.log import Partition, TopicSpec
from tidemill.stream import StreamSpec
from tidemill.time import SystemClock
from tidemill_app import config
from tidemill_app.home import StackRecord
from tidemill_app.publisher import ArtefactPublisher
from tidemill_app.stack import flink, flink_files, lifecycle

EVENTS = int(os.environ.get("TIDEMILL_BENCH_EVENTS", "200000"))
RUNS = int(os.environ.get("TIDEMILL_BENCH_RUNS", "3"))
CHECKPOINT_MS = 1000
WORKER = "benchmarks.flink:load"


@contextmanager
def cluster(bootstrap: str) -> Iterator[config.Connection]:
    """A Flink cluster of this run's own, one TaskManager, beside the broker at `bootstrap`."""
    with tempfile.TemporaryDirectory() as folder:
        settings = msgspec.structs.replace(config.load(Path(folder) / "home"), bootstrap=bootstrap)
        try:
            parts = (*lifecycle.BROKERS, *flink.parts(StackRecord(taskmanagers=1), settings))
            lifecycle.up(settings, parts=parts, taskmanagers=1)
            yield config.connect(settings.home)
        finally:
            lifecycle.down(settings, True)


def job_of(name: str) -> Job[Any]:
    """The job under test."""
    shared: dict[str, Any] = {"features": NAMES, "label": "late", "positive": 1, "log_features": False}
    shared |= {"name": name, "stream": "bench", "metrics_every": 100_000, "version_every": None}
    return online_classifier(learner=lambda names: ScaledLogistic(names, lr=LR, intercept_lr=LR), **shared)


def parts_of(bootstrap: str, spec: StreamSpec, folder: str) -> Parts:
    """What the job works with; its states and artefacts are in `folder`."""
    log = KafkaLog({"bootstrap.servers": bootstrap})
    store = ArtefactStore(f"{folder}/artefacts", Path(folder) / "key.pem")
    return Parts(
        log=log,
        store=FolderStore(f"{folder}/state"),
        clock=SystemClock(),
        streams={"bench": spec},
        publisher=ArtefactPublisher(store, log, SystemClock()),
        arrow_decode=arrow.decode,
        arrow_encode=arrow.encode,
    )


def load(options: dict[str, Any]) -> tuple[Job[Any], Parts]:
    """What the operators load on the cluster."""
    spec = msgspec.convert(options["spec"], StreamSpec)
    return job_of(options["name"]), parts_of(options["bootstrap"], spec, options["folder"])


@contextmanager
def ours(on: config.Connection, spec: StreamSpec, **choices: Any) -> Iterator[str]:
    """Our job on the cluster; the topic of its predictions."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    lib = flink_files.library(on.home, on.settings)
    stop, failed = threading.Event(), []
    with tempfile.TemporaryDirectory() as folder:
        make_key(Path(folder) / "key.pem")
        engine = FlinkEngine(
            on.flink,
            Flow(
                kafka={"bootstrap.servers": on.bootstrap},
                jars=tuple(str(jar.resolve()) for jar in lib.glob("flink-sql-connector-kafka-*.jar")),
                choices=Choices(**{"checkpoint_ms": CHECKPOINT_MS} | choices),
            ),
            WORKER,
            {
                "name": name,
                "bootstrap": on.bootstrap,
                "spec": msgspec.to_builtins(spec),
                "folder": folder,
            },
            flink_files.client_environment(on.home, on.settings, on.flink),
        )

        def run() -> None:
            try:
                engine.run(job_of(name), parts_of(on.bootstrap, spec, folder), stop.is_set)
            except Exception as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"predictions.{name}"
        finally:
            stop.set()
            thread.join()
            if failed:
                raise failed[0]


@contextmanager
def theirs(on: config.Connection, spec: StreamSpec, checkpoint_ms: int = CHECKPOINT_MS) -> Iterator[str]:
    """The job by hand on the cluster; the topic of its predictions."""
    output = f"hand-{uuid.uuid4().hex[:8]}"
    KafkaLog({"bootstrap.servers": on.bootstrap}).create(output, TopicSpec())
    address, lib = on.flink.split("://")[1].rsplit(":", 1), flink_files.library(on.home, on.settings)
    jars = ";".join(f"file://{jar.resolve()}" for jar in lib.glob("flink-sql-connector-kafka-*.jar"))
    order = {
        "bootstrap": on.bootstrap,
        "topic": spec.topic,
        "output": output,
        "names": NAMES,
        "lr": LR,
        "label": "late",
        "producer": {"compression.type": "lz4", "transaction.timeout.ms": "600000"},
        "settings": {
            "execution.target": "remote",
            "rest.address": address[0],
            "rest.port": address[1],
            "execution.attached": "false",
            "pipeline.jars": jars,
            "parallelism.default": "1",
            "execution.checkpointing.interval": f"{checkpoint_ms} ms",
            "execution.checkpointing.mode": "EXACTLY_ONCE",
        },
    }
    script = Path(__file__).parent / "peers" / "flink_river.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        input=json.dumps(order).encode(),
        env=flink_files.client_environment(on.home, on.settings, on.flink),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-2000:])
    job = done.stdout.decode().split()[-1]
    at = rest.Cluster(on.flink)
    try:
        yield output
    finally:
        at.cancel(job)
        while at.state(job) not in rest.ENDED:
            time.sleep(0.1)
        at.close()


def consumer_of(bootstrap: str, topic: str) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"read-{uuid.uuid4().hex[:8]}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    return consumer


class Outcome(msgspec.Struct):
    """What one run over a filled topic gave."""

    start: float
    steady: float
    scores: dict[str, float]


Side = Callable[[], Any]
"""Opens a job on the cluster: one of `ours` and `theirs`, with its settings."""


def run_through(on: config.Connection, side: Side, wanted: int, seconds: float = 300.0) -> Outcome:
    """Run a job over its topic until `wanted` predictions are committed."""
    begun = time.time()
    with side() as topic:
        log, at = KafkaLog({"bootstrap.servers": on.bootstrap}), Partition(topic, 0)
        # The end of the log costs next to nothing to ask; a reader beside the job would take its processor.
        _await(lambda: topic in log.topics() and log.end(at) >= wanted, seconds, f"{topic}: too few predictions")
        log.close()
        times, scores, count = [], {}, 0
        consumer, deadline = consumer_of(on.bootstrap, topic), time.monotonic() + 60
        while count < wanted and time.monotonic() < deadline:
            for message in consumer.consume(10_000, 0.1):
                row = orjson.loads(message.value())
                scores[row["id"]] = row["score"]
                times.append(message.timestamp()[1] / 1000)
                count += 1
        consumer.close()
    if count != len(scores) or count < wanted:
        raise AssertionError(f"{topic}: {count} predictions of {len(scores)} events, wanted {wanted}")
    first = count // 5
    return Outcome(times[0] - begun, (count - first) / (times[-1] - times[first]), scores)


def _await(done: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(what)
        time.sleep(0.1)


def bench_steady(on: config.Connection) -> None:
    """Events a second once running, and the start."""
    log = KafkaLog({"bootstrap.servers": on.bootstrap})
    spec, n = declare(f"bench-{uuid.uuid4().hex[:8]}"), EVENTS
    fill(log, spec, n, "json")
    starts: list[tuple[float, float]] = []

    def mine() -> Outcome:
        return run_through(on, lambda: ours(on, spec), n - 1)

    def hands() -> Outcome:
        return run_through(on, lambda: theirs(on, spec), n)

    def check() -> None:
        a, b = mine(), hands()
        starts.append((a.start, b.start))
        b.scores.pop(f"f{n - 1}")  # no later event releases ours
        same(a.scores, b.scores)

    def timed(side: Callable[[], Outcome], which: int) -> Callable[[], float]:
        def once() -> float:
            outcome = side()
            seconds[which].append(outcome.start)
            return outcome.steady

        return once

    seconds: tuple[list[float], list[float]] = ([], [])
    peer = f"PyFlink {version('apache-flink')} and river {version('river')}, by hand"
    workload = f"{n:,} flight-like events, JSON in and out, one partition, exactly once, checkpoints every 1 s"
    compare(
        "flink_steady",
        ours=timed(mine, 0),
        theirs=timed(hands, 1),
        check=check,
        peer=peer,
        unit="events/s",
        workload=f"{workload}, start not included",
        aim=5,
        runs=RUNS,
        warmup=0,
    )
    a, b = iter(seconds[0]), iter(seconds[1])
    compare(
        "flink_start",
        ours=lambda: next(a),
        theirs=lambda: next(b),
        check=lambda: None,
        peer=peer,
        unit="s",
        workload="the same runs: submission to the first output",
        better="lower",
        runs=RUNS,
        warmup=0,
    )
    log.close()


def main() -> None:
    """Steady rate and start."""
    with cluster(os.environ["TIDEMILL_BOOTSTRAP"]) as on:
        bench_steady(on)


if __name__ == "__main__":
    main()

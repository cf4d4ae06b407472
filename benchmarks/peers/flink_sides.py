"""The two sides of `benchmarks/flink.py`, on one cluster: our job, and the same by hand.

Each side is a context manager: within it the job runs on the cluster, and it gives the topic of its predictions.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import orjson
from confluent_kafka import Consumer, TopicPartition

from benchmarks.peers.flink_job import job_of, parts_of
from benchmarks.peers.shared import LR, NAMES
from connectors.kafka import KafkaLog
from connectors.signing import make_key
from streams.engines.flink import rest
from streams.engines.flink.engine import FlinkEngine
from streams.engines.flink.flow import Choices, Flow
from tidemill.log import Partition, TopicSpec
from tidemill.stream import StreamSpec
from tidemill_app import config
from tidemill_app.home import StackRecord
from tidemill_app.stack import flink, flink_files, lifecycle

CHECKPOINT_MS = 1000
WORKER = "benchmarks.peers.flink_job:load"


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


@contextmanager
def ours(on: config.Connection, spec: StreamSpec, keyed: bool = False, **choices: Any) -> Iterator[str]:
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
                "keyed": keyed,
                "bootstrap": on.bootstrap,
                "spec": msgspec.to_builtins(spec),
                "folder": folder,
            },
            flink_files.client_environment(on.home, on.settings, on.flink),
        )

        def run() -> None:
            try:
                engine.run(job_of(name, keyed), parts_of(on.bootstrap, spec, folder), stop.is_set)
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
    script = Path(__file__).with_name("flink_river.py")
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
    """Reads a topic of one partition from its beginning, what is committed only."""
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


def run_through(on: config.Connection, side: Side, wanted: int, seconds: float = 600.0) -> Outcome:
    """Run a job over its topic until `wanted` predictions are committed."""
    begun = time.time()
    with side() as topic:
        log, at = KafkaLog({"bootstrap.servers": on.bootstrap}), Partition(topic, 0)
        # The end of the log costs next to nothing to ask; a reader beside the job would take its processor.
        await_until(lambda: topic in log.topics() and log.end(at) >= wanted, seconds, f"{topic}: too few predictions")
        log.close()
        times, scores, count = [], {}, 0
        consumer, deadline = consumer_of(on.bootstrap, topic), time.monotonic() + 60
        while count < wanted and time.monotonic() < deadline:
            for message in consumer.consume(10_000, 0.1):
                if count == wanted:
                    break  # the last event's, released by our engine when nothing has come for a while
                row = orjson.loads(message.value())
                scores[row["id"]] = row["score"]
                times.append(message.timestamp()[1] / 1000)
                count += 1
        consumer.close()
    if count != len(scores) or count < wanted:
        raise AssertionError(f"{topic}: {count} predictions of {len(scores)} events, wanted {wanted}")
    first = count // 5
    return Outcome(times[0] - begun, (count - first) / (times[-1] - times[first]), scores)


def await_until(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for it. Raises `AssertionError` saying `what` was not so after `seconds`."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(what)
        time.sleep(0.1)

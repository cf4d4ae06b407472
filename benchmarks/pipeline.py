"""Kafka to decode to learn to produce: our local engine, and a hand-written loop of confluent-kafka, orjson and River.

Both read the same topic of JSON records, predict and then learn each event with a standard scaler and a logistic
regression, and write one JSON prediction for each in transactions, acknowledged by all replicas and compressed with
lz4. The outputs are read back with `read_committed` and counted, and the predictions compared, before a ratio counts.
Ours pays for its start, its progress record and its snapshots within the time.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from river import linear_model, optim, preprocessing

from benchmarks.harness import compare, rate
from connectors.artefacts import ArtefactStore
from connectors.kafka import KafkaLog
from connectors.signing import make_key
from streams.classifier import online_classifier
from streams.engines.local import LocalEngine
from streams.learners.logistic import ScaledLogistic
from streams.state_store import FolderStore
from tidemill.engine import Parts
from tidemill.log import Partition, TopicSpec
from tidemill.stream import Field, StreamSpec
from tidemill.time import SystemClock
from tidemill_app.publisher import ArtefactPublisher

EVENTS = int(os.environ.get("TIDEMILL_BENCH_EVENTS", "1000000"))
RUNS = int(os.environ.get("TIDEMILL_BENCH_RUNS", "1"))
NAMES = ["hour", "distance", "temp", "wind", "rain", "carrier_rate", "route_rate", "queue"]
LR = 0.01


def declare(topic: str) -> StreamSpec:
    """The declaration of the flight-like events."""
    numbers = tuple(Field(name, "float") for name in NAMES)
    fields = (Field("id", "string"), Field("time", "time"), *numbers, Field("late", "int"))
    return StreamSpec(name="bench", fields=fields, time="time", time_unit="us", id="id", topic=topic)


def fill(log: KafkaLog, spec: StreamSpec, n: int) -> None:
    """`n` events, one a second, from a fixed seed."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, len(NAMES))) * 3 + 5
    late = (rng.random(n) < 1 / (1 + np.exp(-(x[:, 0] - x[:, 3]) / 4))).astype(int)
    log.create(spec.topic, spec.topic_spec())
    writer = log.writer()
    for i, (row, y) in enumerate(zip(x.tolist(), late.tolist(), strict=True)):
        event = {"id": f"f{i}", "time": i * 1_000_000, **dict(zip(NAMES, row, strict=True)), "late": y}
        writer.send(spec.topic, orjson.dumps(event))
    writer.flush()
    writer.close()


def ours(log: KafkaLog, spec: StreamSpec, n: int) -> str:
    """Run the job over the topic until its `n` − 1 predictions stand in the output; the output's topic.

    The last event has no later one to release it, and is left out of both.
    """
    name = f"bench-{uuid.uuid4().hex[:8]}"
    job = online_classifier(
        name=name,
        stream="bench",
        features=NAMES,
        label="late",
        positive=1,
        learner=lambda names: ScaledLogistic(names, lr=LR, intercept_lr=LR),
        log_features=False,
        metrics_every=100_000,
        version_every=None,
    )
    output, done = Partition(f"predictions.{name}", 0), threading.Event()

    def watch() -> None:
        log.create(output.topic, TopicSpec())
        while log.end(output) < n - 1:
            time.sleep(0.02)
        done.set()

    threading.Thread(target=watch, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        make_key(Path(folder) / "key.pem")
        publisher = ArtefactPublisher(ArtefactStore(f"{folder}/artefacts", Path(folder) / "key.pem"), SystemClock())
        store = FolderStore(f"{folder}/state")
        parts = Parts(log=log, store=store, clock=SystemClock(), streams={"bench": spec}, publisher=publisher)
        LocalEngine().run(job, parts, done.is_set)
    return output.topic


def by_hand(bootstrap: str, spec: StreamSpec, n: int) -> str:
    """What a careful person writes: batches, a transaction every 10,000 events, offsets in the transaction."""
    output, group = f"hand-{uuid.uuid4().hex[:8]}", f"hand-{uuid.uuid4().hex[:8]}"
    KafkaLog({"bootstrap.servers": bootstrap}).create(output, TopicSpec())
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(spec.topic, 0, 0)])
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": group,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 5,
        }
    )
    producer.init_transactions()
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(LR), intercept_lr=LR)
    seen = 0
    while seen < n - 1:
        producer.begin_transaction()
        messages = consumer.consume(min(10_000, n - 1 - seen), timeout=1.0)
        for message in messages:
            event = orjson.loads(message.value())
            x = {name: event[name] for name in NAMES}
            p = model.predict_proba_one(x).get(True, 0.5)
            model.learn_one(x, event["late"] == 1)
            producer.produce(output, orjson.dumps({"id": event["id"], "time": event["time"], "score": p}))
            producer.poll(0)
        seen += len(messages)
        offset = [TopicPartition(spec.topic, 0, messages[-1].offset() + 1)] if messages else []
        producer.send_offsets_to_transaction(offset, consumer.consumer_group_metadata())
        producer.commit_transaction()
    consumer.close()
    return output


def scores(log: KafkaLog, topic: str, n: int) -> dict[str, float]:
    """The predictions in a topic, by event; raises where there are not exactly `n` − 1, each once."""
    at = Partition(topic, 0)
    reader, found, count = log.reader({at: 0}), {}, 0
    deadline = time.monotonic() + 60
    while reader.positions()[at] < log.end(at) and time.monotonic() < deadline:
        for record in reader.poll(10_000, 1.0):
            row: dict[str, Any] = orjson.loads(record.value or b"{}")
            found[row["id"]] = row["score"]
            count += 1
    reader.close()
    if count != len(found) or count != n - 1:
        raise AssertionError(f"{topic}: {count} predictions of {len(found)} events, wanted {n - 1}")
    return found


def main() -> None:
    """Compare, on a topic of their own."""
    bootstrap = os.environ["TIDEMILL_BOOTSTRAP"]
    log = KafkaLog({"bootstrap.servers": bootstrap})
    spec = declare(f"bench-{uuid.uuid4().hex[:8]}")
    fill(log, spec, EVENTS)

    def same() -> None:
        a = scores(log, ours(log, spec, EVENTS), EVENTS)
        b = scores(log, by_hand(bootstrap, spec, EVENTS), EVENTS)
        worst = max(abs(a[id] - b[id]) for id in a)
        if not worst <= 1e-9:
            raise AssertionError(f"predictions differ by {worst}")

    compare(
        "pipeline_json",
        ours=rate(EVENTS - 1, lambda: ours(log, spec, EVENTS)),
        theirs=rate(EVENTS - 1, lambda: by_hand(bootstrap, spec, EVENTS)),
        check=same,
        peer="confluent-kafka + orjson + river 0.26.1, by hand",
        unit="events/s",
        workload=f"{EVENTS:,} flight-like events, JSON in and out, one partition, transactions",
        aim=2,
        runs=RUNS,
        warmup=0,
    )


if __name__ == "__main__":
    main()

"""Kafka to decode to learn to produce: our local engine, and a hand-written loop of confluent-kafka, a codec and River.

Both read the same topic, predict and then learn each event with a standard scaler and a logistic regression, and write
one prediction for each in transactions, acknowledged by all replicas and compressed with lz4: JSON records in and out,
or Arrow blocks in and out. The outputs are read back with `read_committed` and counted, and the predictions compared,
before a ratio counts. Ours pays for its start, metrics, drift detection, its progress record and its snapshots within
the time; the loop by hand has none of these.

`TIDEMILL_BENCH_EVENTS` and `TIDEMILL_BENCH_RUNS` say how many.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.harness import compare, rate
from benchmarks.peers.river_job import RiverJob
from benchmarks.peers.shared import LR, NAMES
from connectors import arrow
from connectors.artefacts import ArtefactStore
from connectors.kafka import KafkaLog
from connectors.signing import make_key
from streams.classifier import online_classifier
from streams.engines.local import LocalEngine
from streams.learners.logistic import ScaledLogistic
from streams.state_store import FolderStore
from tidemill.cloudevents import ARROW
from tidemill.engine import Engine, Parts
from tidemill.job import Effects
from tidemill.log import Partition, TopicSpec
from tidemill.order import Batch
from tidemill.stream import Field, StreamSpec
from tidemill.time import SystemClock
from tidemill_app.publisher import ArtefactPublisher

EVENTS = int(os.environ.get("TIDEMILL_BENCH_EVENTS", "1000000"))
RUNS = int(os.environ.get("TIDEMILL_BENCH_RUNS", "1"))
BLOCK = 1_000

Form = Literal["json", "arrow"]


def declare(topic: str) -> StreamSpec:
    """The declaration of the flight-like events."""
    numbers = tuple(Field(name, "float") for name in NAMES)
    fields = (Field("id", "string"), Field("time", "time"), *numbers, Field("late", "int"))
    return StreamSpec(name="bench", fields=fields, time="time", time_unit="us", id="id", topic=topic)


def fill(log: KafkaLog, spec: StreamSpec, n: int, form: Form) -> None:
    """`n` events, one a second, from a fixed seed; as JSON one a record, as Arrow `BLOCK` a record."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, len(NAMES))) * 3 + 5
    late = (rng.random(n) < 1 / (1 + np.exp(-(x[:, 0] - x[:, 3]) / 4))).astype(np.int64)
    ids, times = [f"f{i}" for i in range(n)], np.arange(n, dtype=np.int64) * 1_000_000
    log.create(spec.topic, spec.topic_spec())
    writer = log.writer()
    if form == "json":
        for id, time, row, y in zip(ids, times.tolist(), x.tolist(), late.tolist(), strict=True):
            event = {"id": id, "time": time, **dict(zip(NAMES, row, strict=True)), "late": y}
            writer.send(spec.topic, orjson.dumps(event))
    else:
        for at in range(0, n, BLOCK):
            part = slice(at, at + BLOCK)
            features = {name: x[part, j] for j, name in enumerate(NAMES)}
            columns = {"id": ids[part], "time": times[part], **features, "late": late[part]}
            writer.send(spec.topic, arrow.encode(columns), headers=[("content-type", ARROW.encode())])
    writer.flush()
    writer.close()


def ours(
    log: KafkaLog, spec: StreamSpec, n: int, form: Form, engine: Engine | None = None, name: str | None = None
) -> str:
    """Run the job over the topic until `n` − 1 predictions are committed; the output's topic, `predictions.<name>`.

    The last event has no later one to release it, and is left out of both.
    """
    name, stepped = name or f"bench-{uuid.uuid4().hex[:8]}", 0
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
        output=form,
    )

    def counted(state: Any, batch: Batch) -> Effects[Any]:
        nonlocal stepped
        stepped += len(batch)
        return job.step(state, batch)

    with tempfile.TemporaryDirectory() as folder:
        make_key(Path(folder) / "key.pem")
        publisher = ArtefactPublisher(
            ArtefactStore(f"{folder}/artefacts", Path(folder) / "key.pem"), log, SystemClock()
        )
        parts = Parts(
            log=log,
            store=FolderStore(f"{folder}/state"),
            clock=SystemClock(),
            streams={"bench": spec},
            publisher=publisher,
            arrow_decode=arrow.decode,
            arrow_encode=arrow.encode,
        )
        # The engine asks whether to stop when what was stepped is committed.
        (engine or LocalEngine()).run(replace(job, step=counted), parts, lambda: stepped >= n - 1)
    return f"predictions.{name}"


Rows = Sequence[dict[str, Any]]


def read_json(value: bytes) -> Rows:
    return (orjson.loads(value),)


def read_arrow(value: bytes) -> Rows:
    with pa.ipc.open_stream(value) as reader:
        return reader.read_next_batch().to_pylist()


def write_json(rows: Rows) -> list[bytes]:
    return [orjson.dumps(row) for row in rows]


def write_arrow(rows: Rows) -> list[bytes]:
    batch = pa.RecordBatch.from_pylist(list(rows))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return [sink.getvalue().to_pybytes()]


CODECS = {"json": (read_json, write_json), "arrow": (read_arrow, write_arrow)}


def by_hand(bootstrap: str, spec: StreamSpec, n: int, form: Form) -> str:
    """What a careful person writes: a transaction every 10,000 events, with the offsets in it; the output's topic."""
    output, group = f"hand-{uuid.uuid4().hex[:8]}", f"hand-{uuid.uuid4().hex[:8]}"
    KafkaLog({"bootstrap.servers": bootstrap}).create(output, TopicSpec())
    consumer = consumer_of(bootstrap, group, spec)
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
    job = RiverJob(NAMES, LR)
    read, write = CODECS[form]
    per_record = 1 if form == "json" else BLOCK
    seen = 0
    while seen < n - 1:
        producer.begin_transaction()
        messages = consumer.consume(max(1, min(10_000, n - 1 - seen) // per_record), timeout=1.0)
        for message in messages:
            made = [job(event) for event in read(message.value())[: n - 1 - seen]]
            seen += len(made)
            for value in write(made):
                producer.produce(output, value)
            producer.poll(0)
        offset = [TopicPartition(spec.topic, 0, messages[-1].offset() + 1)] if messages else []
        producer.send_offsets_to_transaction(offset, consumer.consumer_group_metadata())
        producer.commit_transaction()
    consumer.close()
    return output


def consumer_of(bootstrap: str, group: str, spec: StreamSpec) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(spec.topic, 0, 0)])
    return consumer


def only_read(bootstrap: str, spec: StreamSpec, n: int, form: Form) -> int:
    """The bare loop: fetch every record's bytes and do nothing with them; the number of records."""
    consumer, seen = consumer_of(bootstrap, f"read-{uuid.uuid4().hex[:8]}", spec), 0
    while seen < records_of(n, form):
        seen += sum([message.value() is not None for message in consumer.consume(10_000, timeout=0.1)])
    consumer.close()
    return seen


def records_of(n: int, form: Form) -> int:
    return n if form == "json" else -(-n // BLOCK)


def predictions(
    log: KafkaLog, topic: str, form: Form, *, wanted: int = 0, end: int | None = None
) -> Iterator[dict[str, Any]]:
    """The committed predictions in a topic: those before offset `end`; without it all, once `wanted` of them are there.

    A commit is seen a moment after it has returned.
    """
    at, read, given = Partition(topic, 0), CODECS[form][0], 0
    reader, deadline = log.reader({at: 0}), time.monotonic() + 120
    while given < wanted or reader.positions()[at] < (log.end(at) if end is None else end):
        if time.monotonic() > deadline:
            break
        for record in reader.poll(10_000, 1.0):
            if end is None or record.offset < end:
                rows = read(record.value or b"{}")
                given += len(rows)
                yield from rows
    reader.close()


def scores(log: KafkaLog, topic: str, n: int, form: Form) -> dict[str, float]:
    """The predictions in a topic but that of the last event, by event; raises where there are not `n` − 1, each once.

    No later event releases the last one: ours leaves it out, unless the topic was quiet for long enough before the end.
    """
    found, count = {}, 0
    for row in predictions(log, topic, form, wanted=n - 1):
        if row["id"] != f"f{n - 1}":
            found[row["id"]] = row["score"]
            count += 1
    if count != len(found) or count != n - 1:
        raise AssertionError(f"{topic}: {count} predictions of {len(found)} events, wanted {n - 1}")
    return found


def same(a: dict[str, float], b: dict[str, float]) -> None:
    """Raises unless both predicted the same events, within 1e-9 of each other."""
    if a.keys() != b.keys():
        raise AssertionError("other events were predicted")
    worst = max(abs(a[id] - b[id]) for id in a)
    if not worst <= 1e-9:
        raise AssertionError(f"predictions differ by {worst}")
    print(f"largest difference of predictions: {worst:.1e}", file=sys.stderr)


def bench(bootstrap: str, form: Form, aim: float) -> None:
    """Ours against the loop by hand and against a loop that only reads, on a topic of their own."""
    log, n = KafkaLog({"bootstrap.servers": bootstrap}), EVENTS
    spec = declare(f"bench-{uuid.uuid4().hex[:8]}")
    fill(log, spec, n, form)
    measured: list[float] = []

    def check() -> None:
        mine, hands = ours(log, spec, n, form), by_hand(bootstrap, spec, n, form)
        same(scores(log, mine, n, form), scores(log, hands, n, form))

    def job() -> float:
        measured.append(rate(n - 1, lambda: ours(log, spec, n, form))())
        return measured[-1]

    def all_read() -> None:
        if only_read(bootstrap, spec, n, form) != records_of(n, form):
            raise AssertionError("the bare loop read another number of records")

    workload = f"{n:,} flight-like events, {'JSON' if form == 'json' else f'Arrow blocks of {BLOCK:,}'} in and out"
    compare(
        f"pipeline_{form}",
        ours=job,
        theirs=rate(n - 1, lambda: by_hand(bootstrap, spec, n, form)),
        check=check,
        peer=f"confluent-kafka, {'orjson' if form == 'json' else 'pyarrow'} and river {version('river')}, by hand",
        unit="events/s",
        workload=f"{workload}, one partition, transactions, start included",
        aim=aim,
        runs=RUNS,
        warmup=0,
    )
    again = iter(measured[-RUNS:])
    compare(
        f"pipeline_{form}_of_consume",
        ours=lambda: next(again),
        theirs=rate(n - 1, lambda: only_read(bootstrap, spec, n, form)),
        check=all_read,
        peer="confluent-kafka, only reading",
        unit="events/s",
        workload=workload,
        runs=RUNS,
        warmup=0,
    )
    log.close()


def main() -> None:
    """JSON in and out, then Arrow blocks in and out."""
    bootstrap = os.environ["TIDEMILL_BOOTSTRAP"]
    bench(bootstrap, "json", 2)
    bench(bootstrap, "arrow", 5)


if __name__ == "__main__":
    main()

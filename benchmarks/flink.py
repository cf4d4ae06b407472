"""Our job on Flink, and the same River pipeline written by hand in PyFlink's default process mode.

Both run on one cluster, one after the other. They read the same topic of JSON events, predict and then learn each
with a standard scaler and a logistic regression, and write one JSON prediction for each with Flink's exactly-once Kafka
sink, the same checkpoint interval, lz4. The outputs are read back with `read_committed` and counted, and the
predictions compared, before a ratio counts.

*Steady* is the rate at which outputs are appended between the first fifth and the last of them, of ours over
`TIDEMILL_BENCH_EVENTS` events and by hand over a fifth of them, for which it needs as long; *start* is the time from
submission to the first append; *parallelism* our keyed job's steady rate with two tasks over that with one. Latency is
measured by `flink_latency.py`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from importlib.metadata import version

import msgspec
import numpy as np
import orjson

from benchmarks.harness import compare
from benchmarks.peers.flink_job import CARRIERS
from benchmarks.peers.flink_sides import Outcome, cluster, ours, run_through, theirs
from benchmarks.peers.shared import NAMES
from benchmarks.pipeline import declare, fill, same
from connectors.kafka import KafkaLog
from tidemill.stream import Field, StreamSpec
from tidemill_app import config

EVENTS = int(os.environ.get("TIDEMILL_BENCH_EVENTS", "1000000"))
RUNS = int(os.environ.get("TIDEMILL_BENCH_RUNS", "3"))
PARTITIONS = 4


def bench_steady(on: config.Connection, log: KafkaLog) -> None:
    """Events a second once running, and the start."""
    few, many = EVENTS // 5, EVENTS
    small, large = declare(f"bench-{uuid.uuid4().hex[:8]}"), declare(f"bench-{uuid.uuid4().hex[:8]}")
    fill(log, small, few, "json")
    fill(log, large, many, "json")
    starts: tuple[list[float], list[float]] = ([], [])

    def check() -> None:
        a = run_through(on, lambda: ours(on, small), few - 1)
        b = run_through(on, lambda: theirs(on, small), few)
        b.scores.pop(f"f{few - 1}")  # no later event releases ours
        same(a.scores, b.scores)

    def noted(which: int, outcome: Callable[[], Outcome]) -> Callable[[], float]:
        def once() -> float:
            found = outcome()
            starts[which].append(found.start)
            return found.steady

        return once

    peer = f"PyFlink {version('apache-flink')} and river {version('river')}, by hand"
    compare(
        "flink_steady",
        ours=noted(0, lambda: run_through(on, lambda: ours(on, large), many - 1)),
        theirs=noted(1, lambda: run_through(on, lambda: theirs(on, small), few)),
        check=check,
        peer=peer,
        unit="events/s",
        workload=f"{many:,} flight-like events ({few:,} by hand), JSON in and out, one partition, exactly once, "
        "checkpoints every 1 s, start not included",
        aim=5,
        runs=RUNS,
        warmup=0,
    )
    a, b = iter(starts[0]), iter(starts[1])
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


def bench_parallel(on: config.Connection, log: KafkaLog) -> None:
    """The keyed job at parallelism 2 and 1."""
    events = EVENTS // 2
    spec = fill_keyed(log, events)

    def at(parallelism: int) -> Outcome:
        return run_through(on, lambda: ours(on, spec, keyed=True, parallelism=parallelism), events)

    def check() -> None:
        same(at(1).scores, at(2).scores)

    compare(
        "flink_parallelism",
        ours=lambda: at(2).steady,
        theirs=lambda: at(1).steady,
        check=check,
        peer="the same at parallelism 1",
        unit="events/s",
        workload=f"{events:,} events of {CARRIERS} carriers in {PARTITIONS} partitions, parallelism 2, "
        f"{os.cpu_count()} cores",
        runs=RUNS,
        warmup=0,
    )


def fill_keyed(log: KafkaLog, n: int) -> StreamSpec:
    """`n` events of all carriers over `PARTITIONS` partitions, and of each carrier one more, that releases them."""
    plain = declare(f"bench-{uuid.uuid4().hex[:8]}")
    fields = (*plain.fields, Field("carrier", "string"))
    spec = msgspec.structs.replace(plain, fields=fields, key="carrier", partitions=PARTITIONS)
    log.create(spec.topic, spec.topic_spec())
    rng, writer = np.random.default_rng(3), log.writer()
    x, late = rng.normal(size=(n, len(NAMES))) * 3 + 5, rng.integers(0, 2, n).tolist()
    for i, row in enumerate([*x.tolist(), *[[0.0] * len(NAMES)] * CARRIERS]):
        last = i >= n
        event = {"id": f"f{i}", "time": (n + 10 if last else i) * 1_000_000, **dict(zip(NAMES, row, strict=True))}
        event |= {"late": 0 if last else late[i], "carrier": f"C{i % CARRIERS}"}
        writer.send(spec.topic, orjson.dumps(event), key=event["carrier"].encode())
    writer.flush()
    writer.close()
    return spec


def main() -> None:
    """Steady rate and start, parallelism."""
    with cluster(os.environ["TIDEMILL_BOOTSTRAP"]) as on:
        log = KafkaLog({"bootstrap.servers": on.bootstrap})
        bench_steady(on, log)
        bench_parallel(on, log)
        log.close()


if __name__ == "__main__":
    main()

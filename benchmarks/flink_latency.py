"""How long an event takes through Flink, ours and River by hand: from its append to its prediction's visibility.

Visible is what a `read_committed` reader beside the job gets, so a checkpoint is part of it. Both get `RATE` events a
second for `SECONDS`, of which the first `SETTLE` do not count, at the same checkpoint interval first; then ours with a
shorter one, which its cheap checkpoints allow (the last of them is what the aim is held against).
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import version

import numpy as np
import orjson

from benchmarks.harness import compare
from benchmarks.peers.flink_sides import CHECKPOINT_MS, await_until, cluster, consumer_of, ours, theirs
from benchmarks.peers.shared import NAMES
from benchmarks.pipeline import declare
from connectors.kafka import KafkaLog
from tidemill.stream import StreamSpec
from tidemill_app import config

RATE, SECONDS, SETTLE = 2_000, 20.0, 8.0
SHORT_MS = 100

Side = Callable[[StreamSpec], AbstractContextManager[str]]


def latencies(on: config.Connection, log: KafkaLog, side: Side) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    spec = declare(f"bench-{uuid.uuid4().hex[:8]}")
    log.create(spec.topic, spec.topic_spec())
    seen: dict[str, float] = {}
    first, over = threading.Event(), threading.Event()

    def follow(topic: str) -> None:
        consumer = consumer_of(on.bootstrap, topic)
        while not over.is_set():
            for message in consumer.consume(10_000, 0.01):
                seen[orjson.loads(message.value())["id"]] = time.time()
                first.set()
        consumer.close()

    with side(spec) as topic:
        await_until(lambda: topic in log.topics(), 60, f"{topic} is not made")
        reader = threading.Thread(target=follow, args=(topic,))
        reader.start()
        try:
            sent, settled = _send(log, spec, first)
            await_until(lambda: f"f{sent - 2}" in seen, 60, f"{topic}: predictions do not come")
        finally:
            over.set()
            reader.join()
    appended = _append_times(on.bootstrap, spec.topic, sent)
    # No later event releases our last.
    took = [(seen[f"f{i}"] - appended[i]) * 1000 for i in range(settled, sent - 1)]
    return float(np.percentile(took, 50)), float(np.percentile(took, 99))


def _send(log: KafkaLog, spec: StreamSpec, first: threading.Event) -> tuple[int, int]:
    """Send a few events until the first prediction is visible, then `RATE` a second; how many, and from which on the
    latency counts."""
    x, writer, sent = np.random.default_rng(5).normal(size=(1000, len(NAMES))) * 3 + 5, log.writer(), 0

    def send(count: int) -> None:
        nonlocal sent
        for _ in range(count):
            row = dict(zip(NAMES, x[sent % 1000].tolist(), strict=True))
            event = {"id": f"f{sent}", "time": sent * 1_000_000, **row, "late": sent % 2}
            writer.send(spec.topic, orjson.dumps(event))
            sent += 1
        writer.flush()

    deadline = time.monotonic() + 300
    while not first.wait(0.2):
        if time.monotonic() > deadline:
            raise AssertionError("no prediction comes")
        send(2)
    begun, settled, before = time.monotonic(), 0, sent
    while (passed := time.monotonic() - begun) < SECONDS:
        settled = settled or (sent if passed >= SETTLE else 0)
        send(max(0, int(passed * RATE) - (sent - before)))
        time.sleep(0.005)
    writer.close()
    return sent, settled


def _append_times(bootstrap: str, topic: str, count: int) -> list[float]:
    consumer, out = consumer_of(bootstrap, topic), list[float]()
    while len(out) < count:
        out += [message.timestamp()[1] / 1000 for message in consumer.consume(10_000, 1.0)]
    consumer.close()
    return out


def bench(on: config.Connection, log: KafkaLog) -> None:
    """The median and the 99th percentile at the same checkpoint interval, and with ours shortened."""
    hands = latencies(on, log, lambda spec: theirs(on, spec))
    for ms in (CHECKPOINT_MS, SHORT_MS):
        mine = latencies(on, log, lambda spec, ms=ms: ours(on, spec, checkpoint_ms=ms))  # type: ignore[misc]
        for name, a, b in zip(("p50", "p99"), mine, hands, strict=True):
            compare(
                f"flink_latency_{name}_{ms}",
                ours=lambda a=a: a,  # type: ignore[misc]
                theirs=lambda b=b: b,  # type: ignore[misc]
                check=lambda: None,
                peer=f"PyFlink {version('apache-flink')} and river {version('river')}, by hand, checkpoints every 1 s",
                unit="ms",
                workload=f"{RATE:,} events/s for {SECONDS - SETTLE:.0f} s, ours with checkpoints every {ms} ms",
                aim=10 if (name, ms) == ("p99", SHORT_MS) else None,
                better="lower",
                runs=1,
                warmup=0,
            )


def main() -> None:
    """Latency alone."""
    with cluster(os.environ["TIDEMILL_BOOTSTRAP"]) as on:
        log = KafkaLog({"bootstrap.servers": on.bootstrap})
        bench(on, log)
        log.close()


if __name__ == "__main__":
    main()

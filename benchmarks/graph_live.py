"""How soon an edge is seen, and how soon a request is answered, while a graph grows: on a whole stack of its own.

`tidemill up`, a `graph_job` of order `arrival` that commits every 10 ms, `tidemill serve`. One process publishes
`EDGES` edges a second, each a record of JSON, and then, on a new stack, in Arrow blocks of `BLOCK`; another sends
`REQUESTS` requests a second for the ten newest neighbours of a node, one after another over one connection, and notes
the position of each answer. An edge is seen at the first answer whose position covers it; its latency counts from the
moment it was due, whether the publisher was late or the edge waited for its block. The first `WARM` seconds do not
count. All share the machine. `TIDEMILL_BENCH_SECONDS` says how long.
"""

from __future__ import annotations

import bisect
import http.client
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import orjson

from benchmarks.harness import measure
from benchmarks.latency import Stack
from connectors import arrow
from tidemill.cloudevents import ARROW

Form = Literal["json", "arrow"]
SECONDS = float(os.environ.get("TIDEMILL_BENCH_SECONDS", "30"))
WARM = 10.0
EDGES, REQUESTS, NODES, BLOCK = 20_000, 200, 2_000, 100
JOB = """
from graph.job import graph_job
from graph.mapping import EdgeFrom, GraphSpec
from graph.relation import Relation
from tidemill.order import Arrival


def job():
    return graph_job(
        name="people",
        spec=GraphSpec(
            nodes=["person"],
            relations=[Relation("wrote", "person", "person")],
            rules=[EdgeFrom("wrote", "messages", source="source", target="target")],
        ),
        relation="wrote",
        order=Arrival(),
        commit_every=0.01,
    )
"""


def publish(bootstrap: str, stop: float, form: Form, out: Any) -> None:
    """Edges at a steady pace until `stop`: gives when each was due, in the order of the one partition."""
    from confluent_kafka import Producer

    size = 1 if form == "json" else BLOCK
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 2, "compression.type": "lz4"})
    pairs = np.random.default_rng(3).integers(0, NODES, (10_000, 2)).tolist()
    sent: list[float] = []
    begun = time.time()
    while (now := time.time()) < stop:
        while len(sent) + size <= (now - begun) * EDGES:
            places = range(len(sent), len(sent) + size)
            events = [
                {"id": f"e{i}", "time": int((begun + i / EDGES) * 1e6), "source": a, "target": b}
                for i, (a, b) in ((i, pairs[i % 10_000]) for i in places)
            ]
            sent += [begun + i / EDGES for i in places]
            if form == "json":
                producer.produce("data.messages", orjson.dumps(events[0]))
            else:
                columns = {name: [event[name] for event in events] for name in events[0]}
                value = arrow.encode(columns)
                producer.produce("data.messages", value, headers=[("content-type", ARROW.encode())])
        producer.poll(0.001)
    producer.flush()
    out.send(sent)


def ask(port: int, stop: float) -> tuple[list[tuple[float, int]], list[tuple[float, float]]]:
    """When each position was first answered, and of every request when it was due and how long its answer took."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    rng, covers, latency = np.random.default_rng(4), list[tuple[float, int]](), list[tuple[float, float]]()
    begun, number = time.time(), 0
    while time.time() < stop:
        due = begun + number / REQUESTS
        if (pause := due - time.time()) > 0:
            time.sleep(pause)
        body = orjson.dumps({"source": int(rng.integers(NODES))})
        connection.request("POST", "/score/people-neighbours", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        told = orjson.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"no answer: {told}")
        now = time.time()
        latency.append((due, now - due))
        if not covers or told["position"] > covers[-1][1]:
            covers.append((now, told["position"]))
        number += 1
    return covers, latency


def bootstrap_of(stack: Stack) -> str:
    parts = {part["name"]: part for part in stack("status")["parts"]}
    return str(parts["kafka"]["address"])


def bench(stack: Stack, form: Form) -> None:
    with stack.serving() as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        here, there = multiprocessing.Pipe()
        stop = time.time() + WARM + SECONDS
        publisher = multiprocessing.Process(target=publish, args=(bootstrap_of(stack), stop, form, there))
        publisher.start()
        deadline = time.monotonic() + 60
        while True:
            connection.request("POST", "/score/people-neighbours", b'{"source": 1}')
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                break
            if time.monotonic() > deadline:
                raise RuntimeError("the endpoint does not answer")
            time.sleep(0.1)
        begun = time.time()
        covers, latency = ask(port, stop - 2)
        sent = here.recv()
        publisher.join()
    counted = max(begun, stop - SECONDS)
    positions = [position for _, position in covers]
    seen = []
    for i in range(0, len(sent), 20):
        at = bisect.bisect_right(positions, i)
        if sent[i] >= counted and at < len(covers):
            seen.append(covers[at][0] - sent[i])
    took = [seconds for due, seconds in latency if due >= counted]
    written = "JSON" if form == "json" else f"Arrow blocks of {BLOCK}"
    paces = f"{EDGES:,} edges/s written as {written}, {REQUESTS} requests/s for ten neighbours"
    workload = f"{paces}, {os.cpu_count()} cores for all"
    for name, values, share, aim in (
        ("seen_p50", seen, 50, None),
        ("seen_p99", seen, 99, 50.0),
        ("answer_p50", took, 50, None),
        ("answer_p99", took, 99, 5.0),
    ):
        measure(
            f"graph_live_{form}_{name}",
            lambda v=values, s=share: float(np.percentile(v, s)) * 1000,  # type: ignore[misc]
            unit="ms",
            workload=workload,
            aim=aim,
            better="lower",
        )


def run(form: Form) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "home")
        stack("up")
        try:
            rows = Path(folder) / "rows.csv"
            rows.write_text("id,time,source,target\ne0,1700000000000000,1,2\n")
            how = ("--id", "id", "--time", "time", "--time-unit", "us", "--partitions", "1")
            stack("stream", "create", "messages", "--infer", str(rows), *how)
            job = Path(folder) / "job.py"
            job.write_text(JOB)
            stack("submit", str(job))
            bench(stack, form)
        finally:
            stack("down", "--purge")


def main() -> None:
    for form in get_args(Form):
        run(form)


if __name__ == "__main__":
    main()

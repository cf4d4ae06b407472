"""How soon a label is live, and how soon a request is answered, while a job learns: on a whole stack of its own.

`tidemill up`, a job of order `arrival` that commits every 50 ms, `tidemill serve`. One process publishes `EVENTS`
flight-like events a second and, a second after each, its label; another, from the first version on, sends `REQUESTS`
scoring requests a second over keep-alive connections, on a fixed schedule: a latency counts from the moment that the
request was due, so that a slow answer is not hidden by the requests it holds up. A label is live at the first answer
whose delta covers its append, and its latency counts from the moment before it was handed to the producer. The first
`WARM` seconds do not count.

The broker, the job, the server and both generators share the machine. `TIDEMILL_BENCH_SECONDS` says how long.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import uvloop

from benchmarks.harness import measure

SECONDS = float(os.environ.get("TIDEMILL_BENCH_SECONDS", "30"))
WARM = 12.0
EVENTS, REQUESTS = 5_000, 1_000
CONNECTIONS = 32
NAMES = ["hour", "distance", "temp", "wind", "rain", "carrier_rate", "route_rate", "queue"]
JOB = f"""
from streams.classifier import online_classifier
from tidemill.order import Arrival


def job():
    return online_classifier(
        name="late", stream="rides", features={NAMES}, positive=1, order=Arrival(), commit_every=0.05,
        version_every=20_000, metrics_every=10_000,
    )
"""


class Stack:
    """A home of its own, driven by the command line as anybody would."""

    def __init__(self, home: Path) -> None:
        self.home = home
        hidden = ("TIDEMILL_BOOTSTRAP", "TIDEMILL_REDIS", "TIDEMILL_HOME")
        self.env = {k: v for k, v in os.environ.items() if k not in hidden}
        self.argv = [sys.executable, "-m", "tidemill_app", "--home", str(home)]

    def __call__(self, *words: str) -> Any:
        done = subprocess.run([*self.argv, *words, "--json"], env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"tidemill {' '.join(words)}: {done.stderr.strip()[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}

    @contextlib.contextmanager
    def serving(self) -> Iterator[tuple[int, int]]:
        """A scoring server: its port and process."""
        server = subprocess.Popen(
            [*self.argv, "serve", "--port", "0", "--json"], env=self.env, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", server.stdout.readline())
            if found is None:
                raise RuntimeError("the server did not say where it listens")
            yield int(found[1]), server.pid
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def publish(bootstrap: str, stop: float, out: Any) -> None:
    """Events and their labels at a steady pace until `stop`; gives each label's time of sending and of append."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5, "compression.type": "lz4"})
    rng = np.random.default_rng(3)
    x = rng.normal(size=(10_000, len(NAMES))) * 3 + 5
    rows = [dict(zip(NAMES, row, strict=True)) for row in x.tolist()]
    late = (rng.random(10_000) < 1 / (1 + np.exp(-(x[:, 0] - x[:, 3]) / 4))).astype(int).tolist()
    sent: list[tuple[int, int]] = []

    def told(at: int) -> Callable[[Any, Any], None]:
        return lambda error, message: sent.append((at, message.timestamp()[1] * 1000)) if error is None else None

    begun, number = time.time(), 0
    while (now := time.time()) < stop:
        for i in range(number, int((now - begun) * EVENTS)):
            event = {"id": f"r{i}", "time": int((begun + i / EVENTS) * 1e6), **rows[i % 10_000]}
            producer.produce("data.rides", orjson.dumps(event))
            about = i - EVENTS
            if about >= 0:
                at = time.time_ns() // 1000
                label = {"type": "label.given.v1", "id": f"l{about}", "time": at, "about": f"r{about}"}
                value = {**label, "source": "/bench", "value": late[about % 10_000]}
                producer.produce("labels.rides", orjson.dumps(value), on_delivery=told(at))
            number = i + 1
        producer.poll(0.001)
    producer.flush()
    out.send((number, sent))


class Client(asyncio.Protocol):
    """One keep-alive connection: one request at a time, its answer handed to `answered`."""

    def __init__(self, answered: Callable[[Client, int, bytes], None]) -> None:
        self.answered = answered
        self.buffer = b""
        self.due = 0.0
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if found:
            size = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
            if len(rest) >= size:
                self.buffer = b""
                self.answered(self, int(head[9:12]), rest[:size])


async def _score(port: int, stop: float) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    bodies = [orjson.dumps(dict(zip(NAMES, r, strict=True))) for r in (rng.normal(size=(1000, 8)) * 3 + 5).tolist()]
    head = b"POST /score/rides HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    texts = [head + b"content-length: %d\r\n\r\n%s" % (len(body), body) for body in bodies]
    waiting: deque[float] = deque()
    idle: deque[Client] = deque()  # each in its turn: the server closes one that is silent for long
    latency: list[tuple[float, float]] = []
    covers: list[tuple[int, int]] = []
    failed, refused = 0, deque[bytes](maxlen=1)

    def send(client: Client, due: float) -> None:
        client.due = due
        client.transport.write(texts[len(latency) % 1000])

    def answered(client: Client, status: int, body: bytes) -> None:
        nonlocal failed
        now = time.time()
        latency.append((client.due, now - client.due))
        if status != 200:
            failed += 1
            refused.append(body)
        if status == 200 and (delta := orjson.loads(body)["delta"]) > (covers[-1][0] if covers else -1):
            covers.append((delta, int(now * 1e6)))
        if waiting:
            send(client, waiting.popleft())
        else:
            idle.append(client)

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        while (await client.get("/v2/models/late/ready")).status_code != 200:
            await asyncio.sleep(0.1)
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        idle.append((await loop.create_connection(lambda: Client(answered), "127.0.0.1", port))[1])
    begun, number = time.time(), 0
    while (now := time.time()) < stop:
        for i in range(number, int((now - begun) * REQUESTS)):
            due = begun + i / REQUESTS
            if idle:
                send(idle.popleft(), due)
            else:
                waiting.append(due)
            number = i + 1
        await asyncio.sleep(0.001)
    until = time.time() + 10
    while len(idle) < CONNECTIONS and time.time() < until:
        await asyncio.sleep(0.01)
    if refused and not covers:
        raise RuntimeError(f"no request was answered: {refused[0].decode()}")
    return {"latency": latency, "covers": covers, "failed": failed + number - len(latency)}


def score(port: int, stop: float, out: Any) -> None:
    """Requests at a steady pace until `stop`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        out.send(runner.run(_score(port, stop)))


def labelled(bootstrap: str) -> list[tuple[int, int]]:
    """Of each delta the newest append time of a label in it, and its number."""
    from connectors.kafka import KafkaLog
    from tidemill import events
    from tidemill.log import Partition

    log, at = KafkaLog({"bootstrap.servers": bootstrap}), Partition("deltas.late", 0)
    reader, out, end = log.reader({at: 0}), [], log.end(at)
    while reader.positions()[at] < end:
        for record in reader.poll(10_000, 1.0):
            event = events.decode(record.value or b"")
            if isinstance(event, events.DeltaPublished) and event.labelled:
                out.append((event.labelled, event.sequence))
    reader.close()
    log.close()
    return out


def fresh(sent: list[tuple[int, int]], deltas: list[tuple[int, int]], covers: list[tuple[int, int]]) -> list[float]:
    """Milliseconds from the sending of each label to the first answer that it was in.

    `sent` are times of sending and of append of each label; `deltas` the newest append time in each delta and its
    number; `covers` the number of the delta in an answer and the answer's time, the first of each number; µs, sorted.
    """
    out = []
    for at, appended in sent:
        i = bisect.bisect_left(deltas, (appended, 0))
        j = bisect.bisect_left(covers, (deltas[i][1], 0)) if i < len(deltas) else len(covers)
        if j < len(covers):
            out.append((covers[j][1] - at) / 1e3)
    return out


def peak(pid: int) -> int:
    """The most memory that a process has had, in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) // 1024  # type: ignore[index]


def run(stack: Stack, bootstrap: str, port: int) -> dict[str, Any]:
    """Both generators at once, for the warm-up and `SECONDS` more; what they saw."""
    context = multiprocessing.get_context("spawn")
    stop = time.time() + WARM + SECONDS
    ends = [context.Pipe(False) for _ in range(2)]
    roles = [(publish, (bootstrap, stop, ends[0][1])), (score, (port, stop, ends[1][1]))]
    processes = [context.Process(target=target, args=args) for target, args in roles]
    for process in processes:
        process.start()
    (events, sent), answers = (end[0].recv() for end in ends)
    for process in processes:
        process.join()
    begin = (stop - SECONDS) * 1e6
    live = fresh([one for one in sent if one[0] >= begin], labelled(bootstrap), answers["covers"])
    scored = [took * 1e3 for due, took in answers["latency"] if due * 1e6 >= begin]
    return {"events": events, "labels": len(sent), "live": live, "scored": scored, "failed": answers["failed"]}


def main() -> None:
    """Label to live, and scores, under load; then what each process took at most."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "home")
        stack("up")
        try:
            _measured(stack, Path(folder))
        finally:
            stack("down", "--purge")


def _measured(stack: Stack, folder: Path) -> None:
    parts = {part["name"]: part for part in stack("status")["parts"]}
    bootstrap = parts["kafka"]["address"]
    fields = [{"name": "id", "type": "string"}, {"name": "time", "type": "time"}]
    fields += [{"name": name, "type": "float"} for name in NAMES]
    schema = {"name": "rides", "fields": fields, "time": "time", "time_unit": "us", "id": "id"}
    (folder / "rides.json").write_text(json.dumps(schema))
    (folder / "job.py").write_text(JOB)
    stack("stream", "create", "rides", "--schema", str(folder / "rides.json"))
    stack("submit", str(folder / "job.py"))
    with stack.serving() as (port, pid):
        seen = run(stack, bootstrap, port)
        workload = f"{EVENTS:,} events/s and as many labels, {REQUESTS:,} requests/s, {SECONDS:.0f} s, one machine"
        for name, values, unit, aims in (
            ("label_to_live", seen["live"], "ms", {50: None, 99: 200}),
            ("score", seen["scored"], "ms", {50: None, 99: 20}),
        ):
            for at, aim in aims.items():
                figure = float(np.percentile(values, at))
                measure(f"{name}_p{at}", lambda f=figure: f, unit=unit, workload=workload, aim=aim, better="lower")  # type: ignore[misc]
        measure("score_failed", lambda: float(seen["failed"]), unit="requests", workload=workload, better="lower")
        pids = {name: part["pid"] for name, part in parts.items()} | {"serve": pid, "job": job_pid(stack.home)}
        for name, number in pids.items():
            measure(f"memory_{name}", lambda n=number: float(peak(n)), unit="MiB", workload=workload, better="lower")  # type: ignore[misc]


def job_pid(home: Path) -> int:
    """The process of the one job."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            words = entry.joinpath("cmdline").read_bytes().split(b"\0")
            if b"run-job" in words and str(home).encode() in words:
                return int(entry.name)
    raise RuntimeError("the job has no process")


if __name__ == "__main__":
    main()

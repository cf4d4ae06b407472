"""A home as those see it who stand outside: its command line, and a plain Kafka consumer of committed records."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Consumer, TopicPartition

ROOT = Path(__file__).parents[2]
NONE: Mapping[int, int] = {}


class Outside:
    """`home` by its commands, and its broker by an ordinary client."""

    def __init__(self, connection: Any) -> None:
        self.home = str(connection.home.path)
        self.bootstrap = str(connection.bootstrap)

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "tidemill_app", *map(str, words), "--home", self.home, "--json"]

    def run(self, *words: object, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """A command, run to its end."""
        return subprocess.run(
            self.command(*words), check=False, capture_output=True, text=True, cwd=ROOT, timeout=timeout
        )

    def tidemill(self, *words: object, timeout: float = 300.0) -> Any:
        """The answer of a command that must go well."""
        done = self.run(*words, timeout=timeout)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout else None

    @contextmanager
    def serving(self, folder: Path, *options: object, kill: bool = False) -> Iterator[httpx.Client]:
        """Asks a server of this home, which logs to `serve.err` in `folder`; in the end it stops by itself, or is
        killed (kill -9)."""
        with open(folder / "serve.err", "a") as err:
            server = subprocess.Popen(
                self.command("serve", "--port", 0, *options), stdout=subprocess.PIPE, stderr=err, text=True, cwd=ROOT
            )
        try:
            assert server.stdout is not None
            with (
                server.stdout,
                httpx.Client(base_url=json.loads(server.stdout.readline())["url"], timeout=30) as client,
            ):
                yield client
        finally:
            if kill:
                server.kill()
                server.wait(30)
            else:
                server.terminate()
                assert server.wait(60) == 0

    def read(self, topic: str, first: Mapping[int, int] = NONE) -> Iterator[Any]:
        """Every committed record of a topic, from its beginning, or from the offsets `first` by partition."""
        settings = {"bootstrap.servers": self.bootstrap, "group.id": "proof", "isolation.level": "read_committed"}
        consumer = Consumer(settings | {"enable.auto.commit": False, "fetch.message.max.bytes": 32 << 20})
        try:
            ends = {}
            for number in consumer.list_topics(topic).topics[topic].partitions:
                ends[number] = consumer.get_watermark_offsets(TopicPartition(topic, number))[1]
            consumer.assign([TopicPartition(topic, number, first.get(number, 0)) for number in ends])
            deadline = time.monotonic() + 120
            while any(
                max(at.offset, first.get(at.partition, 0)) < ends[at.partition]
                for at in consumer.position(consumer.assignment())
            ):
                records = consumer.consume(1000, 0.2)
                deadline = time.monotonic() + 120 if records else deadline
                assert time.monotonic() < deadline, topic
                for record in records:
                    assert record.error() is None, record.error()
                    yield record
        finally:
            consumer.close()

    def values(self, topic: str) -> list[Any]:
        """The JSON values of `read`."""
        return [json.loads(record.value()) for record in self.read(topic)]

    def settled(self, job: str, seconds: float = 240.0) -> dict[str, Any]:
        """The job's status once it has read everything there is and stepped it."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.tidemill("job", "show", job)
            assert status["state"] != "failed", status["reason"]
            if status.get("lag") and not status["total_lag"] and not status["buffered"] and status.get("stepped"):
                return dict(status)
            assert time.monotonic() < deadline, status
            time.sleep(0.2)

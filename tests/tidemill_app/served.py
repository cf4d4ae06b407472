"""One endpoint on the real stack, and `tidemill serve` as a process, for the tests of serving."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

from connectors.artefacts import ArtefactStore
from connectors.kafka import KafkaLog
from streams.learners.logistic import ScaledLogistic
from tests.serving.helpers import KIND
from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.events import Event, ModelPublished, PredictionMade
from tidemill.job import ModelContent, VersionCut
from tidemill.log import Partition, TopicSpec
from tidemill.stream import Field, StreamSpec
from tidemill.time import SystemClock
from tidemill.version import Lineage
from tidemill_app.catalogue import Catalogue
from tidemill_app.publisher import ArtefactPublisher
from tidemill_app.wiring import open_store

ROOT = Path(__file__).parents[2]
NAMES = ("distance", "hour", "wind")

JOB = """
from tidemill.endpoint import Endpoint
from tidemill.job import Effects, Input, Job


def features(event, known):
    weather = known.get("weather", event["airport"]) or {}
    return [event["distance"], float(event["hour"]), weather.get("wind", 0.0)]


def job():
    endpoint = Endpoint(
        name="NAME", stream="NAME", model="NAME", job="NAME",
        feature_names=("distance", "hour", "wind"), features=features,
    )
    return Job(
        name="NAME", reads=(Input("NAME"),), step=lambda s, b: Effects(s), init=dict, state=dict, endpoint=endpoint
    )
"""

EVENT = {"id": "e1", "time": "2013-01-01T05:15:00Z", "distance": 1400.0, "hour": 5, "airport": "EWR"}


class World(NamedTuple):
    """One endpoint's name, its job file, and the log and home of the stack."""

    name: str
    file: Path
    log: KafkaLog
    home: Path
    connection: Any

    def tell(self, topic: str, event: Event, key: str = "") -> None:
        self.log.create(topic, TopicSpec())
        writer = self.log.writer()
        writer.send(topic, events.encode(event), key=key.encode() or None, headers=headers_of(event))
        writer.flush()
        writer.close()

    def publish(
        self,
        number: int,
        learner: ScaledLogistic,
        delta: int,
        bundle: str = "0" * 64,
        store: ArtefactStore | None = None,
    ) -> None:
        cut = VersionCut(self.name, number, (0, "", ""), ModelContent(KIND, learner.params(), learner.state()), {})
        lineage = Lineage(
            job=self.name,
            bundle=bundle,
            file="job.py",
            order="",
            read=[],
            watermark=0,
            last=(0, "", ""),
            number=number,
        )
        fields = ArtefactPublisher(store or open_store(self.connection), self.log, SystemClock()).publish(
            cut, lineage, delta
        )
        event = ModelPublished(
            id=f"{self.name}/{number}",
            time=0,
            model=self.name,
            version=str(number),
            delta=delta,
            job=self.name,
            bundle=bundle,
            **fields,
        )
        self.tell("models", event, self.name)

    def predictions(self) -> list[PredictionMade]:
        topic = f"predictions.{self.name}"
        if topic not in self.log.topics():
            return []
        at = Partition(topic, 0)
        reader = self.log.reader({at: 0})
        out = []
        while reader.positions()[at] < self.log.end(at):
            out += [events.decode(r.value or b"") for r in reader.poll(1000, 0.2)]
        reader.close()
        return out  # type: ignore[return-value]


@contextlib.contextmanager
def declared(connection: Any, name: str, tmp_path: Path) -> Iterator[World]:
    """The stream declared and the job file written."""
    tmp_path.mkdir(exist_ok=True)
    file = tmp_path / "job.py"
    file.write_text(JOB.replace("NAME", name))
    log = KafkaLog(connection.confluent())
    spec = StreamSpec(
        name=name,
        fields=(
            Field("id", "string"),
            Field("time", "time"),
            Field("distance", "float"),
            Field("hour", "int"),
            Field("airport", "string"),
        ),
        time="time",
        id="id",
    )
    Catalogue(log).declare(spec)
    yield World(name, file, log, connection.home.path, connection)
    log.close()


@contextlib.contextmanager
def served(world: World, *options: str, files: bool = True) -> Iterator[tuple[httpx.Client, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "tidemill_app", "serve", "--home", str(world.home), "--json", "--port", "0"]
    process = subprocess.Popen(
        [*command, *(["--endpoint", str(world.file)] if files else []), *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        with process.stdout, httpx.Client(base_url=json.loads(process.stdout.readline())["url"], timeout=10) as client:
            yield client, process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def taught(rows: int) -> ScaledLogistic:
    rng = np.random.default_rng(5)
    learner = ScaledLogistic(NAMES, lr=0.05)
    X = rng.normal(size=(rows, 3)) * [500, 6, 10] + [1000, 12, 10]
    learner.learn_block(X, (X[:, 0] > 1000).astype(float))
    return learner

"""Training and serving see the same: the flights job's own predictions against the endpoint's, feature by feature.

The job runs on the local engine; serving follows what it publishes. Each next flight is scored over the endpoint first
and then handed to the job: both must use the same features, bit for bit, and come to the same score.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors import arrow
from connectors.artefacts import ArtefactStore
from connectors.memory import MemoryLog
from connectors.signing import make_key
from serving.follow import Follower
from serving.freshness import Freshness
from serving.known import FeatureTables
from serving.plane import DataPlane
from serving.scoring import Scorer
from streams.engines.local import LocalEngine
from streams.state_store import FolderStore
from tests.serving.helpers import until
from tidemill import events
from tidemill.engine import Parts
from tidemill.events import PredictionMade, ProgressMade
from tidemill.job import Job
from tidemill.log import Partition, TopicSpec
from tidemill.stream import StreamSpec
from tidemill.time import SystemClock
from tidemill_app.publisher import ArtefactPublisher
from tidemill_app.scoring import loader

BEFORE, COMPARED = 3_000, 30


@pytest.fixture(scope="module")
def example() -> Any:
    path = Path(__file__).parents[2] / "examples" / "flights" / "job.py"
    spec = importlib.util.spec_from_file_location("flights_example", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def job_of(example: Any, monkeypatch: pytest.MonkeyPatch) -> Job[Any]:
    """The flights job, with versions and commits as often as a test wants them."""
    recipe = example.online_classifier
    monkeypatch.setattr(example, "online_classifier", lambda **settings: recipe(**settings | {"version_every": 700}))
    return dataclasses.replace(example.arrival(), commit_every=0.02)


class Records:
    """The first events of the data set in order of event time, as (topic, JSON)."""

    def __init__(self) -> None:
        from connectors.datasets.flights import dataset

        self.specs: dict[str, StreamSpec] = {s.spec.name: s.spec for s in dataset().streams}
        rows: list[tuple[int, str, dict[str, Any]]] = []
        for stream in dataset().streams:
            table = stream.table.slice(0, 2 * BEFORE)
            rows += [(row["time"], stream.spec.name, row) for row in table.to_pylist()]
        rows.sort(key=lambda r: (str(r[0]), r[1]))
        self.rows = rows

    def encoded(self, row: tuple[int, str, dict[str, Any]]) -> bytes:
        spec = self.specs[row[1]]
        payload = dict(row[2])
        if spec.tag:
            payload["type"] = spec.tag
        return msgspec.json.encode(payload)


class Running:
    """Job and serving on one log."""

    def __init__(self, job: Job[Any], records: Records, folder: Path) -> None:
        self.job, self.records = job, records
        self.log = MemoryLog()
        for spec in records.specs.values():
            self.log.create(spec.topic, TopicSpec())
        self.writer = self.log.writer()
        key = folder / "key.pem"
        make_key(key)
        store = ArtefactStore(str(folder / "artefacts"), key)
        parts = Parts(
            log=self.log,
            store=FolderStore(folder / "state"),
            clock=SystemClock(),
            streams=records.specs,
            publisher=ArtefactPublisher(store, self.log, SystemClock()),
            arrow_decode=arrow.decode,
            arrow_encode=arrow.encode,
            bundle="0" * 64,
            file="job.py",
        )
        self._stop = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(parts,))
        self._thread.start()
        assert job.endpoint is not None
        plane, known, self.freshness = DataPlane(), FeatureTables(), Freshness()
        self.scorer = Scorer(job.endpoint, plane, known, self.freshness)
        self.scorer.declare(records.specs[job.endpoint.stream])
        self.follower = Follower(self.log, plane, loader(store), self.freshness, tables={job.name: known})
        self.follower.start()
        self._reader: Any = None
        self.predictions: dict[str, PredictionMade] = {}

    def _run(self, parts: Parts) -> None:
        try:
            LocalEngine().run(self.job, parts, self._stop.is_set)
        except BaseException as error:
            self.failure = error

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)
        self.follower.close()

    def send(self, row: tuple[int, str, dict[str, Any]]) -> None:
        self.writer.send(self.records.specs[row[1]].topic, self.records.encoded(row))

    def prediction(self, id: str) -> PredictionMade | None:
        assert self.failure is None, self.failure
        at = Partition(f"predictions.{self.job.name}", 0)
        if at.topic not in self.log.topics():
            return None
        if self._reader is None:
            self._reader = self.log.reader({at: 0})
        for record in self._reader.poll(10_000, 0.0):
            event = events.decode(record.value or b"")
            assert isinstance(event, PredictionMade)
            self.predictions[event.about] = event
        return self.predictions.get(id)

    def read(self) -> bool:
        """Whether the job has committed everything sent."""
        at = Partition(f"progress.{self.job.name}", 0)
        reader = self.log.reader({at: max(0, self.log.end(at) - 3)})
        newest = [events.decode(r.value or b"") for r in reader.poll(10, 0.0)]
        reader.close()
        if not newest:
            return False
        assert isinstance(newest[-1], ProgressMade)
        offsets = {Partition(topic, number): offset for topic, number, offset in newest[-1].offsets}
        return all(offset >= self.log.end(at) for at, offset in offsets.items())

    def settle(self) -> None:
        """Wait until the job has read everything sent, and serving has applied everything that came of it."""
        until(self.read, 60)
        since = time.monotonic()
        until(lambda: self.freshness.started and time.monotonic() - self.freshness.age() > since)


@pytest.fixture
def running(example: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Running]:
    made = Running(job_of(example, monkeypatch), Records(), tmp_path)
    yield made
    made.close()


def test_the_endpoint_uses_the_jobs_features_and_comes_to_its_score(running: Running):
    rows = running.records.rows
    stream = running.job.endpoint.stream if running.job.endpoint else ""
    cut = [i for i, row in enumerate(rows) if row[1] == stream][BEFORE]
    for row in rows[:cut]:
        running.send(row)
    last = next(row for row in reversed(rows[:cut]) if row[1] == stream)
    until(lambda: running.prediction(last[2]["id"]), 120)
    running.settle()
    assert not running.scorer.waiting_for
    # How much was learned before the first predictions is a matter of speed; that it is learned by now is not.
    compared: list[PredictionMade] = []
    for row in rows[cut:]:
        if len(compared) == COMPARED:
            break
        if row[1] != stream:
            running.send(row)
            continue
        # What came since the last flight (labels, weather) is told apart from this flight by a quiet moment.
        running.settle()
        id, served = row[2]["id"], []
        running.scorer._keep = served.append
        answer = running.scorer.score(running.records.encoded(row))
        running.send(row)
        told = until(lambda id=id: running.prediction(id), 60)
        assert served[0].features == told.features, id
        assert (answer.score, answer.id, answer.version) == (told.score, id, told.version)
        assert int(told.version) > 0 and answer.delta > 0, "nothing was learned before the comparison"
        compared.append(told)
    assert len({p.score for p in compared}) == COMPARED

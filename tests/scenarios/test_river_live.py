"""A River estimator learned by a job on a real broker and served beside it, followed by its deltas over the log."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from river import forest, preprocessing

from connectors.artefacts import ArtefactStore
from connectors.kafka import KafkaLog
from connectors.signing import make_key
from serving.follow import Follower
from serving.freshness import Freshness
from serving.plane import DataPlane
from streams.classifier import online_classifier
from streams.engines.local import LocalEngine
from streams.learners.river import RiverLearner
from streams.state_store import FolderStore
from tests.serving.helpers import until
from tidemill.engine import Parts
from tidemill.order import Arrival
from tidemill.stream import Field, StreamSpec
from tidemill.time import SystemClock
from tidemill_app.publisher import ArtefactPublisher
from tidemill_app.scoring import loader

NAMES = ("a", "b")


def learner(names: Any = NAMES) -> RiverLearner:
    """Its random generators and counts make bytes and numbers that JSON does not keep by itself."""
    return RiverLearner(names, preprocessing.StandardScaler() | forest.ARFClassifier(n_models=3, seed=1))


def rows(n: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(n, 2))
    return [{"id": f"e{i}", "time": i, "a": a, "b": b, "up": bool(a + b > 0)} for i, (a, b) in enumerate(X.tolist())]


@pytest.mark.stack
def test_what_is_served_by_deltas_is_what_was_learned(kafka, fresh, tmp_path: Path):
    name = fresh("river")
    spec = StreamSpec(
        name=name,
        fields=(
            Field("id", "string"),
            Field("time", "time"),
            Field("a", "float"),
            Field("b", "float"),
            Field("up", "bool"),
        ),
        time="time",
        id="id",
        time_unit="s",
    )
    job = online_classifier(
        name=f"{name}-up",
        stream=name,
        features=NAMES,
        label="up",
        learner=learner,
        version_every=100,
        order=Arrival(),
        commit_every=0.1,
    )
    log = KafkaLog({"bootstrap.servers": kafka})
    make_key(tmp_path / "key.pem")
    store = ArtefactStore(str(tmp_path / "artefacts"), tmp_path / "key.pem")
    parts = Parts(
        log=log,
        store=FolderStore(tmp_path / "state"),
        clock=SystemClock(),
        streams={name: spec},
        publisher=ArtefactPublisher(store, log, SystemClock()),
    )
    log.create(spec.topic, spec.topic_spec())
    plane, stop = DataPlane(), threading.Event()
    engine = threading.Thread(target=lambda: LocalEngine().run(job, parts, stop.is_set))
    follower = Follower(log, plane, loader(store), Freshness())
    engine.start()
    follower.start()
    writer = log.writer()
    by_hand, sent, seen = learner(), rows(150), []
    X = np.array([[row[n] for n in NAMES] for row in sent])
    y = np.array([float(row["up"]) for row in sent])

    def caught_up(want: list[float]) -> Any:
        found = plane.resolve(job.name) if job.name in plane.models() else None
        return found if found is not None and [found.servable.score(x) for x in X[:20]] == want else None

    try:
        for first, stop_at in ((0, 100), (100, 110), (110, 130), (130, 150)):
            for row in sent[first:stop_at]:
                writer.send(spec.topic, json.dumps(row).encode())
            writer.flush()
            by_hand.learn_block(X[first:stop_at], y[first:stop_at])
            want = by_hand.predict_block(X[:20]).tolist()
            seen.append(until(lambda want=want: caught_up(want), 60))
    finally:
        stop.set()
        engine.join(30)
        follower.close()
        writer.close()
        log.close()
    assert {found.version for found in seen} == {"1"} and follower.gaps == 0
    assert len({found.delta for found in seen}) == len(seen)

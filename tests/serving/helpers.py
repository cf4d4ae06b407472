"""A learner, an endpoint and a real server on a free port, for the tests of serving."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import numpy as np

from serving.freshness import Freshness
from serving.http import Door
from serving.known import FeatureTables
from serving.online import ServedLearner
from serving.plane import DataPlane, Loaded
from serving.routing import Router
from serving.scoring import Scorer
from serving.server import listen, make
from streams.learners.logistic import ScaledLogistic
from tidemill.endpoint import Endpoint, Known
from tidemill.events import PredictionMade
from tidemill.job import ModelContent
from tidemill.stream import Field, StreamSpec

KIND = "streams.learners.logistic:ScaledLogistic"
NAMES = ("distance", "hour", "wind")

SPEC = StreamSpec(
    name="trips",
    fields=(
        Field("id", "string"),
        Field("time", "time"),
        Field("distance", "float"),
        Field("hour", "int", default=0),
        Field("airport", "string", nullable=True),
        Field("note", "json", nullable=True),
    ),
    time="time",
    id="id",
)

EVENT = {"id": "e1", "time": "2013-01-01T05:15:00Z", "distance": 1400.0, "hour": 5, "airport": "EWR"}


def features(event: Mapping[str, Any], known: Known) -> Sequence[float]:
    weather = known.get("weather", event["airport"] or "") or {}
    return [event["distance"], float(event["hour"]), weather.get("wind", 0.0)]


ENDPOINT = Endpoint(name="late", stream="trips", model="trips", job="trips", feature_names=NAMES, features=features)


def content(rows: int = 200, seed: int = 1) -> ModelContent:
    rng = np.random.default_rng(seed)
    learner = ScaledLogistic(NAMES, lr=0.05)
    X = rng.normal(size=(rows, 3)) * [500, 6, 10] + [1000, 12, 10]
    learner.learn_block(X, (X[:, 0] > 1000).astype(float))
    return ModelContent(KIND, learner.params(), learner.state())


def loaded(version: str = "1", seed: int = 1, delta: int = 0, rows: int = 200) -> Loaded:
    return Loaded("trips", version, ServedLearner(content(rows, seed)), delta)


class Service:
    """Everything behind one door."""

    def __init__(self, **options: Any) -> None:
        self.plane = DataPlane()
        self.known = FeatureTables()
        self.freshness = Freshness()
        self.freshness.current()
        self.kept: list[PredictionMade] = []
        self.scorer = Scorer(ENDPOINT, self.plane, self.known, self.freshness, self.kept.append)
        self.scorer.declare(SPEC)
        self.door = Door(self.plane, {"late": self.scorer}, self.freshness, keep=self.keep, **options)

    def keep(self, loaded: Loaded, predictions: Sequence[PredictionMade]) -> None:
        self.kept += predictions


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true value of `condition`; fails after the deadline."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError("did not come true in time")


@contextlib.contextmanager
def serving(door: Router, drain: float = 0.0) -> Iterator[str]:
    """The door on a real port, in a thread of its own."""
    sock = listen("127.0.0.1", 0)
    server = make(door, drain=drain)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        door.close()
        sock.close()


@contextlib.contextmanager
def client_of(service: Service) -> Iterator[httpx.Client]:
    with serving(service.door) as url, httpx.Client(base_url=url, timeout=10) as client:
        yield client

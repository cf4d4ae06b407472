"""Versions published while a real `tidemill serve` process answers: no request fails, no answer mixes two versions."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from streams.learners.logistic import ScaledLogistic
from tests.serving.helpers import until
from tests.tidemill_app.served import EVENT, World, declared, served, taught

ROW = np.array([1400.0, 5.0, 0.0])
CLIENTS = 4


class Load(threading.Thread):
    """One client that asks again and again over one connection, and keeps every answer."""

    def __init__(self, url: str, path: str, number: int, stop: threading.Event) -> None:
        super().__init__()
        self.where = urlsplit(url).netloc
        self.path, self.number, self.stop = path, number, stop
        self.answers: list[tuple[str, dict[str, Any]]] = []
        self.failed: list[str] = []
        self.seconds: list[float] = []

    def run(self) -> None:
        line = http.client.HTTPConnection(self.where, timeout=10)
        while not self.stop.is_set():
            id = f"{self.number}-{len(self.seconds)}"
            begun = time.perf_counter()
            try:
                line.request("POST", self.path, json.dumps({**EVENT, "id": id}))
                response = line.getresponse()
                body = response.read()
                if response.status == 200:
                    self.answers.append((id, json.loads(body)))
                else:
                    self.failed.append(f"{response.status} {body!r}")
            except OSError as error:
                self.failed.append(repr(error))
                line.close()
            self.seconds.append(time.perf_counter() - begun)
        line.close()


def swaps(world: World, count: int) -> None:
    learners: list[ScaledLogistic] = [taught(100 + i) for i in range(count + 1)]
    world.publish(1, learners[0], 0)
    stop = threading.Event()
    with served(world) as (client, process):
        until(lambda: client.get("/v2/health/ready").status_code == 200)
        clients = [Load(str(client.base_url), f"/score/{world.name}", i, stop) for i in range(CLIENTS)]
        for one in clients:
            one.start()
        try:
            for number in range(2, count + 2):
                world.publish(number, learners[number - 1], 0)
            until(lambda: client.get(f"/v2/models/{world.name}").json()["parameters"]["version"] == str(count + 1), 60)
        finally:
            stop.set()
            for one in clients:
                one.join(30)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    answers = [answer for one in clients for answer in one.answers]
    p50, p99 = np.percentile([s for one in clients for s in one.seconds], [50, 99]) * 1e3
    seen = {answer["version"] for _, answer in answers}
    print(
        f"{count} swaps, {len(answers)} answers by {CLIENTS} clients, {len(seen)} versions seen, "
        f"{sum(len(one.failed) for one in clients)} failed; p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    )
    assert [failure for one in clients for failure in one.failed] == []
    assert len(seen) > count // 2
    scores = {str(i + 1): learner.predict_one(ROW) for i, learner in enumerate(learners)}
    assert [(id, a) for id, a in answers if a["score"] != scores[a["version"]]] == []
    for one in clients:
        versions = [int(answer["version"]) for _, answer in one.answers]
        assert versions == sorted(versions)
    told = {p.about: (p.version, p.score) for p in world.predictions()}
    assert told == {id: (a["version"], a["score"]) for id, a in answers}
    assert len(world.predictions()) == len(answers)


@pytest.mark.stack
def test_ten_hot_swaps(stack, fresh: Callable[[str], str], tmp_path: Path):
    with declared(stack, fresh("trips"), tmp_path) as world:
        swaps(world, 10)


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.timeout(300)
def test_a_hundred_hot_swaps(stack, fresh: Callable[[str], str], tmp_path: Path):
    with declared(stack, fresh("trips"), tmp_path) as world:
        swaps(world, 100)

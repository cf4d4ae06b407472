"""`tidemill serve` as a process on the real stack: versions, deltas and features live, drained, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.learners.delta import delta_since
from tests.serving.helpers import until
from tests.serving.test_onnx import expected, onnx_model
from tests.tidemill_app.served import EVENT, NAMES, ROOT, World, declared, served, taught
from tidemill.errors import ConfigError
from tidemill.events import DeltaPublished, FeatureUpdated
from tidemill_app import config
from tidemill_app.stack import lifecycle
from tidemill_app.stack import process as stack_process

DEPLOY = [sys.executable, "-m", "tidemill_app", "deploy", "--json"]


@pytest.fixture
def world(stack, fresh: Callable[[str], str], tmp_path: Path) -> Iterator[World]:
    with declared(stack, fresh("trips"), tmp_path) as made:
        yield made


@pytest.mark.stack
def test_versions_deltas_features_and_onnx_reach_answers_and_predictions_the_log(world: World, tmp_path: Path):
    learner = taught(500)
    world.publish(1, learner, 0)
    with served(world) as (client, process):
        until(lambda: client.get("/v2/health/ready").status_code == 200)
        answer = client.post(f"/score/{world.name}?explain=true", json=EVENT).json()
        row = np.array([1400.0, 5.0, 0.0])
        assert (answer["score"], answer["version"], answer["delta"]) == (learner.predict_one(row), "1", 0)
        assert set(answer["reasons"]) == {*NAMES, "bias"}

        update = FeatureUpdated(id="f", time=0, table="weather", key="EWR", values={"wind": 12.0}, sequence=4)
        world.tell(f"features.{world.name}", update, "weather/EWR")
        before = learner.state()
        learner.learn_one(row, 1.0)
        changes = delta_since(before, learner.state())
        world.tell(
            f"deltas.{world.name}",
            DeltaPublished(id="d", time=0, model=world.name, base="1", sequence=1, changes=changes),
        )

        def fresh_answer() -> Any:
            got = client.post(f"/score/{world.name}", json=EVENT).json()
            return got if (got["delta"], got["feature_sequence"], got["staleness"]) == (1, 4, 0.0) else None

        answer = until(fresh_answer)
        assert answer["score"] == learner.predict_one(np.array([1400.0, 5.0, 12.0]))

        learner.learn_one(row, 1.0)
        world.publish(2, learner, 1)
        until(lambda: client.get(f"/v2/models/{world.name}").json()["parameters"]["version"] == "2")

        model = tmp_path / "net.onnx"
        model.write_bytes(onnx_model())
        for _ in range(2):
            deployed = subprocess.run(
                [*DEPLOY, str(model), "--name", f"{world.name}-net", "--home", str(world.home)],
                check=False,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            assert json.loads(deployed.stdout)["version"] == "1", deployed.stderr
        net = f"/v2/models/{world.name}-net"
        until(lambda: client.get(f"{net}/ready").status_code == 200)
        body = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0]}]}
        got = client.post(f"{net}/infer", json=body).json()["outputs"][0]["data"]
        assert got == pytest.approx(expected([[1.0, 2.0, 3.0]]))

        last = client.post(f"/score/{world.name}", json={**EVENT, "id": "last"}).json()
        process.send_signal(signal.SIGTERM)
        until(lambda: client.get("/v2/health/ready").status_code == 503)
        during = client.post(f"/score/{world.name}", json={**EVENT, "id": "during"})
        assert (during.status_code, during.headers["connection"]) == (200, "close")
        process.wait(20)
    told = {p.about: p for p in world.predictions()}
    assert {"e1", "last", "during"} <= told.keys()
    assert (told["last"].score, told["last"].version) == (last["score"], "2")
    assert told["last"].features == [1400.0, 5.0, 12.0]


@pytest.mark.stack
def test_a_kill_loses_and_doubles_nothing_that_was_answered(world: World):
    world.publish(1, taught(100), 0)
    answered: list[str] = []
    for round in range(2):
        with served(world) as (first, process), served(world) as (second, other):
            for client in (first, second):
                until(lambda client=client: client.get("/v2/health/ready").status_code == 200)
                for i in range(30):
                    id = f"{round}-{len(answered)}-{i}"
                    assert client.post(f"/score/{world.name}", json={**EVENT, "id": id}).status_code == 200
                    answered.append(id)
            process.kill()
            other.kill()
    # Only one comes back: what both have left arrives.
    with served(world) as (_, process):
        until(lambda: len(world.predictions()) >= len(answered), 40)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert sorted(p.about for p in world.predictions()) == sorted(answered)


@pytest.mark.stack
def test_a_home_is_not_removed_under_a_server(
    stack: Any, own_home: Path, fresh: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A home of its own, on the brokers that others run."""
    monkeypatch.setenv("TIDEMILL_BOOTSTRAP", stack.bootstrap)
    monkeypatch.setenv("TIDEMILL_REDIS", stack.redis.reveal())
    connection = config.connect(own_home)
    connection.home.create()
    with declared(connection, fresh("trips"), tmp_path) as world:
        world.publish(1, taught(100), 0)
        with served(world) as (client, process):
            until(lambda: client.get("/v2/health/ready").status_code == 200)
            with pytest.raises(ConfigError, match=rf"`tidemill serve` works in this home.*process {process.pid}"):
                lifecycle.down(connection.settings, purge=True)
            assert client.post(f"/score/{world.name}", json=EVENT).status_code == 200
            assert lifecycle.down(connection.settings) == []  # without --purge it goes on, as with the broker away
            assert client.post(f"/score/{world.name}", json=EVENT).status_code == 200
            process.send_signal(signal.SIGTERM)
            process.wait(20)
    lifecycle.down(connection.settings, purge=True)
    assert not own_home.exists()


@pytest.mark.slow
@pytest.mark.stack
def test_with_the_broker_killed_scoring_goes_on_and_predictions_arrive_later(
    own_home: Path, fresh: Callable[[str], str], tmp_path: Path
):
    lifecycle.up(config.load(own_home))
    connection = config.connect(own_home)
    with declared(connection, fresh("trips"), tmp_path) as world:
        world.publish(1, taught(100), 0)
        sent = 0

        def score(n: int) -> Any:
            nonlocal sent
            for _ in range(n):
                answer = client.post(f"/score/{world.name}", json={**EVENT, "id": f"e{sent}"})
                assert answer.status_code == 200, answer.text
                sent += 1
            return answer.json()

        with served(world) as (client, process):
            until(lambda: client.get("/v2/health/ready").status_code == 200)
            score(20)
            until(lambda: len(world.predictions()) == 20)
            broker = stack_process.running(connection.home.run, "kafka")
            assert broker is not None
            os.kill(broker.pid, signal.SIGKILL)
            until(lambda: score(5)["staleness"] > 1.5, 60)
            assert client.get("/v2/health/ready").status_code == 200
            stale = [x for x in client.get("/metrics").text.splitlines() if x.startswith("tidemill_staleness_seconds ")]
            assert float(stale[0].split()[1]) > 1.0
            score(50)
            lifecycle.up(config.load(own_home))
            until(lambda: score(1)["staleness"] == 0.0, 90)
            until(lambda: "tidemill_predictions_unsent" in client.get("/metrics").text)
            until(lambda: len(world.predictions()) >= sent, 90)
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        assert [p.about for p in world.predictions()] == [f"e{i}" for i in range(sent)]

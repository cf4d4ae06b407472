"""Answers to tensors, as those to events: each id that was answered stands once in its topic, whatever is killed."""

import json
import os
import resource
import signal

import numpy as np
import psutil
import pytest

from tests.scenarios.outside import Outside
from tests.serving.helpers import until
from tests.serving.test_onnx import onnx_model
from tests.tidemill_app.served import declared, served, taught
from tidemill_app import config
from tidemill_app.stack import lifecycle
from tidemill_app.stack import process as stack_process

pytestmark = pytest.mark.stack
SIZES = (1, 3, 1, 200, 17)


class Asking:
    """A job's model and a deployed one, asked over the protocol; `answered` are the rows by topic and id: the score
    and the version of each, as the caller got them."""

    def __init__(self, world, connection, folder):
        self.world, self.outside = world, Outside(connection)
        self.net = f"{world.name}-net"
        self.job_topic, self.net_topic = f"predictions.{world.name}", f"predictions.{self.net}"
        self.answered = {self.job_topic: {}, self.net_topic: {}}
        self.asked = 0
        world.publish(1, taught(100), 0)
        (folder / "net.onnx").write_bytes(onnx_model())
        self.outside.tidemill("deploy", folder / "net.onnx", "--name", self.net)

    def ready(self, client):
        until(lambda: client.get("/v2/health/ready").status_code == 200)
        until(lambda: client.get(f"/v2/models/{self.net}/ready").status_code == 200)

    def ask(self, client, rows, expect=200):
        """Both models, in turns with ids of ours, after the request's id, and new ones; in JSON and in binary."""
        X = (np.arange(rows * 3).reshape(rows, 3) + self.asked) / 10
        for model, topic, name, datatype in (
            (self.world.name, self.job_topic, "features", "FP64"),
            (self.net, self.net_topic, "x", "FP32"),
        ):
            kind = self.asked % 3
            self.asked += 1
            data = X.astype("<f8" if datatype == "FP64" else "<f4")
            body = {"inputs": [{"name": name, "shape": [rows, 3], "datatype": datatype}]}
            ids = None
            if kind == 1:
                ids = [f"own-{self.asked}-{i}" for i in range(rows)]
                body["parameters"] = {"event_ids": ids}
            elif kind == 2:
                body["id"] = f"request-{self.asked}"
            if self.asked % 2:
                body["inputs"][0]["data"] = data.tolist()
                content, headers = json.dumps(body).encode(), {}
            else:
                body["inputs"][0]["parameters"] = {"binary_data_size": data.nbytes}
                head = json.dumps(body).encode()
                content, headers = head + data.tobytes(), {"inference-header-content-length": str(len(head))}
            got = client.post(f"/v2/models/{model}/infer", content=content, headers=headers)
            assert got.status_code == expect, got.text
            if expect != 200:
                continue
            answer = got.json()
            given = answer["parameters"]["event_ids"]
            assert ids in (None, given) and len(given) == rows
            if kind == 2:
                assert answer["id"] == body["id"] and given[0].startswith(body["id"])
            scores = answer["outputs"][0]["data"]
            for id, row, score in zip(given, data.astype(float).tolist(), scores, strict=True):
                assert id not in self.answered[topic]
                self.answered[topic][id] = (score, answer["model_version"], row)

    def arrived(self, topic):
        """The records of a topic, as a reader of committed ones sees them."""
        if topic not in self.world.log.topics():
            return []
        return self.outside.values(topic)

    def check(self, seconds=60):
        for topic, answered in self.answered.items():
            until(lambda topic=topic, want=len(answered): len(self.arrived(topic)) >= want, seconds)
            there = self.arrived(topic)
            assert sorted(p["about"] for p in there) == sorted(answered)
            assert {p["about"]: (p["score"], p["version"], p["features"]) for p in there} == {
                id: (pytest.approx(score, abs=1e-6), version, row) for id, (score, version, row) in answered.items()
            }


def stale(client):
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("tidemill_staleness_seconds ")).split()[1])


@pytest.fixture
def asking(stack, fresh, tmp_path):
    with declared(stack, fresh("trips"), tmp_path) as world:
        yield Asking(world, stack, tmp_path)


def test_a_kill_loses_and_doubles_no_row_that_was_answered(asking):
    for _ in range(2):
        with served(asking.world) as (first, process), served(asking.world) as (second, other):
            for client in (first, second):
                asking.ready(client)
                for rows in SIZES:
                    asking.ask(client, rows)
            process.kill()
            other.kill()
    with served(asking.world) as (_, process):  # what four have left
        asking.check()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_full_disk_refuses_whole_answers_and_is_recovered_from(asking):
    with served(asking.world) as (client, process):
        asking.ready(client)
        for rows in SIZES:
            asking.ask(client, rows)
        server = psutil.Process(process.pid)
        before = server.rlimit(resource.RLIMIT_FSIZE)
        server.rlimit(resource.RLIMIT_FSIZE, (64, before[1]))
        for rows in SIZES:
            asking.ask(client, rows, expect=503)
        until(lambda: client.get("/v2/health/ready").status_code == 503)
        server.rlimit(resource.RLIMIT_FSIZE, before)
        until(lambda: client.get("/v2/health/ready").status_code == 200)
        for rows in SIZES:
            asking.ask(client, rows)
        asking.check()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_without_an_endpoint_a_jobs_model_does_not_write_among_the_jobs_predictions(asking, tmp_path_factory, fresh):
    world, other = asking.world, fresh("other")
    folder = tmp_path_factory.mktemp("other")
    with declared(world.connection, other, folder) as elsewhere, served(elsewhere) as (client, process):
        until(lambda: client.get(f"/v2/models/{world.name}/ready").status_code == 200)
        body = {"id": "q", "inputs": [{"name": "features", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}]}
        assert client.post(f"/v2/models/{world.name}/infer", json=body).status_code == 200
        until(lambda: [p["about"] for p in asking.arrived(f"predictions.{world.name}-asked")] == ["q"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert asking.job_topic not in world.log.topics()


@pytest.mark.slow
def test_with_the_broker_killed_tensors_are_answered_and_arrive_later(own_home, fresh, tmp_path):
    lifecycle.up(config.load(own_home))
    connection = config.connect(own_home)
    with declared(connection, fresh("trips"), tmp_path) as world:
        asking = Asking(world, connection, tmp_path)
        with served(world) as (client, process):
            asking.ready(client)
            for rows in SIZES:
                asking.ask(client, rows)
            asking.check()
            broker = stack_process.running(connection.home.run, "kafka")
            assert broker is not None
            os.kill(broker.pid, signal.SIGKILL)
            until(lambda: stale(client) > 1.5, 60)
            for rows in SIZES * 3:
                asking.ask(client, rows)
            assert client.get("/v2/health/ready").status_code == 200
            lifecycle.up(config.load(own_home))
            asking.check(120)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0

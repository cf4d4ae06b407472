"""Answers scored under a caller's own ids, labelled later: measured per version as they were served, with no further
step than `tidemill serve`, and each once though the measuring job is killed."""

import csv
import os
import signal
from math import log
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer

from tests.scenarios.outside import Outside
from tests.serving.helpers import until
from tests.serving.test_onnx import onnx_model
from tidemill.events import LabelGiven
from tidemill_app.home import Home
from tidemill_app.stack import process
from tidemill_app.telling import tell
from tidemill_app.wiring import Platform

pytestmark = pytest.mark.stack

JOB = """
from streams.classifier import online_classifier


def job():
    return online_classifier(
        name="NAME-up", stream="NAME", features=["x"], label="went", positive="up", version_every=50, commit_every=0.1
    )
"""
ASKED = 40


class World(Outside):
    """A stream whose events hold their label and an id, its job, and the server."""

    def __init__(self, connection, name, folder):
        super().__init__(connection)
        self.name, self.folder = name, folder
        self.measuring = f"{name}-served"
        (folder / "job.py").write_text(JOB.replace("NAME", name))
        self.write("first.csv", [f"f{i}" for i in range(100)])
        self.tidemill("stream", "create", name, "--infer", folder / "first.csv", "--id", "id", "--time", "at")

    def write(self, file, ids, day=1):
        with open(self.folder / file, "w", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(["id", "at", "x", "went"])
            for i, id in enumerate(ids):
                rows.writerow([id, f"2024-01-{day:02}T00:{i // 60:02}:{i % 60:02}Z", i % 7 - 3, goes(i)])

    def score(self, client, i):
        got = client.post(f"/score/{self.name}", json={"id": f"q{i}", "x": 1 if i == "probe" else i % 7 - 3})
        return got.json() if got.status_code == 200 else None

    def state(self, job):
        return next((row["state"] for row in self.tidemill("jobs") if row["job"] == job), "none")

    def topics(self):
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "proof"})
        try:
            return set(consumer.list_topics().topics)
        finally:
            consumer.close()

    def rows(self):
        return [row for row in self.values(f"metrics.{self.measuring}") if "values" in row]

    def kill(self):
        """kill -9 of the measuring job's process."""
        supervisor = process.running(Home(Path(self.home)).run, "supervisor")
        assert supervisor is not None
        children = psutil.Process(supervisor.pid).children()
        (mine,) = [p for p in children if p.cmdline()[-2:] == ["run-job", self.measuring]]
        assert mine.nice() > psutil.Process().nice()
        os.kill(mine.pid, signal.SIGKILL)


def goes(i):
    return "up" if i % 7 > 3 else "down"


@pytest.fixture
def world(supervised, fresh, tmp_path):
    made = World(supervised, fresh("served"), tmp_path)
    yield made
    for job in (f"{made.name}-up", made.measuring):
        made.run("job", "stop", job, "--wait", "0")


def newest(world, job, total):
    """The newest row of each version that the job measured, once the whole has this count."""
    if world.state(job) == "none" or f"metrics.{job}" not in world.topics():
        return None
    last = {row["version"]: row for row in world.values(f"metrics.{job}") if "values" in row}
    return last if last.get("", {"count": 0})["count"] >= total else None


def counted(world, total):
    return newest(world, world.measuring, total)


def test_what_was_served_is_measured_by_itself_and_once(world):
    world.tidemill("submit", world.folder / "job.py")
    world.tidemill("publish", world.name, world.folder / "first.csv")
    with world.serving(world.folder) as client:
        until(lambda: (a := world.score(client, "probe")) and int(a["version"]) >= 2, 60)
        answers = [world.score(client, i) for i in range(ASKED)]
        # Half of the labels as labels, by the ids of the answers.
        platform = Platform.open(world.home)
        for i in range(0, ASKED, 2):
            event = LabelGiven(id=f"l{i}", time=platform.clock.now(), source="/test", about=f"q{i}", value=goes(i))
            tell(platform.log, f"labels.{world.name}", event, f"q{i}")
        platform.close()
        until(lambda: counted(world, ASKED // 2), 60)
        world.kill()
        # The other half as the events themselves, which bring theirs; the first half come again.
        world.write("asked.csv", [f"q{i}" for i in range(ASKED)], day=2)
        world.tidemill("publish", world.name, world.folder / "asked.csv")
        last = until(lambda: counted(world, ASKED), 60)

    totals = [row["count"] for row in world.rows() if not row["version"]]
    assert totals == list(range(1, ASKED + 1))
    given = {f"{a['model']}@{a['version']}" for a in answers}
    assert set(last) == {"", *given} and last[""]["count"] == ASKED
    for version in given:
        mine = [(goes(i), a["score"]) for i, a in enumerate(answers) if f"{a['model']}@{a['version']}" == version]
        loss = log_loss(mine)
        assert last[version]["count"] == len(mine)
        assert last[version]["values"]["log_loss"] == pytest.approx(loss, abs=1e-9)
    assert last[""]["values"]["repeated"] == ASKED // 2

    shown = world.tidemill("model", "show", next(iter(given)))["served"][world.measuring]
    assert shown["count"] == last[next(iter(given))]["count"]
    assert world.tidemill("job", "show", world.measuring)["options"]["measures"] == f"{world.name}-up"
    assert f"dead.{world.measuring}" in world.topics() and not world.values(f"dead.{world.measuring}")

    # Who stops it has stopped it.
    world.tidemill("job", "stop", world.measuring)
    with world.serving(world.folder) as client:
        until(lambda: world.score(client, "probe"), 60)
    assert world.state(world.measuring) == "stopped"


NET = """
from streams.served import served_metrics


def job():
    return served_metrics(endpoint="NAME-net", stream="NAME", positive="up")
"""


def log_loss(rows):
    return -sum(log(p if went == "up" else 1 - p) for went, p in rows) / len(rows)


@pytest.mark.slow
def test_answers_to_tensors_are_measured_as_those_to_events(world):
    """A job's model by the job that measures its endpoint; a deployed one by a job of three lines."""
    net, measuring = f"{world.name}-net", f"{world.name}-net-served"
    world.tidemill("submit", world.folder / "job.py")
    world.tidemill("publish", world.name, world.folder / "first.csv")
    (world.folder / "net.onnx").write_bytes(onnx_model())
    world.tidemill("deploy", world.folder / "net.onnx", "--name", net)
    (world.folder / "net.py").write_text(NET.replace("NAME", world.name))
    world.tidemill("submit", world.folder / "net.py")
    try:
        with world.serving(world.folder) as client:
            until(lambda: (a := world.score(client, "probe")) and int(a["version"]) >= 2, 60)
            until(lambda: client.get(f"/v2/models/{net}/ready").status_code == 200)

            def infer(model, name, rows, datatype, **more):
                inputs = [{"name": name, "shape": [len(rows), len(rows[0])], "datatype": datatype, "data": rows}]
                got = client.post(f"/v2/models/{model}/infer", json={"inputs": inputs, **more})
                assert got.status_code == 200, got.text
                answer = got.json()
                served = f"{answer['model_name']}@{answer['model_version']}"
                ids = answer["parameters"]["event_ids"]
                return [(id, served, score) for id, score in zip(ids, answer["outputs"][0]["data"], strict=True)]

            rows = [[float(i % 7 - 3)] for i in range(ASKED)]
            job_rows = infer(f"{world.name}-up", "features", rows[:10], "FP64", id=f"{world.name}-batch")
            own = [f"{world.name}-own-{i}" for i in range(10, ASKED)]
            job_rows += infer(f"{world.name}-up", "features", rows[10:], "FP64", parameters={"event_ids": own})
            net_rows = infer(net, "x", [[x * 900, 1.0, 2.0] for (x,) in rows], "FP32")
            platform = Platform.open(world.home)
            for i in range(ASKED):
                for id, _, _ in (job_rows[i], net_rows[i]):
                    now = platform.clock.now()
                    event = LabelGiven(id=f"l-{id}", time=now, source="/test", about=id, value=goes(i))
                    tell(platform.log, f"labels.{world.name}", event, id)
            platform.close()
            for job, asked in ((world.measuring, job_rows), (measuring, net_rows)):
                last = until(lambda job=job: newest(world, job, ASKED), 90)
                for version in {served for _, served, _ in asked}:
                    mine = [(goes(i), score) for i, (_, served, score) in enumerate(asked) if served == version]
                    assert last[version]["count"] == len(mine)
                    assert last[version]["values"]["log_loss"] == pytest.approx(log_loss(mine), abs=1e-6)
        shown = world.tidemill("model", "show", f"{net}@1")["served"]
        assert shown[measuring]["count"] == ASKED
        for job in (world.measuring, measuring):
            assert not world.values(f"dead.{job}")
        kept = {p["about"]: p for p in world.values(f"predictions.{world.name}")}
        assert [kept[id]["features"] for id, _, _ in job_rows] == rows
    finally:
        world.run("job", "stop", measuring, "--wait", "0")


@pytest.mark.slow
def test_who_does_not_want_it_says_so(world):
    world.tidemill("submit", world.folder / "job.py")
    world.tidemill("publish", world.name, world.folder / "first.csv")
    with world.serving(world.folder, "--no-measure") as client:
        until(lambda: world.score(client, "probe"), 60)
    assert world.state(world.measuring) == "none"

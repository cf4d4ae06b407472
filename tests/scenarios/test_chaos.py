"""kill -9 at random moments of the job, the broker and the scoring server, alone and together, while flights come in
and are scored: read back by a separate reader, nothing is lost, doubled or out of order, and the model is the one of a
run that nothing disturbed. (`test_kill_job` and `test_scoring` kill the job and the server alone, in seconds.)"""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from connectors.datasets.dataset import Dataset
from connectors.datasets.flights import dataset
from connectors.kafka import KafkaLog
from tests.scenarios.outside import ROOT, Outside
from tidemill_app import config
from tidemill_app.publishing import Pace
from tidemill_app.replay import replay
from tidemill_app.stack import process as stack_process
from tidemill_app.stack.ports import find_free

PATIENCE = 120.0

NAMED = """

WEATHER = Latest("weather", "{weather}", ("origin",), WEATHER.fields)
_recipe = online_classifier


def _named(name: str, order: Order) -> Job[Any]:
    own = {{"name": name, "stream": "{flights}", "endpoint": "{flights}", "version_every": {every}}}
    globals()["online_classifier"] = lambda **settings: _recipe(**settings | own)
    return job(order)


def disturbed() -> Job[Any]:
    return _named("{flights}-late", EventTime(lateness=10 * MINUTE))


def by_arrival() -> Job[Any]:
    return _named("{flights}-late", Arrival())
"""


class World(Outside):
    """One home with the flights' streams under names of their own, and everything that may be killed."""

    def __init__(self, connection: Any, flights: str, folder: Path, order: str, limit: int, every: int) -> None:
        super().__init__(connection)
        self.run_folder = connection.home.run
        self.flights, self.job = flights, f"{flights}-late"
        self.function = "disturbed" if order == "event_time" else "by_arrival"
        self.port = find_free()
        self.server: subprocess.Popen[str] | None = None
        self.log = KafkaLog({"bootstrap.servers": self.bootstrap})
        self.data = renamed(dataset(), flights)
        self.limit = limit
        self.file = folder / "job.py"
        own = NAMED.format(flights=flights, weather=f"{flights}-weather", every=every)
        self.file.write_text((ROOT / "examples/flights/job.py").read_text() + own)
        self._errors = folder / "serve.err"

    def declare(self, folder: Path) -> None:
        for stream in self.data.streams:
            if not stream.spec.name.startswith("labels."):
                path = folder / f"{stream.spec.name}.json"
                path.write_bytes(msgspec.json.encode(stream.spec))
                self.tidemill("stream", "create", stream.spec.name, "--schema", path)

    def serve(self) -> None:
        words = ("serve", "--port", self.port, "--endpoint", f"{self.file}:{self.function}")
        with self._errors.open("a") as errors:
            self.server = subprocess.Popen(
                self.command(*words), stdout=subprocess.DEVNULL, stderr=errors, text=True, cwd=ROOT
            )

    def commits(self) -> int:
        return sum(self.log.end(p) for p in self.log.partitions(f"progress.{self.job}"))

    def kill(self, victim: str) -> None:
        if victim == "server":
            assert self.server is not None and self.server.poll() is None
            self.server.kill()
            self.server.wait()
        else:
            os.kill(self._broker() if victim == "broker" else self._job(), signal.SIGKILL)

    def _broker(self) -> int:
        found = stack_process.running(self.run_folder, "kafka")
        assert found is not None
        return found.pid

    def _job(self) -> int:
        found = stack_process.running(self.run_folder, "supervisor")
        assert found is not None
        mine = [p for p in psutil.Process(found.pid).children() if p.cmdline()[-2:] == ["run-job", self.job]]
        assert len(mine) == 1, mine
        return mine[0].pid

    def close(self) -> None:
        if self.server is not None and self.server.poll() is None:
            self.server.kill()
            self.server.wait()
        self.log.close()


def renamed(data: Dataset, flights: str) -> Dataset:
    """The data set with its streams under names of their own."""
    names = {"flights": flights, "labels.flights": f"labels.{flights}", "weather": f"{flights}-weather"}
    streams = []
    for stream in data.streams:
        name = names[stream.spec.name]
        topic = name if name.startswith("labels.") else f"data.{name}"
        streams.append(dataclasses.replace(stream, spec=msgspec.structs.replace(stream.spec, name=name, topic=topic)))
    return dataclasses.replace(data, streams=tuple(streams))


class Publisher(threading.Thread):
    """Replays the flights at a pace, whatever is killed meanwhile; no further than `share` of them for now."""

    def __init__(self, world: World, rate: float) -> None:
        super().__init__()
        self.world, self.rate = world, rate
        self.whole = (
            sum(s.table.num_rows for s in world.data.streams) * world.limit / world.data.streams[0].table.num_rows
        )
        self.share = 0.0
        self.waited = 0.0
        self.failure: BaseException | None = None

    def run(self) -> None:
        log = KafkaLog({"bootstrap.servers": self.world.bootstrap})
        try:
            replay(
                log, self.world.data, limit=self.world.limit, pace=Pace(self.rate, now=self._now), progress=self._wait
            )
        except BaseException as error:
            self.failure = error
        finally:
            log.close()

    def _now(self) -> float:
        """A clock that stands while its turn is waited for, so that each share goes out at the same pace."""
        return time.monotonic() - self.waited

    def _wait(self, sent: int, moment: int) -> None:
        begun = time.monotonic()
        while self.share < 1.0 and sent > self.share * self.whole:
            # A round waits for a commit, an answer and a start; after a failed one nobody lets this go on.
            assert time.monotonic() < begun + 3 * PATIENCE, "no further round"
            time.sleep(0.02)
        self.waited += time.monotonic() - begun


class Caller(threading.Thread):
    """Has flights scored one after another, each under an id of its own, and keeps what was answered."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.stop = threading.Event()
        self.answers: dict[str, tuple[str, float]] = {}
        self.asked = 0
        self.refused: Counter[str] = Counter()

    def run(self) -> None:
        rows = self.world.data.streams[0].table.slice(0, 500).to_pylist()
        line = http.client.HTTPConnection("127.0.0.1", self.world.port, timeout=10)
        while not self.stop.is_set():
            id = f"live-{self.asked}"
            try:
                body = json.dumps({**rows[self.asked % len(rows)], "id": id})
                self.asked += 1
                line.request("POST", f"/score/{self.world.flights}", body)
                response = line.getresponse()
                answer = json.loads(response.read())
                if response.status == 200:
                    self.answers[answer["id"]] = (answer["version"], answer["score"])
                else:
                    self.refused[f"{response.status} {answer}"] += 1
                self.stop.wait(0.005)
            except (OSError, http.client.HTTPException):
                line.close()  # the server is dead: what it was asked may be in the log or not
                self.stop.wait(0.05)
        line.close()


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.05)


def plan(kills: int, victims: tuple[str, ...], rng: random.Random) -> list[tuple[str, ...]]:
    """Whom to kill in which round: each alone, and now and then all of them at once."""
    rounds = [(victims[i % len(victims)],) for i in range(kills)]
    for i in range(6, kills, 7):
        rounds[i] = victims
    rng.shuffle(rounds)
    return rounds


@contextmanager
def disturbed(world: World, kills: int, victims: tuple[str, ...], rate: float) -> Iterator[Caller]:
    """The whole run under kills; afterwards everything published has been read, and what was answered been sent."""
    publisher, caller = Publisher(world, rate), Caller(world)
    publisher.share = 1 / (kills + 1)
    world.tidemill("submit", f"{world.file}:{world.function}")
    world.serve()
    publisher.start()
    caller.start()
    rng = random.Random(kills)
    try:
        for i, victim in enumerate(plan(kills, victims, rng)):
            before, answered = world.commits(), len(caller.answers)
            publisher.share = (i + 1) / (kills + 1)
            until(lambda n=before: publisher.failure or world.commits() > n, "a commit")
            until(lambda n=answered: len(caller.answers) > n, f"an answer; refused: {caller.refused}")
            assert publisher.is_alive(), publisher.failure
            publisher.join(rng.uniform(0.0, 1.0))  # a moment nobody chose
            print(
                f"round {i + 1}: {world.commits()} commits, {len(caller.answers)} answers; killing {', '.join(victim)}"
            )
            for one in victim:
                world.kill(one)
            if "broker" in victim:
                world.tidemill("up")
            if "server" in victim:
                world.serve()
        publisher.share = 1.0
        publisher.join(600)
        assert publisher.failure is None, publisher.failure
        assert world.settled(world.job)["state"] == "running"
        caller.stop.set()
        caller.join(30)
        assert world.server is not None
        world.server.send_signal(signal.SIGTERM)
        assert world.server.wait(60) == 0
        yield caller
    finally:
        caller.stop.set()
        world.close()


def check_answers(world: World, caller: Caller) -> None:
    """Everything answered by HTTP is in the log once, as it was answered; what else is there was asked."""
    logged = [(p["about"], (p["version"], p["score"])) for p in world.values(f"predictions.{world.flights}")]
    assert len(dict(logged)) == len(logged)
    assert caller.answers.items() <= dict(logged).items()
    assert set(dict(logged)) <= {f"live-{i}" for i in range(caller.asked)}


def check_job(world: World) -> None:
    """What the job wrote: each event once, in order, and all its numbers without a gap.

    An event may come late for the job where an outage held up its topic longer than others: then it is dead, once.
    """
    flights = events_of(world, f"data.{world.flights}")
    times = world.data.streams[0].time
    wanted = world.data.streams[0].table["id"].slice(0, int((times <= times[world.limit - 1]).sum())).to_pylist()
    assert sorted(f["id"] for f in flights.values()) == sorted(wanted)
    labels = events_of(world, f"labels.{world.flights}")
    dead = [{name: value.decode() for name, value in r.headers()} for r in world.read(f"dead.{world.job}")]
    places = [(mark["dead_topic"], int(mark["dead_partition"]), int(mark["dead_offset"])) for mark in dead]
    assert len(set(places)) == len(places)
    assert {mark["dead_error"] for mark in dead} <= {"LateError", "OrphanError"}
    late = {place for place, mark in zip(places, dead, strict=True) if mark["dead_error"] == "LateError"}
    assert len(late) < len(flights) // 20
    left = [flight for place, flight in flights.items() if place not in late]
    if world.function == "disturbed":
        left.sort(key=lambda f: (f["time"], f["id"]))
    assert [p["about"] for p in world.values(f"predictions.{world.job}")] == [f["id"] for f in left]
    progress = [p["sequence"] for p in world.values(f"progress.{world.job}")]
    assert progress == list(range(len(progress)))
    deltas = world.values(f"deltas.{world.job}")
    assert [d["sequence"] for d in deltas] == list(range(1, len(deltas) + 1))
    assert deltas[-1]["labels"] == len(labels.keys() - late)
    print(f"{len(flights)} flights, {len(labels)} labels, {len(late)} late, {len(dead) - len(late)} orphans")


def events_of(world: World, topic: str) -> dict[tuple[str, int, int], Any]:
    """The payloads in a topic by place, without what engines and sources say of time."""
    found = {(r.topic(), r.partition(), r.offset()): json.loads(r.value()) for r in world.read(topic)}
    return {place: value for place, value in found.items() if value.get("type") != "time.advanced.v1"}


def versions(world: World, job: str) -> list[tuple[str, str]]:
    return [(v["version"], v["content_digest"]) for v in world.tidemill("model", "list", job)]


def chaos(
    connection: Any, flights: str, folder: Path, order: str, *, limit: int, kills: int, victims: str, rate: float
) -> None:
    world = World(connection, flights, folder, order, limit, every=limit // 40)
    world.declare(folder)
    with disturbed(world, kills, tuple(victims.split()), rate) as caller:
        check_job(world)
        check_answers(world, caller)
        made = versions(world, world.job)
        assert [number for number, _ in made] == [str(i + 1) for i in range(len(made))] and len(made) >= 30
        if order == "event_time":
            # The same job on the same log, from the beginning, and nothing disturbs it.
            world.tidemill("job", "stop", world.job)
            world.tidemill("submit", "--reset", f"{world.file}:{world.function}")
            world.settled(world.job)
            assert [digest for _, digest in versions(world, world.job)] == 2 * [digest for _, digest in made]
        else:
            for number in (made[0][0], made[-1][0]):
                facts = world.tidemill("model", "reproduce", f"{world.job}@{number}")
                assert facts["equal"] and facts["records_equal"]
        print(
            f"{order}: {kills} rounds, {len(caller.answers)} of {caller.asked} requests answered, {len(made)} versions"
        )


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("order", ["event_time", "arrival"])
def test_twenty_rounds_over_job_broker_and_server(own_home, tmp_path, order):
    up = subprocess.run(
        Outside.command(_Home(own_home), "up"), check=False, capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert up.returncode == 0, up.stderr
    chaos(
        config.connect(own_home),
        "flights",
        tmp_path,
        order,
        limit=29_000,
        kills=20,
        victims="job broker server",
        rate=250,
    )


class _Home:
    def __init__(self, path: Path) -> None:
        self.home = str(path)

"""`tidemill demo-perception`: from a doubtful digit to the corrected model, over the real labelling service."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

from serving.labelling.managing import Managing, NewMember, NewProject
from tidemill.errors import ConfigError, UnavailableError
from tidemill.label_events import LabelClass, LabelSchema
from tidemill.log import Partition
from tidemill_app.demo import serve_service
from tidemill_app.demo_annotators import Simulated, simulated
from tidemill_app.demo_digits import CLASSES, Digits, digits
from tidemill_app.demo_graph import example
from tidemill_app.demo_perception_retrain import Retrained, able, ready, retrain
from tidemill_app.job_file import Target
from tidemill_app.labelling_service import OWNER, CatalogueStreams, labelling
from tidemill_app.stack import ports, process
from tidemill_app.stack.supervisor import own_command, own_environment
from tidemill_app.submission import submit, wait_until
from tidemill_app.wiring import Platform

PROJECT, HEAD, EXAMPLE = "digits", "digits-head", "digits"
ANNOTATORS, COST = 8, 0.05
OVERLAP, SURE = (2, 5), 0.95
RETRAIN_AT = 0.35
"""The share of the budget after which a network is trained for the first time; the second is trained at the end."""

QUIET = 20.0
"""Seconds without an answer after which nothing more is to come."""

GUEST = "guest"
"""Who a person that joins in the browser is."""


class Answered(msgspec.Struct, array_like=True):
    """An answer as an annotator's request saw it: when it was sent, and when it was taken (UTC µs)."""

    sent: int
    taken: int


class Seen(msgspec.Struct, array_like=True):
    """A scoring answer: when it was there (UTC µs), the delta it was made by, and milliseconds that it took."""

    at: int
    delta: int
    took: float


class LoopFindings(msgspec.Struct, kw_only=True):
    """What was seen of the run from outside: the answers that annotators sent, by item and annotator, and the scoring
    answers; `failed` requests of the latter; and what became of the networks trained on the labels."""

    answers: dict[str, Answered]
    seen: list[Seen]
    failed: int
    seconds: float
    retrained: list[Retrained] = []


class PerceptionDemo:
    """The steps of the demo. `budget` is the money to spend; annotators err as those of the crowds in `data`, and take
    `pause` seconds for an answer; an item gets `overlap` of them, at least and at most. With `train`, networks are
    trained on the labels, where there is torch."""

    def __init__(
        self,
        platform: Platform,
        *,
        budget: float,
        data: Path,
        pause: float,
        train: bool,
        tell: Callable[[str], None],
        overlap: tuple[int, int] = OVERLAP,
    ) -> None:
        self.train, self.overlap = train and able(), overlap
        self.platform, self.budget, self.pause, self.tell = platform, budget, pause, tell
        self.digits: Digits = digits()
        self.people: list[Simulated] = simulated(data, len(CLASSES), ANNOTATORS)
        self.truth = dict(zip(self.digits.ids, self.digits.labels.tolist(), strict=True))
        self.codes: dict[str, str] = {}
        self.label_url = self.score_url = ""
        self.answers: dict[str, Answered] = {}
        self.seen: list[Seen] = []
        self.failed = 0
        self.stop = threading.Event()
        self._last = time.monotonic()
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Declare the stream, make the project, submit the jobs, start the servers, invite everybody."""
        platform = self.platform
        if f"data.{PROJECT}" in platform.log.topics() and platform.log.end(Partition(f"data.{PROJECT}", 0)):
            fix = "Run `tidemill demo-perception --fresh`, which removes it and begins again."
            raise ConfigError("this home has already had a demo", where=str(platform.home.path), fix=fix)
        if self.train:
            self.tell("loading what trains networks")
            ready()
        self.tell("declaring the stream, making the project")
        self.declare()
        file = example(EXAMPLE)
        for function in (None, "agree", "ask"):
            self.tell(f"submitting examples/{EXAMPLE}{':' + function if function else ''}")
            wait_until(platform, submit(platform, Target(file, function), "local")[0], 240.0)
        self.tell("starting the scoring server and the labelling server")
        score, label = ports.find_free(), ports.find_free()
        self.score_url, self.label_url = f"http://127.0.0.1:{score}", f"http://127.0.0.1:{label}"
        desk = labelling_service(platform, label)
        for service in (serve_service(platform, score), desk):
            process.start(service, platform.home.run, platform.home.logs)
        # The scoring server is not ready before there is a model, and there is none before the first label.
        process.wait_ready(desk, platform.home.run, platform.home.logs)

    def declare(self) -> None:
        """The stream, the project, and its members with their codes."""
        catalogue = self.platform.catalogue()
        catalogue.declare(self.digits.spec())
        CatalogueStreams(self.platform).declare(PROJECT)
        schema = LabelSchema(
            kind="single",
            medium="image",
            classes=tuple(LabelClass(c, c, hotkey=c) for c in CLASSES),
            instructions="Which digit is it?",
        )
        wish = NewProject(
            project=PROJECT, schema=schema, overlap=self.overlap, sure=SURE, cost=COST, budget=self.budget, roles=()
        )
        with labelling(self.platform) as service:
            managing = Managing(service)
            managing.create(wish, OWNER)
            for name in (*[p.name for p in self.people], GUEST):
                self.codes[name] = managing.invite(PROJECT, NewMember(name, ["annotator"]), OWNER).code or ""

    def run(self) -> LoopFindings:
        """The digits come, the model predicts, people answer what it asks, and it learns, until the money is spent."""
        begun = time.monotonic()
        people = [threading.Thread(target=self._annotate, args=(p,), name=p.name, daemon=True) for p in self.people]
        watcher = threading.Thread(target=self.watch, name="watch", daemon=True)
        for thread in (*people, watcher):
            thread.start()
        self.tell(f"{len(self.digits.ids)} digits come on the stream; join at {self.invitation}")
        self.publish()
        retrained: list[Retrained] = []
        try:
            while not self.stop.wait(0.5) and not self._over():
                self.tell(f"{len(self.answers)} answers, {self.spent:.2f} of {self.budget:.2f} spent")
                if self.train and not retrained and self.spent >= self.budget * RETRAIN_AT:
                    retrained.append(retrain(self.platform, self.digits, self.score_url, self.tell))
            self.stop.wait(2.0)  # the last labels are on their way to the model
            if self.train:
                retrained.append(retrain(self.platform, self.digits, self.score_url, self.tell))
        finally:
            self.stop.set()
            for thread in (*people, watcher):
                thread.join(10.0)
        return LoopFindings(
            answers=self.answers,
            seen=self.seen,
            failed=self.failed,
            seconds=time.monotonic() - begun,
            retrained=retrained,
        )

    @property
    def invitation(self) -> str:
        """The address at which a person joins, in a browser. The code stands behind #, so that no server logs it."""
        return f"{self.label_url}/#join={self.codes[GUEST]}"

    @property
    def spent(self) -> float:
        """What the answers of the simulated ones have cost."""
        return len(self.answers) * COST

    def _over(self) -> bool:
        return self.spent > self.budget - COST / 2 or time.monotonic() - self._last > QUIET

    def publish(self) -> None:
        """Every image into the artefact store, its event onto the stream."""
        digests = self.platform.artefacts.put_all(self.digits.images)
        writer = self.platform.log.writer()
        try:
            rows = zip(self.digits.ids, digests, self.digits.embeddings.round(4).tolist(), strict=True)
            for id, digest, embedding in rows:
                event = {"id": id, "time": self.platform.clock.now(), "media": digest, "media_type": "image/png"}
                writer.send(f"data.{PROJECT}", msgspec.json.encode(event | {"embedding": embedding}), key=id.encode())
            writer.flush()
        finally:
            writer.close()
        self._last = time.monotonic()

    def _annotate(self, who: Simulated) -> None:
        """Join by the code, and answer what is handed out, until told to stop."""
        at = f"/api/projects/{PROJECT}"
        ours = {"x-tidemill": "1"}  # without it the service takes a request for one that a foreign page had sent
        with httpx.Client(base_url=self.label_url, timeout=20.0, headers=ours) as client:
            joining = {"code": self.codes[who.name], "password": f"{who.name} of the demo"}
            joined = client.post("/api/join", json=joining)
            if joined.status_code != 200:
                raise UnavailableError("an annotator could not join", where=who.name, got=joined.text[:200])
            while not self.stop.is_set():
                try:
                    tasks = self._tasks(client, at, who)
                except httpx.HTTPError:
                    tasks = 0  # the server is busy or away; what was leased is there still
                if not tasks:
                    self.stop.wait(0.2)

    def _tasks(self, client: httpx.Client, at: str, who: Simulated) -> int:
        """Answer what is handed out; how many tasks there were."""
        answer = client.post(f"{at}/next", json={"count": 2})
        tasks = answer.json().get("tasks", []) if answer.status_code == 200 else []
        for task in tasks:
            if self.stop.wait(self.pause):
                break
            self._answer(client, f"{at}/answers", who, task)
        return len(tasks)

    def _answer(self, client: httpx.Client, path: str, who: Simulated, task: Mapping[str, Any]) -> None:
        value = CLASSES[who.answer(task["item"], self.truth[task["item"]])]
        sent = self.platform.clock.now()
        given = client.post(path, json={"lease": task["lease"], "value": value, "seconds": self.pause})
        if given.status_code == 200:
            with self._lock:
                self.answers[f"{task['item']}/{who.name}"] = Answered(sent, self.platform.clock.now())
                self._last = time.monotonic()

    def watch(self, pause: float = 0.02) -> None:
        """Ask the endpoint again and again, for one and the same digit: its answers tell how new the model is."""
        body = msgspec.json.encode({"id": "probe", "embedding": self.digits.test.embeddings[0].tolist()})
        with httpx.Client(base_url=self.score_url, timeout=10.0) as client:
            while not self.stop.wait(pause):
                begun = time.perf_counter()
                try:
                    answer = client.post(f"/score/{PROJECT}", content=body)
                except httpx.HTTPError:
                    self.failed += bool(self.seen)
                    continue
                if answer.status_code != 200:
                    self.failed += bool(self.seen)  # before the first version there is nothing to answer with
                    continue
                took = (time.perf_counter() - begun) * 1e3
                self.seen.append(Seen(self.platform.clock.now(), int(answer.json()["delta"]), took))


def labelling_service(platform: Platform, port: int) -> process.Service:
    """The labelling server as a detached process of this home."""

    def ready() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=1.0).status_code == 200
        except httpx.HTTPError:
            return False

    return process.Service(
        name="labelling",
        argv=own_command(platform.home.path, "labelling", "serve", "--port", str(port)),
        env=own_environment(),
        ready=ready,
        ready_seconds=120.0,
    )

"""What the labelling pages wait for in a project of 60,000 items, over HTTP, with a real Kafka behind the service.

The project: 60,000 texts of two classes, asked two to three times. Half is answered, by ten annotators: 27,000 items
are settled by two equal answers, 3,000 are in dispute after three; the other half is open. The service runs in a
process of its own, without Redis and without what looks after leases that run out; one client asks, one request after
the other. `next` is the page's: four tasks in hand, of which one is answered before the next are asked for. Figures
are the median and the 99th percentile of the requests' times, in milliseconds. `start` is from the process's begin,
with Python's own, to its first answer: the log of 180,000 events is read in it. `TIDEMILL_BOOTSTRAP` names the broker.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from benchmarks.dataset_import import platform
from benchmarks.harness import measure
from connectors.kafka_admin import KafkaAdmin
from serving.labelling.accounts import Accounts
from serving.labelling.door import LabellingDoor
from serving.labelling.managing import Managing, NewMember, NewProject
from serving.server import listen, make, run
from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.event import Event
from tidemill.label_events import AnswerGiven, LabelAsked, LabelClass, LabelEstimated, LabelSchema, LabelSettled
from tidemill.time import SystemClock
from tidemill_app.labelling_service import labelling

ITEMS, ANSWERED, DISPUTED, PEOPLE = 60_000, 30_000, 3_000, 10
WORK = f"{ITEMS:,} texts, {ANSWERED:,} answered, {DISPUTED:,} in dispute"
SCHEMA = LabelSchema(kind="single", medium="text", classes=(LabelClass("cat", "cat"), LabelClass("dog", "dog")))


def made(at: int) -> Iterator[Event]:
    """The project's items, answers and estimates."""
    for n in range(ITEMS):
        about = f"t{n}"
        yield LabelAsked(id=f"{about}:asked", time=at, about=about, payload={"text": f"text number {n}"})
        if n >= ANSWERED:
            continue
        values = ("cat", "dog", "cat") if n < DISPUTED else ("cat", "cat") if n % 2 else ("dog", "dog")
        for k, value in enumerate(values):
            by = f"a{(n + k) % PEOPLE}"
            yield AnswerGiven(id=f"{about}:{k}", time=at + k, about=about, by=by, value=value, seconds=2.0, cost=0.05)
        sure = 0.7 if n < DISPUTED else 0.97
        told = {"about": about, "value": values[0], "confidence": sure, "answers": len(values)}
        yield LabelEstimated(id=f"{about}:estimated", time=at + 3, **told)  # type: ignore[arg-type]
        if n >= DISPUTED:
            yield LabelSettled(id=f"{about}:settled", time=at + 3, **told)  # type: ignore[arg-type]


def fill(folder: Path, project: str) -> str:
    """Make the project, and what happened in it; a token of `boss`, who may do everything in it."""
    there = platform(folder)
    accounts = Accounts(there.home.keys)
    accounts.join(accounts.invite("boss", maker=True), uuid.uuid4().hex)
    with labelling(there) as service:
        managing = Managing(service)
        roles = ["annotator", "reviewer", "manager"]
        managing.create(NewProject(project=project, schema=SCHEMA, overlap=(2, 3), cost=0.05, roles=roles), "boss")  # type: ignore[arg-type]
        for n in range(PEOPLE):
            managing.invite(project, NewMember(f"a{n}", ["annotator"], []), "boss")
        writer = there.log.writer()
        for event in made(SystemClock().now()):
            key = str(event.about).encode()  # type: ignore[attr-defined]
            writer.send(f"labels.{project}", events.encode(event), key=key, headers=headers_of(event), partition=0)
        writer.close()
    return accounts.token("boss", project)


def serve(folder: str) -> None:
    with labelling(platform(Path(folder))) as service:
        sock, door = listen("127.0.0.1", 0), LabellingDoor(service)
        try:
            run(make(door), sock, lambda: print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True))
        finally:
            door.close()


def times(act: Callable[[], float], count: int) -> list[float]:
    """Milliseconds of each, the slowest last."""
    return sorted(act() for _ in range(count))


def report(name: str, found: list[float], workload: str = WORK) -> None:
    for part, value in (("p50", statistics.median(found)), ("p99", found[round(0.99 * (len(found) - 1))])):
        figure = f"labelling_pages_{name}_{part}"
        measure(figure, lambda value=value: value, unit="ms", workload=workload, better="lower", runs=1)  # type: ignore[misc]


def look(http: httpx.Client, project: str) -> None:
    at = f"/api/projects/{project}"

    def asked(method: str, path: str, body: object = None) -> tuple[float, httpx.Response]:
        begun = time.perf_counter()
        answer = http.request(method, path, json=body)
        taken = (time.perf_counter() - begun) * 1000
        answer.raise_for_status()
        return taken, answer

    progress = asked("GET", at + "/progress")[1].json()
    told = progress["items"], progress["settled"], progress["disputed"]
    if told != (ITEMS, ANSWERED - DISPUTED, DISPUTED):
        raise AssertionError(f"the project is another than was made: {told}")

    answering: list[float] = []

    def following() -> float:
        taken, answer = asked("POST", at + "/next", {"count": 4})
        first = answer.json()["tasks"][0]
        answering.append(asked("POST", at + "/answers", {"lease": first["lease"], "value": "cat", "seconds": 1.0})[0])
        return taken

    report("next", times(following, 300))
    report("answer", sorted(answering))
    report("project", times(lambda: asked("GET", at)[0], 100))
    for page in ("progress", "disputes", "review?count=1", "annotators", "agreement"):
        report(page.partition("?")[0], times(lambda page=page: asked("GET", f"{at}/{page}")[0], 50))  # type: ignore[misc]


def main() -> None:
    if not os.environ.get("TIDEMILL_BOOTSTRAP"):
        sys.exit("labelling_pages: set TIDEMILL_BOOTSTRAP to a broker's address (`tidemill status` shows the stack's)")
    project = f"bench-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        token = fill(Path(scratch), project)
        begun = time.perf_counter()
        words = [sys.executable, "-m", "benchmarks.labelling_pages", scratch]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            headers = {"authorization": f"Bearer {token}"}
            with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
                http.get("/api/me").raise_for_status()
                started = time.perf_counter() - begun
                measure("labelling_pages_start", lambda: started, unit="s", workload=WORK, better="lower")
                look(http, project)
        finally:
            process.terminate()
            process.wait(60)
            admin = KafkaAdmin({"bootstrap.servers": os.environ["TIDEMILL_BOOTSTRAP"]})
            for topic in (f"data.{project}", f"labels.{project}"):
                admin.delete(topic)
            admin.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        main()

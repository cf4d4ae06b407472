"""`tidemill demo`: a year of flights through a live stack, watched as it happens, and a report at the end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec

from connectors.datasets.dataset import Dataset
from tidemill import events
from tidemill.errors import BadEvent, ConfigError, UnavailableError
from tidemill.events import DeltaPublished, DriftDetected, MetricsMeasured, ProgressMade
from tidemill.log import Partition, Reader
from tidemill_app.job_file import Target
from tidemill_app.publishing import Pace
from tidemill_app.replay import replay
from tidemill_app.stack import ports, process
from tidemill_app.stack.supervisor import own_command, own_environment
from tidemill_app.submission import submit, wait_until
from tidemill_app.wiring import Platform

JOB = "flights-late"
ENDPOINT = "flights"
MOST_BEHIND = 0.5
BAD = (
    b'{"id": "half',
    b'{"id": "bad-bytes-\xff"}',
    b'{"id": "nan", "time": 1357034400000000, "distance": NaN}',
    b'{"id": "wrong-type", "time": "2013-06-01T00:00:00Z", "carrier": 7}',
    b"[1, 2, 3]",
    None,
)
"""Records that no job can use; each must come out in the dead-letter topic once."""


def job_file() -> Path:
    """The flights job. Raises `ConfigError` outside a checkout, where there are no examples."""
    file = Path(__file__).parents[1] / "examples" / "flights" / "job.py"
    if not file.is_file():
        raise ConfigError("the demo's job is not here", where=str(file), fix="Run the demo in a checkout of Tidemill.")
    return file


def serve_service(platform: Platform, port: int) -> process.Service:
    """The scoring server as a detached process of this home."""
    url = f"http://127.0.0.1:{port}/v2/health/ready"

    def ready() -> bool:
        try:
            return httpx.get(url, timeout=1.0).status_code == 200
        except httpx.HTTPError:
            return False

    return process.Service(
        name="serve",
        argv=own_command(platform.home.path, "serve", "--port", str(port)),
        env=own_environment(),
        ready=ready,
        ready_seconds=120.0,
    )


class Following(Pace):
    """At most `rate` events a second, and none while more are under way than the job learns in `MOST_BEHIND` seconds,
    by how fast it learned of late: on a machine that cannot keep the rate, labels are still soon live.

    `learned` says how many are, `pause` waits and says whether to stop.
    """

    def __init__(self, rate: float, learned: Callable[[], int], pause: Callable[[float], bool], **clock: Any) -> None:
        super().__init__(rate or None, **clock)
        self._learned, self._pause = learned, pause
        self._seen: deque[tuple[float, int]] = deque()
        self._all = 0

    def wait(self, time: int, count: int = 1) -> None:
        asked = self._now()
        while self._all and self._all + count > self._learned_soon() and not self._pause(0.01):
            pass
        if self._begun is not None:
            self._begun += self._now() - asked  # else it would make up for it at once
        super().wait(time, count)
        self._all += count

    def _learned_soon(self) -> float:
        """How many will be learned in `MOST_BEHIND` seconds; some more than now in any case, to see how fast it is."""
        now, learned = self._now(), self._learned()
        if not self._seen or now - self._seen[-1][0] > 0.1:
            self._seen.append((now, learned))
        while len(self._seen) > 1 and now - self._seen[1][0] > 2.0:
            self._seen.popleft()
        since, before = self._seen[0]
        speed = (learned - before) / max(now - since, 1.0)
        return learned + max(1_000.0, speed * MOST_BEHIND)


class Watch:
    """What the demo sees of the run, from the topics and over HTTP, as anybody could."""

    def __init__(self, platform: Platform, url: str, flights: Any) -> None:
        self.platform = platform
        self.url = url
        self.flights = flights
        self.sent = self.learned = 0
        self.event_time = 0
        self.total = 0
        self.measured: list[MetricsMeasured] = []
        self.drift: list[int] = []
        self.dead: Counter[str] = Counter()
        self.score_latency: list[float] = []
        self.label_to_live: list[float] = []
        self.failed_requests = 0
        self.last_answer: dict[str, Any] = {}
        self.scored: list[dict[str, Any]] = []
        self.rate: list[tuple[float, float]] = []
        self.status: dict[str, Any] = {}
        self.began = time.monotonic()
        self.stop = threading.Event()
        self._labelled: dict[int, int] = {}
        self._lock = threading.Lock()

    def follow(self) -> None:
        """Read metrics, deltas, progress and dead letters as they come, until told to stop."""
        log = self.platform.log
        wanted = [Partition(t, 0) for t in (f"metrics.{JOB}", f"deltas.{JOB}", f"dead.{JOB}", f"progress.{JOB}")]
        readers: dict[Partition, Reader] = {}
        try:
            while not self.stop.is_set():
                there = log.topics() if len(readers) < len(wanted) else {}
                for at in wanted:
                    if at not in readers and at.topic in there:
                        readers[at] = log.reader({at: log.begin(at)})
                for reader in readers.values():
                    for record in reader.poll(500, 0.005):
                        self._take(record.topic, record.value, record.headers)
                if not readers:
                    self.stop.wait(0.2)
        finally:
            for reader in readers.values():
                reader.close()

    def _take(self, topic: str, value: bytes | None, headers: Any) -> None:
        if topic.startswith("dead."):
            self.dead[dict(headers).get("dead_error", b"?").decode()] += 1
            return
        with contextlib.suppress(BadEvent):
            event = events.decode(value or b"")
            if isinstance(event, MetricsMeasured) and not event.version:
                self.measured.append(event)
            elif isinstance(event, DriftDetected):
                self.drift.append(event.time)
            elif isinstance(event, ProgressMade):
                self.learned = sum(at for _, _, at in event.offsets)
            elif isinstance(event, DeltaPublished) and event.labelled:
                with self._lock:
                    self._labelled[event.sequence] = event.labelled

    def score(self, pause: float = 0.02) -> None:
        """Score the flight that departs about now in the replay, again and again, until told to stop."""
        rows = self.flights
        with httpx.Client(base_url=self.url, timeout=5.0) as client:
            # There is nothing to score with before the job has published its first version.
            while not self.stop.wait(0.2) and not self._has_version(client):
                pass
            with self._lock:
                self._labelled.clear()  # what was learned before there was anybody to answer says nothing of freshness
            while not self.stop.wait(pause):
                at = min(int(rows["time"].searchsorted(self.event_time)), len(rows["time"]) - 1)
                flight = {name: column[at] for name, column in rows["columns"].items()}
                begun = time.perf_counter()
                try:
                    answer = client.post(f"/score/{ENDPOINT}?explain=true", content=msgspec.json.encode(flight))
                except httpx.HTTPError:
                    self.failed_requests += 1
                    continue
                took = (time.perf_counter() - begun) * 1e3
                if answer.status_code != 200:
                    self.failed_requests += 1
                    continue
                self.score_latency.append(took)
                self._answered(answer.json(), flight, took)

    def _has_version(self, client: httpx.Client) -> bool:
        try:
            return client.get(f"/v2/models/{JOB}/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def _answered(self, answer: dict[str, Any], flight: dict[str, Any], took: float) -> None:
        now = self.platform.clock.now()
        self.last_answer = answer
        with self._lock:
            for sequence in [s for s in self._labelled if s <= answer.get("delta", -1)]:
                self.label_to_live.append(max(0.0, (now - self._labelled.pop(sequence)) / 1e3))
        if not self.scored or time.monotonic() - self.scored[-1]["_at"] > 4.0:
            reasons = sorted((answer.get("reasons") or {}).items(), key=lambda r: -abs(r[1]))
            top = [f"{name} {value:+.2f}" for name, value in reasons if name != "bias"][:3]
            self.scored.append(
                {
                    "_at": time.monotonic(),
                    "flight": flight["id"],
                    "late with probability": f"{answer['score']:.3f}",
                    "version": answer["version"],
                    "delta": answer.get("delta"),
                    "milliseconds": f"{took:.1f}",
                    "reasons": ", ".join(top),
                }
            )

    def look(self) -> None:
        """Note the job's present figures."""
        from tidemill_app.job_table import JobFiles

        self.status = JobFiles(self.platform.home, JOB).read_status()
        self.rate.append((time.monotonic() - self.began, float(self.status.get("events_per_second", 0.0))))

    @property
    def newest(self) -> dict[str, float]:
        return self.measured[-1].values if self.measured else {}


class Demo:
    """The steps of the demo, each leaving the next something to work on."""

    def __init__(self, platform: Platform, *, limit: int, rate: float, tell: Callable[[str], None]) -> None:
        from connectors.datasets.flights import dataset

        self.platform = platform
        self.limit = limit
        self.rate = rate
        self.tell = tell
        self.dataset: Dataset = dataset()
        self.port = 0

    def prepare(self) -> Watch:
        """Declare the streams, submit the job, start the scoring server."""
        platform = self.platform
        if "data.flights" in platform.log.topics() and platform.log.end(Partition("data.flights", 0)):
            raise ConfigError(
                "this home has already had the demo",
                where=str(platform.home.path),
                fix="Run `tidemill demo --fresh`, which removes it and begins again.",
            )
        self.tell("declaring the streams")
        catalogue = platform.catalogue()
        for stream in self.dataset.streams:
            name = stream.spec.name
            if name.startswith("labels."):
                catalogue.declare_labels(name.removeprefix("labels."))
            else:
                catalogue.declare(stream.spec)
        self.tell("submitting the job")
        wish, _, _ = submit(platform, Target(job_file(), None), "local")
        wait_until(platform, wish, 120.0)
        self.port = ports.find_free()
        service = serve_service(platform, self.port)
        self.tell("starting the scoring server")
        process.start(service, platform.home.run, platform.home.logs)
        watch = Watch(platform, f"http://127.0.0.1:{self.port}", self._flights())
        watch.total = sum(s.table.num_rows for s in self.dataset.streams)
        return watch

    def _flights(self) -> dict[str, Any]:
        stream = self.dataset.streams[0]
        columns = {n: stream.table[n].to_pylist() for n in (f.name for f in stream.spec.fields)}
        columns["time"] = stream.time.tolist()
        return {"time": stream.time, "columns": columns}

    def run(self, watch: Watch, draw: Callable[[Watch], None]) -> None:
        """Replay the year while learning, scoring and watching go on, until the job has read everything."""
        threads = [
            threading.Thread(target=target, name=target.__name__, daemon=True)
            for target in (watch.follow, watch.score, lambda: self._replay(watch))
        ]
        for thread in threads:
            thread.start()
        try:
            while threads[2].is_alive() or not self._level(watch):
                watch.look()
                draw(watch)
                self._check_alive()
                watch.stop.wait(0.5)
            # The last metrics and deltas are on their way to us.
            deadline = time.monotonic() + 5.0
            while not watch.measured and time.monotonic() < deadline:
                watch.stop.wait(0.1)
        finally:
            watch.stop.set()
            for thread in threads:
                thread.join(10.0)

    def _replay(self, watch: Watch) -> None:
        def progress(sent: int, event_time: int) -> None:
            watch.sent, watch.event_time = sent, event_time

        replay(
            self.platform.log,
            self.dataset,
            limit=self.limit,
            pace=Following(self.rate, lambda: watch.learned, watch.stop.wait),
            stop=watch.stop.is_set,
            progress=progress,
            at_half=self._inject,
        )

    def _inject(self) -> None:
        writer = self.platform.log.writer()
        try:
            for value in BAD:
                writer.send("data.flights", value)
            writer.flush()
        finally:
            writer.close()

    def _level(self, watch: Watch) -> bool:
        lag = watch.status.get("lag") or {"": 1}
        return sum(v or 0 for v in lag.values()) == 0 and watch.status.get("buffered", 1) == 0

    def _check_alive(self) -> None:
        for name in ("kafka", "supervisor", "serve"):
            if process.running(self.platform.home.run, name) is None:
                log = self.platform.home.logs / f"{name}.log"
                raise UnavailableError("ended during the demo", where=name, got=process.reason(log))

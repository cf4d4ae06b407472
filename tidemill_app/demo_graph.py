"""`tidemill demo-graph`: delays that spread among flights, and who will trust whom, learned on live graphs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

from connectors.datasets.dataset import Dataset, declare
from tidemill import events
from tidemill.errors import BadEvent, ConfigError
from tidemill.events import MetricsMeasured, ProgressMade
from tidemill.log import Partition, Reader
from tidemill_app.answers import Verified, verify
from tidemill_app.demo import Following, serve_service
from tidemill_app.job_file import Target, load_job
from tidemill_app.replay import replay
from tidemill_app.stack import ports, process
from tidemill_app.submission import submit, wait_until
from tidemill_app.wiring import Platform

DELAYS, TABULAR, TRUST = "delays", "flights", "trust"
"""The examples that take part: the one on the graph, what it is compared with, and the one of links."""

NAMES = {DELAYS: "delays-late", TABULAR: "flights-late", TRUST: "trust"}
RATINGS = Path("bitcoin_otc") / "soc-sign-bitcoinotc.csv.gz"
KEPT = 12


class Scoring(msgspec.Struct):
    """What came of asking an endpoint again and again: milliseconds, failures, the answer whose neighbours have most
    influence, and some of the others."""

    latency: list[float] = []
    failed: int = 0
    best: dict[str, Any] = {}
    some: list[dict[str, Any]] = []


class GraphFindings(msgspec.Struct, kw_only=True):
    """What the page shows. `measured` are the metrics of each job as they came; `links` the ranking of links by model,
    where there were any."""

    measured: dict[str, list[MetricsMeasured]]
    scoring: dict[str, Scoring]
    verified: dict[str, Verified]
    links: list[tuple[str, float, float]]
    seconds: float
    url: str
    home: str


def example(name: str) -> Path:
    """The file of an example job. Raises `ConfigError` outside a checkout."""
    file = Path(__file__).parents[1] / "examples" / name / "job.py"
    if not file.is_file():
        raise ConfigError("the demo's job is not here", where=str(file), fix="Run the demo in a checkout of Tidemill.")
    return file


def ratings(folder: Path) -> Dataset | None:
    """The trust network, where the data folder has it."""
    file = folder / RATINGS
    if not file.is_file():
        return None
    import numpy as np
    import pyarrow as pa

    rows = np.loadtxt(file, delimiter=",", skiprows=1)
    rows = rows[np.argsort(rows[:, 3], kind="stable")]
    table = pa.table(
        {
            "id": [f"rating-{i:06d}" for i in range(len(rows))],
            "time": (rows[:, 3] * 1e6).astype(np.int64),
            **{name: rows[:, i].astype(np.int64) for i, name in enumerate(("rater", "rated", "rating"))},
        }
    )
    return Dataset("ratings", "who trusts whom", (declare("ratings", table),), (), ())


class Watching:
    """Metrics and progress of the jobs, read from their topics as they come."""

    def __init__(self, platform: Platform, jobs: Mapping[str, str]) -> None:
        self._platform, self._jobs = platform, jobs
        self.measured: dict[str, list[MetricsMeasured]] = defaultdict(list)
        self.read: dict[str, int] = defaultdict(int)
        self.stop = threading.Event()

    def follow(self) -> None:
        """Until told to stop."""
        log, readers = self._platform.log, dict[str, Reader]()
        wanted = {f"{kind}.{job}": name for name, job in self._jobs.items() for kind in ("metrics", "progress")}
        try:
            while not self.stop.is_set():
                there = log.topics() if len(readers) < len(wanted) else {}
                for topic in wanted:
                    if topic not in readers and topic in there:
                        at = Partition(topic, 0)
                        readers[topic] = log.reader({at: log.begin(at)})
                for topic, reader in readers.items():
                    for record in reader.poll(500, 0.005):
                        with contextlib.suppress(BadEvent):
                            self._take(wanted[topic], events.decode(record.value or b""))
                self.stop.wait(0.02 if readers else 0.2)
        finally:
            for reader in readers.values():
                reader.close()

    def _take(self, name: str, event: Any) -> None:
        if isinstance(event, ProgressMade):
            self.read[name] = sum(at for _, _, at in event.offsets)
        elif isinstance(event, MetricsMeasured) and (name == TRUST or not event.version):
            self.measured[name].append(event)


class GraphDemo:
    """The steps of the demo. `limit` flights are replayed; `data` is the folder with the trust network, or has none."""

    def __init__(self, platform: Platform, *, limit: int, rate: float, data: Path, tell: Callable[[str], None]) -> None:
        from connectors.datasets.flights import dataset

        self.platform, self.limit, self.rate, self.tell = platform, limit, rate, tell
        self.flights, self.trust = dataset(), ratings(data)
        self.jobs = {n: NAMES[n] for n in (DELAYS, TABULAR, *([TRUST] if self.trust else []))}
        self.watching = Watching(platform, self.jobs)
        self.scoring = {DELAYS: Scoring()} | ({TRUST: Scoring()} if self.trust else {})
        self.url = ""
        self._now = 0

    def prepare(self) -> None:
        """Declare the streams, submit the jobs, start the scoring server."""
        platform, catalogue = self.platform, self.platform.catalogue()
        if "data.flights" in platform.log.topics() and platform.log.end(Partition("data.flights", 0)):
            fix = "Run `tidemill demo-graph --fresh`, which removes it and begins again."
            raise ConfigError("this home has already had a demo", where=str(platform.home.path), fix=fix)
        for stream in (*self.flights.streams, *(self.trust.streams if self.trust else ())):
            if stream.spec.name.startswith("labels."):
                catalogue.declare_labels(stream.spec.name.removeprefix("labels."))
            else:
                catalogue.declare(stream.spec)
        for name in self.jobs:
            self.tell(f"submitting examples/{name}")
            wait_until(platform, submit(platform, Target(example(name), None), "local")[0], 240.0)
        port = ports.find_free()
        self.tell("starting the scoring server")
        process.start(serve_service(platform, port), platform.home.run, platform.home.logs)
        self.url = f"http://127.0.0.1:{port}"

    def run(self) -> None:
        """Replay the flights, and then the ratings, while the endpoints are asked."""
        follower = threading.Thread(target=self.watching.follow, name="follow", daemon=True)
        follower.start()
        try:
            self._follow(DELAYS, self.flights, self.limit)
            if self.trust is not None:
                self._follow(TRUST, self.trust, 0)
            self._wait()
        finally:
            self.watching.stop.set()
            follower.join(10.0)

    def _follow(self, name: str, dataset: Dataset, limit: int) -> None:
        done = threading.Event()
        asking = threading.Thread(target=self._ask, args=(name, dataset, done), name=f"ask-{name}", daemon=True)
        asking.start()
        self.tell(
            f"replaying {dataset.name}; {self.url}/score/{dataset.streams[0].spec.name if name == TRUST else name}"
        )

        def progress(sent: int, event_time: int) -> None:
            self._now = event_time

        pace = Following(self.rate, lambda: self.watching.read[name], done.wait)
        try:
            replay(self.platform.log, dataset, limit=limit, pace=pace, progress=progress)
        finally:
            done.set()
            asking.join(20.0)

    def _wait(self) -> None:
        """Until every job has read what there is."""
        from tidemill_app.job_table import JobFiles

        self.tell("waiting for the jobs to reach the end")
        deadline = time.monotonic() + 120.0
        while time.monotonic() < deadline:
            lags = [JobFiles(self.platform.home, job).read_status().get("lag") or {"": 1} for job in self.jobs.values()]
            if not any(v or 0 for lag in lags for v in lag.values()):
                break
            self.watching.stop.wait(0.5)
        self.watching.stop.wait(1.0)  # the last metrics are on their way

    def _ask(self, name: str, dataset: Dataset, done: threading.Event, pause: float = 0.05) -> None:
        """Ask for the event that happens about now in the replay, until done."""
        stream, scoring = dataset.streams[0], self.scoring[name]
        times, columns = stream.time, [f.name for f in stream.spec.fields]
        path = f"/score/{name if name == DELAYS else stream.spec.name}?explain=true"
        asked = 0
        with httpx.Client(base_url=self.url, timeout=10.0) as client:
            while not done.wait(pause):
                at = min(int(times.searchsorted(self._now)), len(times) - 1)
                row = stream.table.slice(at, 1).to_pylist()[0]
                body = {n: row[n] for n in columns}
                begun = time.perf_counter()
                try:
                    answer = client.post(path, content=msgspec.json.encode(body))
                except httpx.HTTPError:
                    scoring.failed += bool(scoring.latency)
                    continue
                if answer.status_code != 200:
                    # Before the first version there is nothing to answer with.
                    scoring.failed += bool(scoring.latency)
                    continue
                scoring.latency.append((time.perf_counter() - begun) * 1e3)
                self._answered(scoring, {**answer.json(), "asked": body}, asked)
                asked += 1

    def _answered(self, scoring: Scoring, answer: dict[str, Any], number: int) -> None:
        def weight(one: Mapping[str, Any]) -> float:
            near = (one.get("rests_on") or {}).get("neighbours") or []
            return sum(abs(n.get("influence", 0.0)) for n in near) or len(near)

        if weight(answer) >= weight(scoring.best):
            scoring.best = answer
        if number % 40 == 0:
            scoring.some = [*scoring.some, answer][-KEPT:]

    def findings(self, seconds: float, home: str) -> GraphFindings:
        """What was seen, and the answers asked again of the log."""
        verified = {}
        for name in self.scoring:
            endpoint = load_job(example(name)).endpoint
            assert endpoint is not None
            self.tell(f"asking every answer of {endpoint.name} again, of graphs made anew from the log")
            verified[endpoint.name] = verify(self.platform, endpoint)
        return GraphFindings(
            measured=dict(self.watching.measured),
            scoring=self.scoring,
            verified=verified,
            links=self._links(),
            seconds=seconds,
            url=self.url,
            home=home,
        )

    def _links(self) -> list[tuple[str, float, float]]:
        """Test MRR of the trust network's links against 100 seeded negatives, causal and stale, by model."""
        if self.trust is None:
            return []
        from graph.baselines import EdgeBank, RecencyMix
        from graph.evaluate import evaluate
        from graph.link_model import LinkModel

        self.tell("ranking the last 15 % of the ratings: EdgeBank, the mix, and the learned model")
        table = self.trust.streams[0].table
        src, dst, time_ = (table[n].to_numpy() for n in ("rater", "rated", "time"))
        models: list[Any] = [("EdgeBank", EdgeBank), ("recency-popularity mix", RecencyMix), ("learned", LinkModel)]
        found = evaluate(models, src, dst, time_ / 1e6, kinds=("seeded",))
        mrr = {(q.model, q.protocol): q.mrr for q in found}
        return [(name, mrr[name, "causal"], mrr[name, "stale"]) for name, _ in models]

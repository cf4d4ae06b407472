"""The whole year of flights by the examples' own job files, on every engine: the same predictions, made by models of
the same content digest; of one model for all flights, and of one for each carrier, whose groups Flink spreads over two
tasks.

    python -m pytest -s tests/scenarios/test_engines_flights.py -m slow
"""

import hashlib
import time
from collections import defaultdict

import msgspec
import pyarrow.compute as pc
import pytest

from connectors.datasets import flights
from connectors.kafka import KafkaLog
from tests.scenarios.outside import Outside
from tidemill.checks.inputs import advanced
from tidemill.hashing import xxh64
from tidemill_app import config
from tidemill_app.stack import lifecycle

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(3600)]
HOW_MANY = pytest.mark.parametrize("year", [30_000, 336_776], ids=["30k", "year"], indirect=True)

RUNS = (("local", ()), ("faust", ()), ("flink", ("--parallelism", "1")), ("flink", ("--parallelism", "2")))
SECONDS = 1200.0
GROUPS = 16
AFTER = 1_400_000_000_000_000


class Prediction(msgspec.Struct, frozen=True):
    time: int
    about: str
    version: str
    score: float
    features: list[float] | None = None


class Bench:
    """The job `job` of an example, run by engine after engine over the same log, each from the log's beginning."""

    def __init__(self, outside: Outside, example: str, job: str, file: str = "job.py") -> None:
        self.out, self.file, self.job = outside, f"examples/{example}/{file}", job
        self._read: dict[int, int] = {}
        self._versions = 0

    def run(self, engine: str, *options: str, output: str, rows: int) -> None:
        """Run the job on `engine` until it has given so many rows of an output."""
        begun = time.monotonic()
        self.out.tidemill("submit", self.file, "--engine", engine, *options, "--reset", "--wait", 300)
        running = time.monotonic()
        while True:
            status = self.out.tidemill("job", "show", self.job)
            assert status["state"] != "failed", status["reason"]
            if (status.get("emitted") or {}).get(output, 0) >= rows:
                break
            assert time.monotonic() < begun + SECONDS, status
            time.sleep(1.0)
        print(
            f"{self.job} on {' '.join([engine, *options])}: running after {running - begun:.0f} s, its {rows} rows "
            f"after {time.monotonic() - running:.0f} s more",
            flush=True,
        )
        self.out.tidemill("job", "stop", self.job, "--wait", 120)

    def predictions(self) -> list[Prediction]:
        """What came since the last call."""
        made = []
        for record in self.out.read(f"predictions.{self.job}", self._read):
            self._read[record.partition()] = record.offset() + 1
            made.append(msgspec.json.decode(record.value(), type=Prediction))
        return sorted(made, key=lambda row: (row.time, row.about))

    def versions(self) -> dict[str, str]:
        """The content digests of what was published since the last call, by version, the oldest first."""
        every = [v for v in self.out.tidemill("model", "list") if v["model"] == self.job]
        made = sorted(every, key=lambda v: int(v["version"]))[self._versions :]
        self._versions += len(made)
        return {v["version"]: v["content_digest"] for v in made}


def digest(rows: object) -> str:
    return hashlib.sha256(msgspec.json.encode(rows)).hexdigest()[:16]


@pytest.fixture
def year(own_home, request):
    """A home with everything up and flights in its topics, as many as `request.param` says; and the carrier of each
    flight, by its id."""
    lifecycle.up(config.load(own_home), taskmanagers=1)
    out, table = Outside(config.connect(own_home)), flights.flights()
    out.tidemill("publish", "--dataset", "flights", "--limit", request.param, timeout=1200)
    # Those at the time of the last one come with it.
    table = table.filter(pc.less_equal(table["time"], table["time"][request.param - 1]))
    return out, dict(zip(table["id"].to_pylist(), table["carrier"].to_pylist(), strict=True))


def promise(outside: Outside, *topics: str) -> None:
    """Nothing earlier than long after the year follows: what waits for that to be sure need not any more."""
    log = KafkaLog({"bootstrap.servers": outside.bootstrap})
    writer = log.writer()
    for partition in (p for topic in topics for p in log.partitions(topic)):
        topic, number, value, headers = advanced(*partition, AFTER, promise=True)
        writer.send(topic, value, headers=headers, partition=number)
    writer.close()
    log.close()


@HOW_MANY
def test_one_model(year):
    outside, carrier = year
    bench, found = Bench(outside, "flights", "flights-late"), []
    for engine, options in RUNS[:3]:
        bench.run(engine, *options, output="predictions", rows=len(carrier))
        made, versions = bench.predictions(), bench.versions()
        assert sorted(row.about for row in made) == sorted(carrier)
        # Version numbers go on from engine to engine: a prediction is told by what its version holds.
        rows = [(r.time, r.about, versions.get(r.version, ""), r.score, r.features) for r in made]
        found.append((digest(rows), list(versions.values())))
        print(f"{len(made)} predictions {found[-1][0]}, {len(versions)} versions, the last {found[-1][1][-1]}")
    assert found[0][1]
    assert found[1:] == found[:1] * 2


@HOW_MANY
def test_a_model_for_each_carrier(year):
    outside, carrier = year
    promise(outside, "data.flights", "labels.flights")
    Bench(outside, "arrivals", "arrivals").run("local", output="joined", rows=len(carrier))
    bench, found = Bench(outside, "carriers", "carriers"), []
    words = ("--from-topic", "data.arrivals", "--time", "time", "--id", "id", "--key", "carrier", "--label", "late")
    outside.tidemill("stream", "create", "arrivals", *words)
    promise(outside, "data.arrivals")
    for engine, options in RUNS:
        bench.run(engine, *options, output="predictions", rows=len(carrier))
        groups = defaultdict(list)
        for row in bench.predictions():
            groups[xxh64(carrier[row.about.partition("+")[0]].encode()) % GROUPS].append(row)
        found.append({group: digest(rows) for group, rows in sorted(groups.items())})
        print(f"{sum(map(len, groups.values()))} predictions in {len(groups)} groups: {found[-1]}")
    assert len(found[0]) > 5
    assert found[1:] == found[:1] * 3

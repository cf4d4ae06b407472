"""The links of `bitcoin_otc`, and the classes of flights by what is around them, learned by the examples' own job
files on every engine: the same predictions, by models of the same content digest.

    python -m pytest -s tests/scenarios/test_graph_engines.py -m slow
"""

import csv
import gzip
import os
from pathlib import Path

import pytest

from connectors.datasets import flights
from examples.trust import job as trust
from streams import progress
from streams.replica import Replica
from tests.scenarios.outside import Outside
from tests.scenarios.test_engines_flights import RUNS, Bench, digest, promise
from tests.serving.helpers import until
from tidemill_app import config
from tidemill_app.copies import parts_of
from tidemill_app.stack import lifecycle
from tidemill_app.wiring import Platform

FILE = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "bitcoin_otc" / "soc-sign-bitcoinotc.csv.gz"

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(3600)]
FLIGHTS = 20_000


@pytest.mark.skipif(not FILE.exists(), reason=f"no {FILE}: set TIDEMILL_DATA")
def test_links_are_learned_the_same_on_every_engine(own_home, tmp_path):
    lifecycle.up(config.load(own_home), taskmanagers=1)
    outside = Outside(config.connect(own_home))
    with gzip.open(FILE, "rt") as lines:
        rows = list(csv.reader(lines))[1:]
    with open(tmp_path / "ratings.csv", "w", newline="") as out:
        csv.writer(out).writerows([["rater", "rated", "rating", "at"], *rows])
    how = ("--time", "at", "--time-unit", "s", "--key", "rater", "--partitions", 3)
    outside.tidemill("stream", "create", "ratings", "--infer", tmp_path / "ratings.csv", *how)
    outside.tidemill("publish", "ratings", tmp_path / "ratings.csv", timeout=600)
    promise(outside, "data.ratings")
    same_on_every_engine(Bench(outside, "trust", "trust"), len(rows), len(rows) // 10_000)


def test_classes_of_events_are_learned_the_same_on_every_engine(own_home):
    lifecycle.up(config.load(own_home), taskmanagers=1)
    outside, times = Outside(config.connect(own_home)), flights.flights()["time"].to_pylist()
    outside.tidemill("publish", "--dataset", "flights", "--limit", FLIGHTS, timeout=1200)
    # Those at the time of the last one come with it. A version after every 5,000 labels, which some flights never get.
    rows = sum(time <= times[FLIGHTS - 1] for time in times)
    same_on_every_engine(Bench(outside, "delays", "delays-late"), rows, (rows - 1_000) // 5_000)


@pytest.mark.skipif(not FILE.exists(), reason=f"no {FILE}: set TIDEMILL_DATA")
def test_a_scoring_servers_copy_follows_a_job_on_flink(own_home, tmp_path, caplog):
    lifecycle.up(config.load(own_home), taskmanagers=1)
    outside = Outside(config.connect(own_home))
    with gzip.open(FILE, "rt") as lines:
        rows = list(csv.reader(lines))[1:]
    parts = {"first": rows[:5_000], "then": rows[5_000:10_000]}
    for name, part in parts.items():
        with open(tmp_path / f"{name}.csv", "w", newline="") as out:
            csv.writer(out).writerows([["rater", "rated", "rating", "at"], *part])
    how = ("--time", "at", "--time-unit", "s", "--key", "rater", "--partitions", 3)
    outside.tidemill("stream", "create", "ratings", "--infer", tmp_path / "first.csv", *how)
    outside.tidemill("publish", "ratings", tmp_path / "first.csv")
    outside.tidemill("submit", "examples/trust/job.py", "--engine", "flink", "--wait", 300)
    platform = Platform.open(own_home)
    job = trust.job()
    copy = Replica(job, parts_of(platform, job))
    copy.start()
    try:
        until(lambda: copy.ready and copy.position > 4_000, seconds=180)
        begun = copy.position
        caplog.set_level("INFO", "tidemill.replica")
        outside.tidemill("publish", "ratings", tmp_path / "then.csv")
        promise(outside, "data.ratings")
        until(lambda: copy.position == 10_000, seconds=180)
        last = progress.last(platform.log, "trust")
        assert last is not None and last.segments == [] and begun < 6_000
        assert (last.stepped, copy.problem, caplog.messages) == (10_000, "", [])
    finally:
        copy.close()
        outside.tidemill("job", "stop", "trust", "--wait", 120)
        platform.close()


def same_on_every_engine(bench, rows, versions_made):
    found = []
    for engine, options in RUNS[:3]:
        bench.run(engine, *options, output="predictions", rows=rows)
        made, versions = bench.predictions(), bench.versions()
        assert len(made) == rows
        told = [(r.time, r.about, versions.get(r.version, ""), r.score) for r in made]
        found.append((digest(told), list(versions.values())))
        print(f"{len(made)} predictions {found[-1][0]}, {len(versions)} versions, the last {found[-1][1][-1]}")
    assert len(found[0][1]) == versions_made
    assert found[1:] == found[:1] * 2

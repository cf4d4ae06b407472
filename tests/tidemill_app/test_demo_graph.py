"""The demo on live graphs: where its data is, what it watches, and all of it on a little of the year."""

import gzip

import msgspec
import pytest

from tests.tidemill_app.in_memory import memory_platform
from tidemill.errors import ConfigError
from tidemill.events import MetricsMeasured, ProgressMade
from tidemill_app import cli, config, demo_graph
from tidemill_app.__main__ import root
from tidemill_app.demo_graph import RATINGS, GraphDemo, Scoring, Watching, example, ratings
from tidemill_app.stack import lifecycle


def test_ratings_are_read_in_the_order_of_time(tmp_path):
    assert ratings(tmp_path) is None
    (tmp_path / RATINGS).parent.mkdir()
    with gzip.open(tmp_path / RATINGS, "wt") as file:
        file.write("rater,rated,rating,at\n6,2,4,20.5\n1,2,-10,10.25\n")
    rows = ratings(tmp_path).streams[0].table.to_pylist()
    assert [(r["rater"], r["rating"], r["time"]) for r in rows] == [(1, -10, 10_250_000), (6, 4, 20_500_000)]


def test_outside_a_checkout_it_says_so(monkeypatch, tmp_path):
    assert example("delays").is_file()
    monkeypatch.setattr(demo_graph, "__file__", str(tmp_path / "a" / "b.py"))
    with pytest.raises(ConfigError, match="not here"):
        example("delays")


def test_it_watches_progress_and_metrics(tmp_path):
    platform = memory_platform(tmp_path)
    watching = Watching(platform, {"delays": "delays-late", "trust": "trust"})
    for name in ("delays", "trust"):
        for version in ("", "3"):
            made = MetricsMeasured(id="a", time=1, source="/t", model="m", count=1, version=version, values={})
            watching._take(name, made)
    offsets = [("a", 0, 4), ("b", 0, 3)]
    more = {"sequence": 1, "watermark": 1, "last": None, "segments": [], "emitted": {}}
    watching._take("delays", ProgressMade(id="p", time=1, source="/t", job="delays-late", offsets=offsets, **more))
    assert {n: len(m) for n, m in watching.measured.items()} == {"delays": 1, "trust": 2}
    assert watching.read["delays"] == 7
    platform.close()


def test_the_answer_that_hangs_most_on_neighbours_is_kept():
    scoring, told = Scoring(), GraphDemo.__new__(GraphDemo)
    for number, influence in enumerate((0.1, -0.5, 0.2)):
        answer = {"id": str(number), "rests_on": {"neighbours": [{"influence": influence}]}}
        told._answered(scoring, answer, number * 40)
    assert scoring.best["id"] == "1" and [a["id"] for a in scoring.some] == ["0", "1", "2"]


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_little_of_the_year(own_home, tmp_path, capfd):
    report = tmp_path / "r.html"
    words = ["demo-graph", "--home", str(own_home), "--json", "--rate", "0", "--report", str(report)]
    try:
        assert cli.run(root, [*words, "--data", str(tmp_path), "--limit", "20000"]) == 0
        told = msgspec.json.decode(capfd.readouterr().out)
        assert told["labels learned"] != "0" and told["delays: scored over HTTP, explained"] != "none"
        same, _, asked = told["delays: the same again"].partition(" of ")
        assert same == asked and int(asked.replace(",", "")) > 10
        assert "Why this flight" in report.read_text() and "bitcoin" not in report.read_text()
        assert cli.run(root, [*words, "--data", str(tmp_path)]) == 2
        assert "tidemill demo-graph --fresh" in capfd.readouterr().err
    finally:
        lifecycle.down(config.load(own_home), purge=True)

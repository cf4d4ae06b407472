"""What the demo shows: right while there is nothing yet, and as it was told once there is; commands that work."""

import io
import shlex
import threading

import msgspec
import numpy as np
import pytest
from rich.console import Console

from streams import progress
from tests.serving.helpers import until
from tests.tidemill_app.in_memory import memory_platform
from tidemill.events import DeltaPublished, DriftDetected, MetricsMeasured, ProgressMade
from tidemill.log import TopicSpec
from tidemill.time import HOUR
from tidemill_app import cli
from tidemill_app.__main__ import root
from tidemill_app.demo import ENDPOINT, JOB, Watch
from tidemill_app.demo_report import findings, live_rows, live_table, next_steps, summary
from tidemill_app.job_table import JobFiles
from tidemill_app.report import page
from tidemill_app.river_figure import Compared
from tidemill_app.telling import tell

FLIGHTS = {
    "time": np.array([0, HOUR]),
    "columns": {"id": ["f0", "f1"], "time": [0, HOUR], "carrier": ["AA", "it's"], "distance": [1.5, 1e3]},
}
ROW = {"roc_auc": 0.71, "base_rate": 0.23, "weight": 1200.0, "fading_roc_auc": 0.7, "fading_base_rate": 0.2}
COMPARED = Compared(labelled=900, ours=0.7, river=0.7, largest_difference=1e-9, river_seconds=2.0)


@pytest.fixture
def watch(tmp_path):
    platform = memory_platform(tmp_path)
    made = Watch(platform, "http://127.0.0.1:1", FLIGHTS)
    yield made
    platform.close()


@pytest.fixture
def seen(watch):
    """A watch that has followed a job's topics, and had answers."""
    log = watch.platform.log
    for topic in (f"metrics.{JOB}", f"deltas.{JOB}", f"dead.{JOB}", f"progress.{JOB}"):
        log.create(topic, TopicSpec())
    measured = {"model": JOB, "count": 1200, "values": ROW, "calibration": [[600.0, 0.2, 0.25]]}
    tell(log, f"metrics.{JOB}", MetricsMeasured(id="m", time=HOUR, version="", **measured), JOB)
    tell(log, f"metrics.{JOB}", MetricsMeasured(id="v", time=HOUR, version="1", **measured), JOB)
    tell(log, f"metrics.{JOB}", DriftDetected(id="d", time=2 * HOUR, model=JOB, detector="adwin", value=0.1), JOB)
    delta = {"model": JOB, "base": "", "changes": {}, "sequence": 4}
    labelled = watch.platform.clock.now() - 40_000
    tell(log, f"deltas.{JOB}", DeltaPublished(id="x", time=HOUR, labelled=labelled, **delta), JOB)
    writer = log.writer()
    writer.send(f"dead.{JOB}", b"{", headers=[("dead_error", b"MalformedError")])
    writer.send(f"metrics.{JOB}", b"nothing of ours")
    cut = {"watermark": 0, "last": None, "segments": [], "emitted": {}}
    made = ProgressMade(id="p", time=0, job=JOB, sequence=0, offsets=[("data.flights", 0, 90), ("x", 0, 10)], **cut)
    tell(log, progress.topic_of(JOB).topic, made, JOB)
    JobFiles(watch.platform.home, JOB).write_status({"stepped": 5_000, "lag": {"a/0": 7, "b/0": None}, "buffered": 2})

    thread = threading.Thread(target=watch.follow)
    thread.start()
    until(lambda: watch.dead and watch.drift and watch.learned and watch._labelled)
    watch.stop.set()
    thread.join()
    watch.look()
    watch.score_latency.append(3.25)
    answer = {"id": "f1", "score": 0.25, "version": "2", "delta": 4, "reasons": {"bias": 1.0, "a": 0.1, "b": -0.3}}
    watch._answered(answer, {"id": "f1"}, 3.25)
    return watch


def test_before_anything_is_there_every_figure_can_be_shown(watch):
    shown = dict(live_rows(watch))
    assert (shown["learned"], shown["lag"]) == ("0 events at 0/s", "0 records")
    assert (shown["scored over HTTP"], shown["ROC AUC"]) == ("waiting for the first version", "")
    assert "a year of flights" in text_of(watch)
    facts = msgspec.json.decode(msgspec.json.encode(summary(watch, None, 1.25)))
    assert (facts["events"], facts["roc_auc"], facts["river"], facts["score_ms"]["p50"]) == (0, None, None, None)
    found = findings(watch.platform, watch, None, 1.0, "h")
    assert (found.facts["dead letters"], found.facts["HTTP scores, p50 / p99"]) == ("none", "not measured (0)")
    assert page(found)


def test_what_was_read_and_answered_is_shown(seen):
    shown = dict(live_rows(seen))
    assert (shown["learned"], shown["lag"]) == ("5,000 events at 0/s", "7 records")
    assert (shown["ROC AUC"], shown["base rate"]) == ("0.7100 over 1,200 labels", "0.2300 late")
    assert (shown["drift points"], shown["dead letters"]) == ("1", "MalformedError 1")
    assert shown["last answer"] == "f1: 0.250 late, version 2"
    assert shown["because of"] == "b -0.30, a +0.10", "the strongest first, and no bias"
    assert "1: p50 3.2 ms" in shown["scored over HTTP"]
    assert len(seen.label_to_live) == 1 and seen.label_to_live[0] >= 40.0
    assert "b -0.30" in text_of(seen)

    facts = summary(seen, COMPARED, 60.04)
    assert (facts["seconds"], facts["labels"], facts["drift_points"], facts["dead"]) == (
        60.0,
        1200,
        1,
        {"MalformedError": 1},
    )
    assert facts["river"] == msgspec.structs.asdict(COMPARED)
    found = findings(seen.platform, seen, COMPARED, 60.0, "h")
    assert found.series == {"ROC AUC since the beginning": [(HOUR, 0.71)]}, "of the whole, not of each version"
    assert found.calibration == [[0.2, 0.25, 600.0]]
    assert found.peer == {"River, first 900 labels": 0.7}
    assert "f1" in page(found) and "_at" not in found.scored[0]


def test_a_late_delta_of_an_answer_that_had_it_counts_once(seen):
    seen._answered(seen.last_answer, {"id": "f1"}, 1.0)
    assert len(seen.label_to_live) == 1


def test_the_next_steps_are_commands_that_there_are(watch, capsys):
    for step in next_steps(watch, "/a home"):
        name, *words = shlex.split(step)
        if name == "curl":
            assert words[1] == f"http://127.0.0.1:1/score/{ENDPOINT}?explain=true"
            assert msgspec.json.decode(words[3])["distance"] == 1000.0
            continue
        assert (name, cli.run(root, [*words, "--help"])) == ("tidemill", 0), capsys.readouterr().err


def text_of(watch):
    out = io.StringIO()
    Console(file=out, width=120).print(live_table(watch))
    return out.getvalue()

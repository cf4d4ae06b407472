"""What the log says of runs: names, states, curves of which the last word counts."""

import pytest

from connectors.memory import MemoryLog
from tidemill.errors import NotFoundError
from tidemill.time import SystemClock
from tidemill_app import run_table
from tidemill_app.run_reporter import RunReporter


@pytest.fixture
def log():
    return MemoryLog()


def reporter(log, run):
    return RunReporter(log, SystemClock(), run)


def test_a_run_is_as_its_newest_event_says(log):
    assert run_table.runs(log) == {} and run_table.newest(log, "a") is None
    told = reporter(log, "a")
    told.changed("started", config={"batch": 8}, dataset="d@1")
    assert run_table.find(log, "a").open
    told.changed("finished", step=9, model="a.weights@1", dataset="d@1")
    found = run_table.find(log, "a")
    assert (found.now.step, found.config, found.models, found.open) == (9, {"batch": 8}, ["a.weights@1"], False)
    with pytest.raises(NotFoundError, match=r"no run 'b'.*one of: a"):
        run_table.find(log, "b")


def test_names_are_numbered_and_the_newest_is_found(log):
    for expected in ("a", "a-2", "a-3"):
        name = run_table.free_name(log, "a")
        assert name == expected
        reporter(log, name).changed("started")
    reporter(log, "a-b").changed("started")
    assert run_table.newest(log, "a").now.run == "a-3"
    assert run_table.free_name(log, "b") == "b"


def test_of_a_step_that_was_measured_twice_the_last_counts(log):
    told = reporter(log, "a")
    for step, value in ((10, 0.5), (20, 0.6), (20, 0.7), (30, float("nan"))):
        told.measured(step, 0, {"test.accuracy": value})
    told.logged("goes on", "warning")
    told.close()
    assert run_table.curves(log, "a") == {"test.accuracy": [(10, 0.5), (20, 0.7)]}
    assert [(line.line, line.level) for line in run_table.lines(log, "a")] == [("goes on", "warning")]


def test_recall_of_each_class_is_folded_to_the_least():
    found = run_table.folded({"test.accuracy": 0.5, "test.recall.a": 0.9, "test.recall.b": 0.2})
    assert found == {"test.accuracy": 0.5, run_table.LEAST: 0.2}
    assert run_table.folded({"f1": 1.0}) == {"f1": 1.0} and run_table.of_class("recall.a")

"""Settings that lose data or can never work are refused by their names; a job writes to its own topics."""

import re

import pytest

from streams.engines.flink.flow import Choices, Flow, check, choices_of, prefix_of, topics
from tidemill.checks.scenarios import scenarios
from tidemill.errors import SubmissionError

(SCENARIO,) = [s for s in scenarios() if s.name == "two-streams"]


def refused(**changes):
    with pytest.raises(SubmissionError) as told:
        check("j", Flow(kafka={}, choices=Choices(**changes)))
    return str(told.value)


def test_what_there_is_by_default_is_good():
    check("j", Flow(kafka={}))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"delivery_guarantee": "none"}, "option delivery_guarantee: loses or doubles events"),
        ({"transaction_timeout_ms": 180_999}, "shorter than a checkpoint plus a restart"),
        ({"checkpoint_ms": 600_000}, "shorter than a checkpoint plus a restart"),
        ({"transaction_timeout_ms": 900_001}, "longer than the brokers allow"),
        ({"parallelism": 0}, "parallelism: out of range; wanted 1 to 1024; got 0"),
        ({"gather_ms": 1}, "gather_ms: out of range"),
        ({"python": "python3; rm -rf /"}, "python: no Python's path"),
        ({"python": "environment/bin/python"}, "there is no environment without an archive"),
        (
            {"mode": "thread", "python": "python3"},
            "python: in thread mode the TaskManager's own Python works every job",
        ),
        (
            {"mode": "thread", "archive": "/e.zip"},
            "archive: in thread mode the TaskManager's own Python works every job",
        ),
        ({"archive": "e.zip"}, "archive: no archive that could be sent along"),
        ({"archive": "/not/there.zip"}, "archive: no archive that could be sent along"),
    ],
)
def test_what_loses_data_or_cannot_work_is_named(changes, line):
    assert line in refused(**changes)


@pytest.mark.parametrize("name", ["e.rar", "a,b.zip", "a#b.zip"])
def test_an_archive_that_flink_would_misread_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    assert "option archive: no archive that could be sent along" in refused(archive=str(tmp_path / name))


def test_an_archives_python_is_the_one_in_it_unless_another_is_named(tmp_path):
    file = tmp_path / "e.tar.gz"
    file.touch()
    mine = Choices(archive=str(file))
    assert (mine.executable, Choices().executable) == ("environment/bin/python", "")
    assert Choices(archive=str(file), python="environment/venv/bin/python").executable == "environment/venv/bin/python"
    check("j", Flow(kafka={}, choices=mine))


def test_options_become_choices_by_an_allow_list():
    assert choices_of("j", {"parallelism": "3"}) == Choices(parallelism=3)
    for options in ({"parallelism": "many"}, {"mode": "fibre"}, {"sasl.jaas.config": "x"}):
        with pytest.raises(SubmissionError, match="job j: an option cannot be used"):
            choices_of("j", options)


def test_transactions_are_named_after_the_job_unless_said_otherwise():
    assert prefix_of("j", Choices()) == "tidemill.j.flink"
    assert prefix_of("j", Choices(transactional_id_prefix="mine")) == "mine"


def test_each_asking_for_a_savepoint_is_one_of_its_own():
    assert Choices(savepoint="s", savepoint_asked="1").given != Choices(savepoint="s", savepoint_asked="2").given
    assert Choices().given == ""


def test_a_job_writes_to_its_own_topics_and_no_others():
    pattern = topics(SCENARIO.job)
    own = [f"{kind}.{SCENARIO.job.name}" for kind in ("dead", "features", "progress")]
    for topic in (*(o.topic for o in SCENARIO.job.writes), *own, "models", "deltas.some-model"):
        assert re.fullmatch(pattern, topic), topic
    for topic in ("jobs", f"xdead.{SCENARIO.job.name}", f"dead.{SCENARIO.job.name}2", "deltas.", "streams"):
        assert not re.fullmatch(pattern, topic), topic
    assert not re.fullmatch(pattern, own[0].replace(".", "x"))  # a dot is a dot

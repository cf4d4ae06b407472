"""What is refused before a job runs, and the topics it finds."""

from dataclasses import replace

import pytest

from connectors.memory import MemoryLog
from streams.engines.prepare import check_settings, make_topics
from tests.streams.engines.helpers import SPEC, make_job
from tidemill.engine import Parts
from tidemill.errors import SubmissionError
from tidemill.job import Input, Output
from tidemill.log import MAX_RECORD_BYTES
from tidemill.order import EventTime
from tidemill.stream import answer_stream, label_stream
from tidemill.time import SystemClock


def parts(log, streams=None):
    return Parts(log=log, store=None, clock=SystemClock(), streams=streams or {"trips": SPEC})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"order": EventTime(lateness=-1)}, "lateness"),
        ({"order": EventTime(max_ahead=0)}, "max_ahead"),
        ({"order": EventTime(max_ahead=1 << 70)}, "max_ahead"),
        ({"order": EventTime(idle_after=0)}, "idle_after"),
        ({"commit_every": 0}, "commit_every"),
        ({"max_event_bytes": 1 << 30}, "max_event_bytes"),
        ({"reads": (Input("trips", key="nothing"),)}, "key"),
        ({"reads": (Input("walks"),)}, "reads"),
        ({"init": object}, "state"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_submission(changes, field):
    with pytest.raises(SubmissionError) as caught:
        check_settings(make_job(**changes), parts(MemoryLog()))
    assert caught.value.field == field


def test_what_works_is_refused_nothing_and_finds_its_topics_made_once():
    log, job = MemoryLog(), make_job()
    check_settings(job, parts(log))
    assert log.topics() == {}
    for _ in range(2):
        make_topics(job, parts(log))
    assert log.topics() == {SPEC.topic: 2, "progress.sums": 1, "dead.sums": 1, "models": 1, "data.sums": 1}
    assert log._specs["dead.sums"].max_bytes > MAX_RECORD_BYTES, "a letter of the largest event has headers of its own"


def test_a_job_does_not_write_into_what_it_reads():
    with pytest.raises(SubmissionError, match=f"output sums writes into a topic that the job reads.*{SPEC.topic}"):
        check_settings(make_job(writes=(Output("sums", SPEC.topic),)), parts(MemoryLog()))


def test_a_job_writes_beside_what_it_reads_where_that_is_passed_over():
    own = Output("settled", "labels.trips", tag="label.settled.v1")
    streams = {"answers.trips": answer_stream("trips"), "labels.trips": label_stream("trips")}
    job = make_job(reads=(Input("answers.trips"),), writes=(own,))
    check_settings(job, parts(MemoryLog(), streams=streams))
    for changes in (
        {"writes": (replace(own, tag="answer.given.v1"),)},
        {"writes": (replace(own, tag=""),)},
        {"writes": (replace(own, tag="label.given.v1"),), "reads": (Input("answers.trips"), Input("labels.trips"))},
    ):
        with pytest.raises(SubmissionError, match="writes into a topic that the job reads"):
            check_settings(replace(job, **changes), parts(MemoryLog(), streams=streams))

"""A job that is asked what it does not learn: one version after the first event however cut, and a copy that says
nothing."""

import numpy as np
import pytest

from graph.asked_job import asked_job
from graph.job import graph_job
from graph.question import content_of
from graph.sample_question import SampleQuestion
from tests.graph.test_link_job import ONE, events
from tidemill.errors import SubmissionError
from tidemill.order import Batch
from tidemill.state import encode

QUESTION = SampleQuestion(relation="road", k=3)


def made(endpoint="near"):
    job = graph_job(name="roads", spec=ONE, metrics_every=7)
    return asked_job(job, QUESTION, stream="trips", field="origin", endpoint=endpoint)


@pytest.mark.parametrize("sizes", [[1], [7, 30], [60]], ids=str)
def test_one_version_after_the_first_event_numbered_above_those_there_are(sizes):
    job, whole = made(), Batch.of([events(60)])
    state, cuts, at, turn = job.init(), [], 0, 0
    job.versions_after(state, 4)
    while at < 60:
        upto = min(at + sizes[turn % len(sizes)], 60)
        effects = job.step(state, whole.take(np.arange(at, upto)))
        state, cuts, at, turn = effects.state, [*cuts, *effects.versions], upto, turn + 1
    (cut,) = cuts
    assert (cut.model, cut.number, int(cut.last[0])) == ("roads", 5, int(whole.time[0]))
    assert cut.content == content_of(QUESTION) == job.live.models(state)["roads"]
    assert cut.content.state == {} and cut.content.kind == "graph.sample_question:SampleQuestion"


def test_its_copy_steps_as_it_does_and_cuts_none():
    job, whole = made(), Batch.of([events(60)])
    copy = job.endpoint.replica
    again = copy.step(copy.init(), whole)
    assert copy.writes == () and again.versions == []
    assert encode(again.state.graph) == encode(job.step(job.init(), whole).state.graph)
    assert job.endpoint.asked({"origin": 7, "dest": 8}) == {"node": 7}
    assert job.endpoint.needs == {"origin"} and job.endpoint.name == "near"


def test_job_and_endpoint_have_two_names():
    with pytest.raises(SubmissionError, match="job and endpoint have one name"):
        made(endpoint="roads")

"""A job is refused where an engine cannot run it, with what is missing and where it would run."""

import pytest

from tidemill.engine import refuse_unless_fit
from tidemill.errors import SubmissionError
from tidemill.job import Effects, Input, Job
from tidemill.order import Arrival


class Plain:
    name, provides = "plain", frozenset({"event_time"})

    def run(self, job, parts, stop): ...


class Able:
    name, provides = "able", frozenset({"event_time", "arrival_order", "versions"})

    def run(self, job, parts, stop): ...


def job(**changes) -> Job:
    return Job(name="j", reads=(Input("s"),), step=lambda s, b: Effects(s), init=dict, state=dict, **changes)


def test_what_fits_passes():
    refuse_unless_fit(job(), Plain(), [Plain()])


def test_what_is_missing_is_named_with_an_engine_that_would_do():
    with pytest.raises(SubmissionError, match=r"plain does not provide arrival_order, versions.*would do: able\."):
        refuse_unless_fit(job(order=Arrival(), needs=frozenset({"versions"})), Plain(), [Plain(), Able()])


def test_nobody_may_do():
    with pytest.raises(SubmissionError, match=r"would do: none"):
        refuse_unless_fit(job(needs=frozenset({"history"})), Plain(), [Plain(), Able()])


def test_a_need_that_no_engine_knows_is_a_mistake_in_the_job():
    with pytest.raises(SubmissionError, match=r"needs what no engine knows.*telepathy"):
        refuse_unless_fit(job(needs=frozenset({"telepathy"})), Able(), [Able()])

"""The jobs that engines are measured with obey the laws themselves."""

import pytest

from tidemill.checks.inputs import stream
from tidemill.checks.jobs import Subject, check_job, keyed
from tidemill.checks.witness import forgetful, timekeeper, witness
from tidemill.order import EventTime

STREAMS = {"trips": stream("trips", 1)}


@pytest.mark.parametrize("make", [witness, timekeeper, forgetful])
def test_lawful(make):
    job = keyed(make("w", ["trips"], 3, EventTime()), STREAMS)
    check_job(job, Subject("w", job, STREAMS).batch(150))

"""The example of embeddings keeps the laws on the streams that it declares, and says which node is asked about."""

from tests.examples.examples import example
from tidemill.checks.jobs import Subject, check_job


def test_the_job_keeps_the_laws_on_its_streams():
    alike = example("alike")
    job = alike.job()
    check_job(job, Subject("alike", job, alike.streams()).batch(40))
    assert (job.endpoint.name, job.endpoint.stream, job.endpoint.needs) == ("alike-near", "ratings", {"rater"})

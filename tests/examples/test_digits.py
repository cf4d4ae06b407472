"""The three jobs of the digits example fit together: what one writes the next reads."""

from tests.examples.examples import example
from tidemill.checks.jobs import Subject, check_job, keyed
from tidemill.stream import answer_stream


def test_the_jobs_read_what_the_others_write():
    digits = example("digits")
    head, agree, ask = digits.job(), digits.agree(), digits.ask()
    written = {o.topic for job in (head, agree, ask) for o in job.writes}
    specs = digits.streams() | {"answers.digits": answer_stream("digits")}
    read = {specs[i.stream].topic for job in (head, agree, ask) for i in job.reads}
    assert read - written == {"data.digits"}
    assert head.endpoint is not None and head.endpoint.name == "digits"


def test_questions_are_lawful():
    digits = example("digits")
    job = keyed(digits.ask(), digits.streams())
    check_job(job, Subject("digits", job, digits.streams()).batch(40))

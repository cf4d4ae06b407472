"""Every job that ships keeps the two laws. Subjects are found, not listed: `job()` in examples and in streams."""

from pathlib import Path

import pytest

from tidemill.checks.jobs import CHECKS, find_jobs

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(ROOT.glob("examples/*/job.py"))
SUBJECTS = find_jobs(FILES)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_law(subject, check):
    check(subject.job, subject.batch())


def test_every_example_is_a_subject():
    assert len(SUBJECTS) == len(FILES)

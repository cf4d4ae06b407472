"""Every learner that ships keeps the laws. Subjects are found, not listed."""

import pytest

from tidemill.checks.learners import CHECKS, find_learners, subjects

FOUND = find_learners("streams.learners")
SUBJECTS = list(subjects(FOUND))


def test_something_is_found():
    assert {cls.__name__ for cls in FOUND} >= {"RiverLearner", "ScaledLogistic"}
    assert len(SUBJECTS) >= len(FOUND)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_law(subject, check):
    check(subject.make, subject.X, subject.y)

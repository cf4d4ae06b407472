"""Where a step raises, the error and the place of the event are said, as exactly as they are known."""

import numpy as np

from streams.failing import failed
from tests.streams.test_classifier import block
from tidemill.order import Batch


def said(batch):
    error = failed("late", batch, ValueError("no such kind"), 9)
    return error.exact, str(error)


def test_one_event_is_named_with_its_place():
    batch = Batch.of([block("s", [1], ["e7"])])
    exact, text = said(batch)
    assert exact
    assert text.startswith("job late: the job's step raised ValueError: no such kind; got event 'e7' at s/0/0. Mend")


def test_of_several_the_range_is_named():
    batch = Batch.of([block("s", [1, 2, 3], ["a", "b", "c"])])
    exact, text = said(batch)
    assert not exact and "one of 3 events, the first at s/0/0, the last at s/0/2" in text
    assert said(batch.take(np.array([2])))[1].count("event 'c' at s/0/2") == 1


def test_a_wake_is_said():
    assert "a wake at 1970-01-01T00:00:05Z" in said(Batch.empty(5_000_000))[1]

"""Doubtful labels are sent back once, the most doubtful first, judged by predictions from before the label."""

import numpy as np
import pytest

from streams.labelling.label_errors import label_errors
from tests.streams.labelling.events import CLASSES, START, STREAMS, items, labels, predictions, rows
from tidemill import events
from tidemill.checks.jobs import Subject, check_job, keyed
from tidemill.errors import SubmissionError
from tidemill.order import Batch, EventTime
from tidemill.time import SECOND

N = 300


def make(**changes):
    settings = {"name": "doubts", "project": "pets", "endpoint": "pets", "classes": CLASSES, "group": "scene"}
    return keyed(label_errors(**settings | {"every": 60, "least": 50, "budget": 7} | changes), STREAMS)


def story(seed=2):
    """Predictions that lean to the truth, then labels of which 18 are flipped."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, N)
    P = rng.dirichlet(np.ones(3), N) * 0.4
    P[np.arange(N), truth] += 0.6
    given = truth.copy()
    flipped = rng.choice(N, 18, replace=False)
    given[flipped] = (truth[flipped] + 1) % 3
    ids = [f"p{i}" for i in range(N)]
    at = START + np.arange(N) * SECOND
    told = labels(ids, [CLASSES[g] for g in given], at + 10 * SECOND)
    return (
        [items(N, at, rng), predictions("predictions.pets", ids, at + 1, P), told],
        {f"p{i}" for i in flipped},
        P,
        given,
    )


@pytest.mark.parametrize("changes", [{}, {"order": EventTime()}, {"kept": 40, "least": 10, "total": 9}])
def test_lawful(changes):
    job = make(**changes)
    check_job(job, Batch.sort(story()[0]))
    check_job(job, Subject("generated", job, STREAMS).batch(60))


def test_flipped_labels_are_sent_back_once():
    blocks, flipped, P, given = story()
    job = make(budget=30)
    effects = job.step(job.init(), Batch.sort(blocks))
    sent = rows(effects, "asked")
    found = {row["about"] for row in sent}
    assert len(found) == len(sent) and len(found & flipped) >= 15 and len(found - flipped) <= 6
    event = events.LabelAsked(**sent[0])
    assert events.decode(events.encode(event)) == event and event.reason == "doubtful label"
    number = int(event.about[1:])
    assert event.prelabel["value"] == CLASSES[P[number].argmax()] != CLASSES[given[number]]
    assert event.group == f"s{number % 7}" and event.priority == pytest.approx(2 - P[number, given[number]])


def test_budgets_hold_and_the_most_doubtful_come_first():
    blocks = story()[0]
    job = make()
    sent = rows(job.step(job.init(), Batch.sort(blocks)), "asked")
    by_round = {}
    for row in sent:
        by_round.setdefault(row["time"], []).append(row["priority"])
    assert all(len(p) <= 7 and p == sorted(p, reverse=True) for p in by_round.values()) and len(by_round) >= 4
    few = make(total=5)
    assert len(rows(few.step(few.init(), Batch.sort(blocks)), "asked")) == 5


def test_what_is_predicted_after_the_label_says_nothing():
    """A model that has learned the labels agrees with them all; it is not listened to."""
    blocks, flipped, _, given = story()
    late = np.full((N, 3), 0.01)
    late[np.arange(N), given] = 0.98
    ids = [f"p{i}" for i in range(N)]
    after = predictions("predictions.pets", ids, blocks[2].time + 1, late, prefix="late")
    job = make(budget=30)
    found = {row["about"] for row in rows(job.step(job.init(), Batch.sort([*blocks, after])), "asked")}
    assert len(found & flipped) >= 15


def test_a_label_that_comes_back_another_may_be_doubted_again():
    blocks, _, P, given = story()
    job = make(budget=30, every=1)
    effects = job.step(job.init(), Batch.sort(blocks))
    worst = rows(effects, "asked")[0]["about"]
    number, end = int(worst[1:]), int(blocks[2].time[-1])
    other = next(c for c in range(3) if c not in (given[number], P[number].argmax()))
    same = labels([worst], [CLASSES[given[number]]], [end + SECOND], prefix="again")
    effects = job.step(effects.state, Batch.sort([same]))
    assert not effects.emit  # it came back as it was: that is an answer
    changed = labels([worst], [CLASSES[other]], [end + 2 * SECOND], prefix="odd")
    effects = job.step(effects.state, Batch.sort([changed]))
    assert worst in {row["about"] for row in rows(effects, "asked")}


@pytest.mark.parametrize("changes", [{"classes": ["a"]}, {"every": 0}, {"rank": "luck"}])
def test_what_does_not_fit_is_refused(changes):
    with pytest.raises(SubmissionError):
        make(**changes)

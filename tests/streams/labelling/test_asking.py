"""The job asks for what teaches most, within its budgets, about what has no label; the laws hold."""

import numpy as np
import pytest

from streams.labelling.asking import ask_next
from tests.streams.labelling.events import CLASSES, START, STREAMS, drifts, items, labels, predictions, rows
from tidemill import events
from tidemill.checks.jobs import Subject, check_job, keyed
from tidemill.errors import SubmissionError
from tidemill.job import Job
from tidemill.order import Arrival, Batch, EventTime
from tidemill.time import SECOND

SETTINGS = {
    "name": "next",
    "project": "pets",
    "endpoints": ["pets", "other"],
    "classes": CLASSES,
    "group": "scene",
    "embedding": "vector",
    "show": ["note"],
    "budget": 5,
    "every": 40,
}
MIXED = {"margin": 2, "disagreement": 1, "drift": 1, "clusters": 1, "k_centre": 1, "random": 1}


def make(**changes) -> Job:
    return keyed(ask_next(**SETTINGS | changes), STREAMS)


def sample(n=150, seed=5):
    rng = np.random.default_rng(seed)
    at = START + np.arange(n) * SECOND
    P = rng.dirichlet(np.ones(3) / 2, n)
    P[7] = [0.9, 0.9, 0.9]
    twice = rng.integers(0, n, 90)
    ids = [f"p{i}" for i in range(n)]
    some = rng.integers(0, n, 60)
    return [
        items(n, at, rng),
        predictions("predictions.pets", ids, at + 1, P),
        predictions(
            "predictions.other", [ids[i] for i in twice], at[np.sort(twice)] + 30, rng.dirichlet(np.ones(3), 90)
        ),
        labels([ids[i] for i in some], [CLASSES[i % 3] for i in some], at[np.sort(some)] + 20 * SECOND),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"strategies": MIXED, "per_group": 1},
        {"strategies": MIXED, "order": EventTime(), "window": 15.0, "every": None},
        {"window": 7.0, "most_open": 8, "pool": 20, "remember": 30, "patience": 30.0},
        {"region": "scene", "strategies": {"drift": 1}, "total": 11},
        {"region": "scene", "strategies": {"drift": 1, "margin": 1}, "watched": ["watch"]},
    ],
    ids=["mixed", "event time", "bounded", "drift", "watched"],
)
def test_lawful(changes):
    job = make(**changes)
    blocks = sample()
    if "watched" in changes:
        at = START + np.arange(9) * 15 * SECOND
        values = [0.3, -0.2, np.nan, 0.5, 0.1, 0.2, -0.4, 0.2, 0.3]
        blocks.append(drifts(at, values, ["scene", "", "scene"] * 3, [f"s{i}" for i in range(9)]))
    check_job(job, (Batch.of if isinstance(job.order, Arrival) else Batch.sort)(blocks))
    check_job(job, Subject("generated", job, STREAMS).batch(60))


def asked(job, blocks, state=None):
    effects = job.step(state or job.init(), Batch.sort(blocks))
    return rows(effects, "asked"), effects


def test_every_ask_is_an_event_about_an_unlabelled_item_once():
    found, effects = asked(make(strategies=MIXED), sample())
    assert len({r["about"] for r in found}) == len(found) > 10
    labelled = {}
    for about, time in zip(sample()[3].columns["about"], sample()[3].time, strict=True):
        labelled.setdefault(about, int(time))
    for row in found:
        event = events.LabelAsked(**row)
        assert events.decode(events.encode(event)) == event
        assert labelled.get(event.about, 1 << 62) >= event.time
        assert event.payload == {"note": f"note {event.about[1:]}"} and event.media == f"{int(event.about[1:]):064x}"
        assert event.prelabel["value"] in CLASSES and event.reason in MIXED and event.media_type == "image/png"
    assert [type(d.error).__name__ for d in effects.dead] == ["NotFiniteError"]


def one_round(P, ids=None, **changes):
    n = len(P)
    ids = ids or [f"p{i}" for i in range(n)]
    at = START + np.arange(n)
    blocks = [items(n, at, np.random.default_rng(0)), predictions("predictions.pets", ids, at + n, P)]
    return asked(make(every=n, **changes), blocks)


def test_the_most_doubtful_first_and_only_doubtful_ones():
    P = np.array([[0.98, 0.01, 0.01], [0.4, 0.35, 0.25], [0.6, 0.3, 0.1], [0.5, 0.49, 0.01], [0.9, 0.05, 0.05]])
    found, _ = one_round(P, budget=4, at_least=0.5)
    assert [r["about"] for r in found] == ["p3", "p1", "p2"]
    assert found[0]["priority"] == pytest.approx(0.99) and found[0]["prelabel"]["confidence"] == 0.5


def test_budgets_hold():
    P = np.random.default_rng(0).dirichlet(np.ones(3), 300)
    ids = [f"p{i}" for i in range(300)]
    at = START + np.arange(300) * SECOND
    blocks = [items(300, at, np.random.default_rng(0)), predictions("predictions.pets", ids, at + 1, P)]
    assert len(asked(make(every=50, budget=6), blocks)[0]) == 36
    assert len(asked(make(every=50, budget=6, total=20), blocks)[0]) == 20
    assert len(asked(make(every=50, budget=6, most_open=9), blocks)[0]) == 9
    assert len(asked(make(every=50, budget=6, most_open=9, patience=60.0), blocks)[0]) > 9
    by_window = asked(make(every=None, window=60.0, budget=6), blocks)[0]
    assert {r["time"] % (60 * SECOND) for r in by_window} == {0} and len(by_window) == 6 * 5
    capped = asked(make(every=50, budget=6, group="note", per_group=1), blocks)[0]
    assert len(capped) == 36
    assert len(asked(make(every=50, budget=20, per_group=1), blocks)[0]) == 6 * 7


def test_labels_free_room_and_close_items():
    P = np.random.default_rng(0).dirichlet(np.ones(3), 40)
    ids = [f"p{i}" for i in range(40)]
    at = START + np.arange(40) * SECOND
    job = make(every=10, budget=3, most_open=3)
    first, effects = asked(
        job, [items(40, at, np.random.default_rng(0)), predictions("predictions.pets", ids[:20], at[:20], P[:20])]
    )
    assert len(first) == 3
    done = labels([r["about"] for r in first], ["cat"] * 3, [START + 50 * SECOND] * 3)
    second, _ = asked(job, [done, predictions("predictions.pets", ids, at + 60 * SECOND, P)], effects.state)
    assert len(second) == 3 and not {r["about"] for r in first} & {r["about"] for r in second}


def test_a_later_prediction_takes_the_place_of_the_earlier():
    P = np.array([[0.98, 0.01, 0.01], [0.4, 0.35, 0.25]])
    at = START + np.arange(2)
    blocks = [items(2, at, np.random.default_rng(0)), predictions("predictions.pets", ["p0", "p1"], at, P)]
    later = predictions("predictions.pets", ["p0", "p1"], at + 5, P[::-1], prefix="r")
    found, _ = asked(make(every=4, budget=1), [*blocks, later])
    assert [r["about"] for r in found] == ["p0"]


def test_what_is_asked_about_or_labelled_is_no_candidate_again():
    """Not with its item, not with a prediction, and not as its label is taken back: else it would be asked about
    twice, and take the place of one that nobody knows."""
    P = np.array([[0.5, 0.45, 0.05], [0.5, 0.4, 0.1], [0.98, 0.01, 0.01]])
    at = START + np.arange(3)
    job = make(every=2, budget=1, pool=2)
    came = items(3, at, np.random.default_rng(0))
    guessed = predictions("predictions.pets", ["p0", "p2"], at[:2] + 9, P[[0, 2]])
    # p1 has its label before it comes.
    first, effects = asked(job, [labels(["p1"], ["cat"], [START - 1]), came, guessed])
    assert [r["about"] for r in first] == ["p0"] and list(effects.state.pool) == ["p2"]
    back = labels(["p1", "p0"], [None, None], [START + 50, START + 51])
    again = predictions("predictions.pets", ["p1", "p0"], [START + 52, START + 53], P[:2], prefix="r")
    anew = items(2, at[:2] + 60, np.random.default_rng(0))
    for blocks in ([again], [anew], [again, anew], [back, again, anew]):
        found, effects = asked(job, blocks, effects.state)
        assert not found and list(effects.state.pool) == ["p2"]


def test_drift_asks_where_errors_rose():
    """Labels say that predictions went wrong of late in scene s3 alone; then its items are asked for."""
    n = 280
    at = START + np.arange(n) * SECOND
    P = np.tile([0.8, 0.15, 0.05], (n, 1))
    ids = [f"p{i}" for i in range(n)]
    values = ["dog" if i > 120 and i % 7 == 3 else "cat" for i in range(200)]
    blocks = [
        items(n, at, np.random.default_rng(0)),
        predictions("predictions.pets", ids, at + 1, P),
        labels(ids[:200], values, at[:200] + 2),
    ]
    job = make(strategies={"drift": 1}, region="scene", every=n, budget=8)
    found, _ = asked(job, blocks)
    assert [r["reason"] for r in found] == ["drift"] * 8 and {r["group"] for r in found} == {"s3"}


TOLD = {"strategies": {"drift": 1}, "watched": ["watch"]}


def told(by, where, value, n=60, labelled=0, **changes):
    """What is asked for, by strategy, where a job that watches said that errors in a region grew by so much, before
    `labelled` right predictions in scene s3."""
    at = START + np.arange(n) * SECOND
    P = np.tile([0.6, 0.3, 0.1], (n, 1))
    P[1::2] = [0.3, 0.6, 0.1]
    early = [i for i in range(n) if i % 7 == 3][:labelled]
    blocks = [
        items(n, at, np.random.default_rng(0)),
        drifts([START + n // 3 * SECOND], [value], [by], [where]),
        labels([f"p{i}" for i in early], [CLASSES[i % 2] for i in early], at[early] + n // 2 * SECOND),
        predictions("predictions.pets", [f"p{i}" for i in range(n)], at + 1, P),
    ]
    found, effects = asked(make(every=n - labelled, budget=4, **TOLD | changes), blocks)
    return found, effects.state


def test_a_region_in_which_errors_grew_as_another_job_found_is_asked_about():
    found, _ = told("scene", "s3", 0.4, region="scene")
    assert [r["reason"] for r in found] == ["drift"] * 4 and {r["group"] for r in found} == {"s3"}
    found, _ = told("@class", "dog", 0.4)
    assert [r["reason"] for r in found] == ["drift"] * 4 and {r["prelabel"]["value"] for r in found} == {"dog"}


@pytest.mark.parametrize(
    ("by", "where", "value"),
    [("", "", 0.4), ("note", "s3", 0.4), ("@class", "s3", 0.4), ("scene", "s3", -0.4), ("scene", "s9", 0.4)],
    ids=["the whole", "another field", "the class", "errors fell", "no items there"],
)
def test_what_tells_of_no_region_here_changes_nothing(by, where, value):
    assert {r["reason"] for r in told(by, where, value, region="scene")[0]} == {"margin"}


def test_with_labels_from_there_less_is_left_of_what_was_told():
    states = [told("scene", "s3", 0.4, labelled=n, region="scene")[1] for n in (0, 3)]
    assert [s.regions["s3"].told for s in states] == pytest.approx([0.4, 0.4 * 0.9**3])


def test_skills_route():
    P = np.array([[0.5, 0.4, 0.1], [0.1, 0.5, 0.4], [0.1, 0.4, 0.5]])
    found, _ = one_round(P, budget=3, skills={"dog": ["dogs"]}, group_skills={"s1": ["night", "dogs"]}, overlap=(2, 4))
    assert {r["about"]: r["skills"] for r in found} == {"p0": [], "p1": ["dogs", "night"], "p2": []}
    assert {tuple(r["overlap"]) for r in found} == {(2, 4)}


@pytest.mark.parametrize(
    "changes",
    [
        {"strategies": {"luck": 1}},
        {"endpoints": []},
        {"classes": ["a"]},
        {"every": None},
        {"embedding": None, "strategies": {"clusters": 1}},
        {"budget": 0},
    ],
)
def test_what_does_not_fit_is_refused(changes):
    with pytest.raises(SubmissionError):
        make(**changes)

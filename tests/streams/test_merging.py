"""A model learned in parts is the model learned in one, to the last bit; each of the two jobs keeps the laws."""

import numpy as np
import pytest

from connectors.memory import MemoryLog
from streams.learners.bayes import GaussianBayes
from streams.learners.logistic import ScaledLogistic
from streams.merging import MergedClassifier
from streams.state_store import FolderStore
from tests.streams.engines.helpers import Shelf, publish, records, run
from tidemill import state as states
from tidemill.checks.jobs import Subject, check_job, keyed
from tidemill.errors import MalformedError, SubmissionError
from tidemill.job import stays_single
from tidemill.order import EventTime
from tidemill.stream import Field, StreamSpec

NAMES = ("km", "stops")
SPEC = StreamSpec(
    name="trips",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        Field("who", "string"),
        Field("km", "float", nullable=True),
        Field("stops", "int"),
        Field("late", "bool", nullable=True),
    ),
    id="id",
    time="at",
    key="who",
    time_unit="us",
    partitions=2,
)
SETTINGS = {
    "name": "late",
    "stream": "trips",
    "features": NAMES,
    "label": "late",
    "learner": GaussianBayes,
    "groups": 4,
    "every": 1e-4,
    "version_every": 10,
    "order": EventTime(lateness=20, idle_after=None),
}


def recipe(**changes):
    return MergedClassifier(**SETTINGS | changes)


def test_both_jobs_are_lawful():
    both = recipe(every=20.0, merge_order=EventTime())
    streams = {"trips": SPEC, both.spec().name: both.spec()}
    parts, model = keyed(both.parts(), streams), keyed(both.model(), streams)
    batch = Subject("parts", parts, streams).batch(250)
    check_job(parts, batch)
    events = Subject("model", model, streams).batch(30)
    made = parts.step(parts.init(), batch).emit
    states = [state for rows in made for state in rows.columns["state"]]
    block = events.blocks[both.spec().name]
    block.columns["state"][: len(states)] = states[: len(block)]
    check_job(model, events)
    effects = model.step(model.init(), events)
    assert len(effects.dead) == len(block) - len(states) and effects.state.merged == len(states) > 5
    assert all(isinstance(dead.error, MalformedError) for dead in effects.dead)


def rows(n):
    rng = np.random.default_rng(5)
    return [
        {
            "id": f"e{i}",
            "at": 1_000_000 + 2 * i + i % 3,
            "who": f"w{i % 13}",
            "km": float(rng.normal()) * 10.0 ** int(rng.integers(-3, 4)),
            "stops": int(rng.integers(9)),
            "late": None if i % 17 == 0 else bool(rng.random() < 0.3),
        }
        for i in range(n)
    ]


@pytest.mark.parametrize("groups", [1, 4])
def test_the_merged_model_is_that_of_all_events(tmp_path, groups):
    both, log, shelf = recipe(groups=groups, version_every=1), MemoryLog(), Shelf()
    given = rows(600)
    publish(log, given, SPEC)
    # An event after the last of the others hands over every part.
    end = [{**given[-1], "id": f"end{i}", "at": 9_000_000 + 50 * (i // 2), "late": None} for i in range(8)]
    publish(log, end, SPEC)
    run(both.parts(), log, FolderStore(tmp_path / "parts"), streams={"trips": SPEC})
    streams = {both.spec().name: both.spec()}
    status = run(both.model(), log, FolderStore(tmp_path / "model"), streams=streams, publisher=shelf)
    assert status["dead"] == 0
    want = GaussianBayes(NAMES)
    learned = [r for r in given if r["late"] is not None]
    want.learn_block(np.array([[r["km"], r["stops"]] for r in learned]), np.array([float(r["late"]) for r in learned]))
    parts = len(records(log, both.spec().topic))
    assert len(shelf.versions) == parts > 10
    newest = shelf.versions["late", parts][0]
    assert states.encode(newest.content.state) == states.encode(want.state())
    assert newest.metrics == {"count": len(learned)}


def test_a_learner_whose_merge_is_not_exact_is_refused():
    with pytest.raises(SubmissionError, match="merge is not exact"):
        recipe(learner=ScaledLogistic).parts()
    with pytest.raises(SubmissionError, match="event time"):
        recipe(order=recipe().merge_order).parts()


def test_who_stays_single():
    from streams.classifier import online_classifier

    settings = {"name": "x", "stream": "trips", "features": NAMES, "label": "late"}
    assert stays_single(online_classifier(**settings))
    assert not stays_single(online_classifier(**settings, learner=GaussianBayes))
    assert not stays_single(recipe().parts()) and not stays_single(recipe().model())

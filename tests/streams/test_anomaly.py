"""The detector scores before it learns, learns every event, and never a label; the laws hold."""

import numpy as np
import pytest

from streams.anomaly import anomaly_detector
from streams.learners.deviation import Deviation
from streams.learners.logistic import ScaledLogistic
from tidemill.checks.jobs import Subject, check_job, keyed
from tidemill.errors import SubmissionError
from tidemill.order import Arrival
from tidemill.stream import Field, StreamSpec, label_stream

NAMES = ["a", "b"]
SPEC = StreamSpec(
    name="odd",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        *(Field(name, "float", nullable=name == "b") for name in NAMES),
        Field("odd", "bool", nullable=True),
    ),
    id="id",
    time="at",
)
STREAMS = {"odd": SPEC, "labels.odd": label_stream("odd")}
LABELLED = {"label": "odd"}
LATER = {"positive": 1, "timeout": 30.0, "corrections": 5.0}


def small_trees(names):
    from river import anomaly, preprocessing

    from streams.learners.river import RiverLearner

    return RiverLearner(names, preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(2, 2, 20, seed=1))


CASES = {
    "labelled": LABELLED,
    "labels-later": LATER,
    "labels-later-arrival": LATER | {"order": Arrival()},
    "trees": LABELLED | {"learner": small_trees},
    "no-versions": LABELLED | {"version_seconds": None},
}


def make(**changes):
    settings = {"name": "d", "stream": "odd", "features": NAMES, "metrics_every": 40, "version_seconds": 25.0}
    return keyed(anomaly_detector(**settings | changes), STREAMS)


@pytest.mark.parametrize("case", CASES)
def test_lawful(case):
    job = make(**CASES[case])
    check_job(job, Subject("d", job, STREAMS).batch(60 if case == "trees" else 150))


@pytest.mark.parametrize("case", ["labelled", "labels-later"])
def test_each_event_is_scored_before_it_is_learned(case):
    job = make(**CASES[case])
    batch = Subject("d", job, STREAMS).batch(300)
    effects = job.step(job.init(), batch)
    (made,) = [rows for rows in effects.emit if rows.output == "predictions"]
    block = batch.blocks["odd"]
    X = np.column_stack([block.columns[name].astype(float) for name in NAMES])
    good = np.isfinite(X).all(axis=1)
    want = Deviation(NAMES)
    assert np.array_equal(made.columns["score"], want.learn_block(X[good], np.zeros(good.sum())))
    assert made.ids.tolist() == block.ids[good].tolist()
    assert len(effects.versions) > 3
    measured = [rows for rows in effects.emit if rows.output == "metrics"]
    assert measured and "roc_auc" in measured[-1].columns["values"][0]


def test_settings_that_do_not_fit():
    with pytest.raises(SubmissionError, match="another kind"):
        make(learner=Deviation, supervised=True, label="odd", version_seconds=None)
    with pytest.raises(SubmissionError, match="event time"):
        make(version_every=5)
    assert make(learner=ScaledLogistic, label="odd")  # a learner that does not say what it is

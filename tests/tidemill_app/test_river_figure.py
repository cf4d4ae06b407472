"""River over the rows of a log, against River fed by hand."""

import msgspec
import pytest
from river import linear_model, optim, preprocessing

from connectors.memory import MemoryLog
from tidemill.log import TopicSpec
from tidemill_app.river_figure import compare

N = 40


def scores():
    """What River predicts by hand for event i, the label of i known before i + 2 is predicted."""
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.1), intercept_lr=0.1)
    out = []
    for i in range(N):
        if i >= 2:
            model.learn_one({"x": feature(i - 2)}, went(i - 2))
        out.append(model.predict_proba_one({"x": feature(i)}).get(True, 0.5))
    return out


def feature(i):
    return float(i % 5 - 2)


def went(i):
    return i % 5 > 2


def written(*, off=0.0):
    log = MemoryLog()
    log.create("p", TopicSpec())
    log.create("l", TopicSpec())
    writer = log.writer()
    for i, score in enumerate(scores()):
        made = {"id": f"p{i:02}", "time": 10 * i, "score": score + (off if i == 7 else 0), "features": [feature(i)]}
        writer.send("p", msgspec.json.encode(made), partition=0)
    for i in range(N):
        given = {"id": f"l{i:02}", "time": 10 * (i + 2) - 1, "about": f"p{i:02}", "value": went(i)}
        writer.send("l", msgspec.json.encode(given), partition=0)
        writer.send("l", msgspec.json.encode({"type": "time.advanced.v1", "time": 10 * i}), partition=0)
    writer.flush()
    return log


@pytest.mark.parametrize("off", [0.0, 0.25])
def test_the_difference_is_that_of_the_scores(off):
    found = compare(written(off=off), "p", "l", ("x",), limit=N, lr=0.1)
    assert found.largest_difference == pytest.approx(off, abs=1e-12)
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
    # Labels that come after the last prediction teach nothing.
    assert found.labelled == N - 2
    assert (found.ours == found.river) == (off == 0.0)


def test_no_more_predictions_than_asked_for():
    assert compare(written(), "p", "l", ("x",), limit=10, lr=0.1).labelled == 8

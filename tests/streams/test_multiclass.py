"""The head learns classes from labels that come later, tells all probabilities, and keeps the laws."""

import numpy as np
import pytest

from streams import regions
from streams.multiclass import State, of_list, online_multiclass
from tidemill import state as states
from tidemill.block import Block, column
from tidemill.checks.jobs import Subject, check_job, keyed
from tidemill.errors import SubmissionError
from tidemill.order import Arrival, Batch, EventTime
from tidemill.stream import Field, StreamSpec, label_stream
from tidemill.time import SECOND

CLASSES = ["cat", "dog", "eel"]
SPEC = StreamSpec(
    name="pets",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        Field("vector", "json", nullable=True),
        Field("scene", "string", nullable=True),
    ),
    id="id",
    time="at",
)
STREAMS = {"pets": SPEC, "labels.pets": label_stream("pets")}
CENTRES = np.array([[3.0, 0.0], [0.0, 3.0], [-3.0, -3.0]])


def make(**changes):
    features, names = of_list("vector", 2)
    settings = {"name": "which", "stream": "pets", "features": features, "feature_names": names, "classes": CLASSES}
    return keyed(online_multiclass(**settings | {"metrics_every": 7, "version_every": 20} | changes), STREAMS)


def block(stream, topic, ids, times, **columns):
    n = len(ids)
    cells = {name: column(list(values), np.object_) for name, values in columns.items()}
    zeros = np.zeros(n, np.int32)
    sources = column([f"/streams/{stream}"] * n, np.object_)
    return Block(stream, topic, times, column(list(ids), np.object_), sources, zeros, np.arange(n), zeros, cells)


def sample(n=120, seed=3):
    """Items of three clouds; labels about two thirds of them, some before their item, doubled, corrected, null, odd."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    vectors = [None if i % 29 == 5 else v for i, v in enumerate((CENTRES[truth] + rng.normal(size=(n, 2))).tolist())]
    vectors[11] = [1.0]
    vectors[12] = [float("inf"), 1.0]
    at = 1_600_000_000 * SECOND + np.arange(n) * SECOND
    scenes = [None if i % 13 == 4 else f"s{i % 3}" for i in range(n)]
    items = block("pets", "data.pets", [f"p{i}" for i in range(n)], at, vector=vectors, scene=scenes)
    items.columns["at"], items.columns["id"] = at, items.ids
    about = rng.integers(0, n, n)
    values = [CLASSES[truth[i]] for i in about]
    values[5], values[9], values[14], values[20] = None, "ant", 3, CLASSES[0]
    when = at[about] + rng.integers(-5, 40, n) * SECOND
    order = np.argsort(when, kind="stable")
    labels = block(
        "labels.pets",
        "labels.pets",
        [f"l{i}" for i in range(n)],
        when[order],
        about=[f"p{about[i]}" for i in order],
        value=[values[i] for i in order],
        by=["x"] * n,
    )
    return [items, labels]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"order": EventTime()},
        {"rescore_every": 11},
        {"max_waiting": 9, "rescore_every": 5},
        {"drift": None},
        {"drift_by": "scene"},
        {"drift_by": "@class"},
    ],
    ids=["arrival", "event time", "rescored", "bounded", "no drift", "drift by field", "drift by class"],
)
def test_lawful(changes):
    job = make(**changes)
    check_job(job, Batch.sort(sample()))
    check_job(job, Subject("generated", job, STREAMS).batch(60))


def rows(effects, output):
    return [
        dict(zip(r.columns, values, strict=True))
        for r in effects.emit
        if r.output == output
        for values in zip(*r.columns.values(), strict=True)
    ]


def test_it_learns_and_tells_every_class():
    job = make(log_features=True)
    blocks = sample(400)
    blocks[1].columns["value"] = blocks[1].columns["value"].copy()
    effects = job.step(job.init(), Batch.sort(blocks))
    made = rows(effects, "predictions")
    assert all(abs(sum(p["outputs"]) - 1) < 1e-9 and p["score"] == p["outputs"][-1] for p in made)
    assert len(made) == 400 - 14 - 2 and made[0]["features"] == blocks[0].columns["vector"][0]
    measured = rows(effects, "metrics")[-1]
    assert measured["values"]["accuracy"] > 0.9 > measured["values"]["log_loss"]
    assert sum(n for *_, n in measured["calibration"]) == measured["count"] == measured["values"]["learned"]
    refused = [type(d.error).__name__ for d in effects.dead]
    assert refused.count("WrongTypeError") >= 3 and refused.count("NotFiniteError") == 1
    assert [v.number for v in effects.versions][:2] == [1, 2] and effects.versions[0].content.state["bias"].any()


@pytest.mark.parametrize("by", ["scene", "@class"])
def test_where_errors_grew_is_told(by):
    """After 300 right ones, labels of cloud 1, whose items stand in scene s1 alone, say another class."""
    n = 600
    truth = np.arange(n) % 3
    rng = np.random.default_rng(1)
    at = 1_600_000_000 * SECOND + np.arange(n) * SECOND
    vectors = (CENTRES[truth] + rng.normal(size=(n, 2)) / 3).tolist()
    ids = [f"p{i}" for i in range(n)]
    items = block("pets", "data.pets", ids, at, vector=vectors, scene=[f"s{t}" for t in truth])
    values = [CLASSES[2 if i > 300 and t == 1 else t] for i, t in enumerate(truth)]
    given = block("labels.pets", "labels.pets", [f"l{i}" for i in range(n)], at + 1, about=ids, value=values, by=ids)
    knows = make().init().learner
    knows.learn_block(np.array(vectors[:60]), truth[:60].astype(float))
    job = make(drift_by=by, learner={"lr": 1e-9, "replay": 0})  # it does not follow the change
    state = job.init()
    state.learner.load_state(knows.state())
    effects = job.step(state, Batch.sort([items, given]))
    told = rows(effects, "drift")
    assert {r["by"] for r in told} == {"", by} and all(r["value"] > 0 for r in told if r["by"])
    assert {r["region"] for r in told if r["by"]} == {"s1" if by == "scene" else "dog"}
    ids = [id for r in effects.emit if r.output == "drift" for id in r.ids]
    assert len(set(ids)) == len(ids)
    assert not [r for r in rows(make().step(make().init(), Batch.sort([items, given])), "drift") if r["by"]]


def test_where_regions_are_told_apart_by_another_field_they_begin_anew():
    """What waits since before counts in none, for its key is of the field before."""
    items, given = sample(60)
    given.columns["value"] = np.array([CLASSES[i % 3] for i in range(60)], np.object_)
    half = given.take(np.arange(60) < 30), given.take(np.arange(60) >= 30)
    state = make(drift_by="scene").step(make().init(), Batch.sort([items, half[0]])).state
    assert set(state.regions) <= {"s0", "s1", "s2"} and len(state.regions) == 3 == len(state.uses)
    same = states.decode(states.encode(state), State)
    after = make(drift_by="scene").step(same, Batch.sort([half[1]])).state
    assert sum(after.uses.values()) > 25 and after.by == "scene"
    other = make(drift_by="id").step(states.decode(states.encode(state), State), Batch.sort([half[1]])).state
    assert (other.by, other.regions, other.uses) == ("id", {}, {})
    by_class = make(drift_by="@class").step(state, Batch.sort([half[1]])).state
    assert set(by_class.regions) == set(by_class.uses) <= set(CLASSES) and by_class.regions


def test_a_region_that_was_let_go_tells_under_no_id_twice(monkeypatch):
    monkeypatch.setattr(regions, "MOST", 1)
    job = make(drift_by="scene", learner={"lr": 1e-9, "replay": 0})
    n = 900
    at = 1_600_000_000 * SECOND + np.arange(n) * SECOND
    ids, scenes = [f"p{i}" for i in range(n)], ["s" if i % 300 else "junk" for i in range(n)]
    items = block("pets", "data.pets", ids, at, vector=[[1.0, 0.0]] * n, scene=scenes)
    values = ["cat" if i % 300 < 150 else "eel" for i in range(n)]
    given = block("labels.pets", "labels.pets", [f"l{i}" for i in range(n)], at + 1, about=ids, value=values, by=ids)
    effects = job.step(job.init(), Batch.sort([items, given]))
    told = [id for r in effects.emit if r.output == "drift" for id in r.ids if "/scene/" in id]
    assert len(told) == 3 == len(set(told))


def test_a_corrected_label_is_unlearned():
    """The same item under two names; afterwards the model says the later one."""
    job = make(learner={"replay": 64})
    n = 40
    at = 1_600_000_000 * SECOND + np.arange(n) * SECOND
    vectors = [CENTRES[i % 2].tolist() for i in range(n)]
    vectors[0] = [2.0, 7.0]
    items = block("pets", "data.pets", [f"p{i}" for i in range(n)], at, vector=vectors)
    first = block("labels.pets", "labels.pets", ["a0"], at[:1] + n * SECOND, about=["p0"], value=["eel"], by=["x"])
    rest = at[1:] + (n + 1) * SECOND
    others = block(
        "labels.pets",
        "labels.pets",
        [f"b{i}" for i in range(1, n)],
        rest,
        about=[f"p{i}" for i in range(1, n)],
        value=[CLASSES[i % 2] for i in range(1, n)],
        by=["x"] * (n - 1),
    )
    after = rest[-1:] + SECOND
    better = block("labels.pets", "labels.pets", ["c0"], after, about=["p0"], value=["dog"], by=["x"])
    again = block("labels.pets", "labels.pets", ["c1"], after + 1, about=["p0"], value=["dog"], by=["x"])
    state = job.step(job.init(), Batch.sort([items, first, others])).state
    assert state.learner.probabilities(np.array([vectors[0]])).argmax() == 2
    state = job.step(state, Batch.sort([better, again])).state
    assert (state.tally.corrected, state.tally.repeated, state.tally.learned) == (1, 1, n)
    spare = job.step(state, Batch.sort([]))  # nothing comes of nothing
    assert not spare.emit
    assert state.learner.probabilities(np.array([vectors[0]])).argmax() == 1
    assert 2 not in state.learner.state()["labels"]  # the wrong label is rehearsed no more


def test_what_waits_is_made_anew():
    job = make(rescore_every=10)
    effects = job.step(job.init(), Batch.sort(sample(200)))
    made = rows(effects, "predictions")
    ids = [id for r in effects.emit if r.output == "predictions" for id in r.ids]
    anew = [(id, p) for id, p in zip(ids, made, strict=True) if "#" in id]
    assert anew and all(id.split("#")[0] == p["about"] for id, p in anew)
    last = max(int(id.split("#")[1]) for id, _ in anew)
    assert last > 50
    # Made anew by a model that has learned more: surer than at first.
    first = {p["about"]: max(p["outputs"]) for id, p in zip(ids, made, strict=True) if "#" not in id}
    newest = [(p["about"], max(p["outputs"])) for id, p in anew if id.endswith(f"#{last}")]
    assert np.mean([q for _, q in newest]) > np.mean([first[a] for a, _ in newest])


@pytest.mark.parametrize(
    "changes",
    [
        {"feature_names": ()},
        {"features": ["a"]},
        {"name": "pets"},
        {"metrics_every": 0},
        {"drift_by": "scene", "drift": None},
    ],
    ids=["unnamed", "named twice", "one name", "no count", "regions of nothing"],
)
def test_what_does_not_fit_is_refused(changes):
    with pytest.raises(SubmissionError):
        make(**changes)


def test_orders():
    assert isinstance(make().order, Arrival)

"""The recipe of an online classifier: its laws, what it learns, and what becomes of every kind of label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from river import feature_extraction, linear_model, naive_bayes, preprocessing

from streams.classifier import OnlineClassifier, of_columns, of_fields, online_classifier
from streams.join import Latest
from streams.learners.logistic import ScaledLogistic
from streams.learners.river import RiverLearner
from streams.stats import Running
from tidemill.block import Block, Place, column
from tidemill.errors import NotFiniteError, OrphanError, SubmissionError, WrongTypeError
from tidemill.job import REPLAYED, Effects, Job, needs_of
from tidemill.order import Arrival, Batch
from tidemill.time import SECOND

NAMES = ("a", "b")


def block(stream: str, times: list[int], ids: list[str], **columns: Any) -> Block:
    n = len(times)
    time = np.array(times, dtype=np.int64) * SECOND
    zeros = np.zeros(n, dtype=np.int32)
    given = {k: v if isinstance(v, np.ndarray) else column(v, np.object_) for k, v in columns.items()}
    sources = column([f"/streams/{stream}"] * n, np.object_)
    return Block(stream, stream, time, column(ids, np.object_), sources, zeros, np.arange(n), zeros, given)


def events(n: int, seed: int = 0, start: int = 0) -> Block:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), rng.normal(size=n)
    who = column([f"u{i}" for i in rng.integers(0, 9, size=n).tolist()], np.object_)
    label = column(["yes" if v > 0 else "no" for v in (a + 0.3 * rng.normal(size=n)).tolist()], np.object_)
    times = (start + np.sort(rng.integers(0, n, size=n))).tolist()
    return block("s", times, [f"e{start}-{i}" for i in range(n)], a=a, b=b, who=who, label=label)


def labels_of(of: Block, seed: int = 1, share: float = 0.8, delay: int = 40) -> Block:
    rng = np.random.default_rng(seed)
    which = np.flatnonzero(rng.random(len(of)) < share)
    which = np.concatenate([which, which[::5]])  # every fifth is labelled twice
    times = of.time[which] // SECOND + rng.integers(1, delay, size=len(which))
    order = np.argsort(times, kind="stable")
    which, times = which[order], times[order]
    value = [bool(v) for v in (rng.random(len(which)) < 0.5).tolist()]
    ids = [f"l{i}" for i in range(len(which))]
    about = column(of.ids[which].tolist(), np.object_)
    return block("labels.s", times.tolist(), ids, about=about, value=value)


def weather(n: int, seed: int = 2) -> Block:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, n, size=n)).tolist()
    where = [f"u{i}" for i in rng.integers(0, 9, size=n).tolist()]
    temp = [None if t < -1 else t for t in rng.normal(size=n).tolist()]
    return block("w", times, [f"w{i}" for i in range(n)], who=where, temp=temp)


def rich(event: Any, known: Any) -> list[float]:
    rate, seen, air = known.get("rate", event["who"]), known.get("seen", event["who"]), known.get("air", event["who"])
    return [
        event["a"],
        rate["mean"] if rate else 0.5,
        seen["count"] if seen else 0.0,
        air["temp"] if air and air["temp"] is not None else 0.0,
    ]


RICH: dict[str, Any] = {
    "name": "rich",
    "stream": "s",
    "features": rich,
    "feature_names": ("a", "rate", "seen", "temp"),
    "tables": (
        Running("rate", ("who",)),
        Running("now", ("who",), half_life=20.0),
        Running("seen", ("who",), of="event", field="b"),
        Latest("air", "w", ("who",), ("temp",)),
    ),
    "timeout": 30.0,
    "corrections": 15.0,
    "metrics_every": 17,
    "metrics": {"bins": 64},
    "version_every": 23,
}
FIELDS: dict[str, Any] = {
    "name": "plain",
    "stream": "s",
    "features": NAMES,
    "metrics_every": 17,
    "metrics": {"bins": 64},
}


def river(names: Any) -> RiverLearner:
    return RiverLearner(names, preprocessing.StandardScaler() | linear_model.LogisticRegression())


def trees(names: Any) -> RiverLearner:
    """One of River's own that cannot be saved: it knows its leaves by memory address."""
    return RiverLearner(names, feature_extraction.RandomTreesEmbedding(seed=1) | linear_model.LogisticRegression())


CASES: dict[str, dict[str, Any]] = {
    "joined": RICH,
    "arrival": {**RICH, "order": Arrival()},
    "relearn, small memory": {**RICH, "relearn": True, "max_waiting": 7},
    "no corrections, by time": {**RICH, "corrections": 0.0, "version_every": None, "version_seconds": 11.0},
    "weighted": {**RICH, "class_weights": (1.0, 3.0), "version_seconds": 7.0},
    "columns, joined": {**FIELDS, "timeout": 30.0},
    "in bulk": {**FIELDS, "label": "label", "positive": "yes", "version_every": 23, "version_seconds": 11.0},
    "in bulk, by time": {**FIELDS, "label": "label", "positive": "yes", "version_every": None, "version_seconds": 5.0},
    "payload, with tables": {**RICH, "label": "label", "positive": "yes"},
    "river": {**FIELDS, "label": "label", "positive": "yes", "learner": river},
    "replayed": {**FIELDS, "label": "label", "positive": "yes", "learner": trees, "version_every": 23},
}


def sample(job: Job[Any], n: int = 150) -> Batch:
    """Events of every stream the job reads; under arrival, labels may come before what they are about."""
    of = events(n)
    given = {"s": of, "labels.s": labels_of(of), "w": weather(n // 4)}
    blocks = [given[i.stream] for i in job.reads]
    if not isinstance(job.order, Arrival):
        return Batch.sort(blocks)
    whole = Batch.of(blocks)
    return whole.take(np.sort(np.random.default_rng(5).permutation(len(whole))))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.replace(" ", "-"))
def test_laws(case: str) -> None:
    checks = pytest.importorskip("tidemill.checks.jobs")
    job = online_classifier(**CASES[case])
    checks.check_job(job, sample(job))


def run(job: Job[Any], batch: Batch) -> Effects[Any]:
    return job.step(job.init(), batch)


def rows(effects: Effects[Any], output: str) -> dict[str, list[Any]]:
    parts = [r for r in effects.emit if r.output == output]
    out: dict[str, list[Any]] = {"id": [], "time": []}
    for part in parts:
        out["id"] += list(part.ids)
        out["time"] += np.asarray(part.time).tolist()
        for name, values in part.columns.items():
            out.setdefault(name, []).extend(values.tolist() if isinstance(values, np.ndarray) else values)
    return out


def test_it_predicts_then_learns_each_event_in_turn() -> None:
    of = events(500)
    job = online_classifier(name="elec", stream="s", features=NAMES, label="label", positive="yes", version_every=200)
    effects = run(job, Batch.of([of]))
    learner, want = ScaledLogistic(NAMES), []
    for a, b, label in zip(of.columns["a"], of.columns["b"], of.columns["label"], strict=True):
        x = np.array([a, b])
        want.append(learner.predict_one(x))
        learner.learn_one(x, float(label == "yes"))
    made = rows(effects, "predictions")
    assert made["score"] == want and made["about"] == made["id"] == of.ids.tolist()
    assert made["features"][7] == [of.columns["a"][7], of.columns["b"][7]]
    assert made["version"] == ["0"] * 200 + ["1"] * 200 + ["2"] * 100
    assert [(v.number, v.last[2]) for v in effects.versions] == [(1, "e0-199"), (2, "e0-399")]
    assert effects.versions[1].metrics["roc_auc"] > 0.9


def test_bulk_columns_and_one_event_functions_give_the_same() -> None:
    of = events(300)
    settings: dict[str, Any] = {"label": "label", "positive": "yes", "metrics_every": 40, "version_every": 70}
    bulk = online_classifier(name="n", stream="s", features=NAMES, **settings)
    single = online_classifier(name="n", stream="s", features=of_fields(NAMES), feature_names=NAMES, **settings)
    one, other = run(bulk, Batch.of([of])), run(single, Batch.of([of]))
    for output in ("predictions", "metrics"):
        assert rows(one, output) == rows(other, output)
    assert [v.last for v in one.versions] == [v.last for v in other.versions]


def test_a_change_of_the_errors_is_found_and_told() -> None:
    of = events(4_000)
    of.columns["label"][2_000:] = np.where(of.columns["label"][2_000:] == "yes", "no", "yes")
    job = online_classifier(name="n", stream="s", features=NAMES, label="label", positive="yes", drift="adwin")
    found = rows(run(job, Batch.of([of])), "drift")
    assert found["detector"][0] == "adwin" and found["value"][0] > 0.3
    assert 2_000 <= int(found["id"][0].rpartition("/")[2]) < 2_300
    assert not rows(run(job, Batch.of([of.take(slice(0, 2_000))])), "drift")["id"]


def test_a_label_is_learned_on_the_features_as_they_were() -> None:
    job = online_classifier(**{**RICH, "metrics_every": 1})
    state = job.init()
    at = {"a": np.array([1.0]), "b": np.array([0.0]), "who": ["u"], "label": ["no"]}
    job.step(state, Batch.of([block("s", [0], ["one"], **at)]))
    job.step(state, Batch.of([block("w", [1], ["w"], who=["u"], temp=[5.0])]))
    made = job.step(state, Batch.of([block("s", [2], ["two"], **at)]))
    assert rows(made, "predictions")["features"] == [[1.0, 0.5, 1.0, 5.0]]
    job.step(state, Batch.of([block("labels.s", [3], ["l"], about=["one"], value=[True])]))
    want = ScaledLogistic(RICH["feature_names"])
    want.learn_one(np.array([1.0, 0.5, 0.0, 0.0]), 1.0)
    assert {k: v.tolist() for k, v in state.learner.state().items()} == {k: v.tolist() for k, v in want.state().items()}


def one_event(time: int = 0, id: str = "e") -> Block:
    return block("s", [time], [id], a=np.array([1.0]), b=np.array([0.5]), who=["u"], label=["no"])


def label(time: int, about: str, value: Any = True) -> Block:
    return block("labels.s", [time], [f"l{time}-{about}-{value}"], about=[about], value=[value])


def outcome(*blocks: Block, wake: int | None = None, **more: Any) -> tuple[Any, list[tuple[Place, type]]]:
    """The state after these blocks in turn, and what was refused."""
    job = OnlineClassifier(**{**FIELDS, "timeout": 100.0, "corrections": 20.0, **more}).job()
    state, dead = job.init(), []
    for i, part in enumerate(blocks):
        effects = job.step(state, Batch.of([part], None if wake is None or i < len(blocks) - 1 else wake * SECOND))
        dead += [(d.place, type(d.error)) for d in effects.dead]
    return state, dead


def test_a_label_before_its_event_is_an_orphan_in_event_time() -> None:
    state, dead = outcome(label(0, "e"), one_event(1))
    assert dead == [(Place("labels.s", 0, 0), OrphanError)]
    assert (state.counts.orphans, state.counts.learned, state.waiting.waiting) == (1, 0, 1)


def test_a_label_before_its_event_waits_for_it_under_arrival() -> None:
    state, dead = outcome(label(5, "e"), one_event(1), order=Arrival())
    assert dead == [] and (state.counts.learned, state.waiting.waiting) == (1, 0)


def test_under_arrival_a_label_of_no_event_is_refused_at_its_deadline() -> None:
    state, dead = outcome(label(5, "e"), one_event(104, "other"), order=Arrival())
    assert dead == [] and len(state.early) == 1
    state, dead = outcome(label(5, "e"), one_event(105, "other"), order=Arrival())
    assert dead == [(Place("labels.s", 0, 0), OrphanError)] and not state.early


def test_a_label_that_never_comes_times_out_and_is_counted() -> None:
    state, dead = outcome(one_event(0), wake=99)
    assert state.waiting.waiting == 1
    state, dead = outcome(one_event(0), wake=100)
    assert (state.waiting.waiting, state.counts.unlabelled, dead) == (0, 1, [])


def test_what_became_of_predictions_stands_in_the_metrics() -> None:
    job = OnlineClassifier(**{**FIELDS, "timeout": 10.0, "metrics_every": 1}).job()
    state = job.init()
    for part in (one_event(0, "gone"), one_event(50, "e")):
        job.step(state, Batch.of([part]))
    measured = rows(job.step(state, Batch.of([label(55, "e")])), "metrics")
    assert measured["version"] == ["", "0"] and measured["count"] == [1, 1]
    figures = measured["values"][0]
    assert (figures["unlabelled"], figures["learned"], figures["waiting"]) == (1, 1, 0)
    assert figures["label_delay_mean"] == 5.0 and figures["waiting_bytes"] == state.waiting.nbytes()


def test_a_label_90_days_late_is_an_orphan() -> None:
    state, dead = outcome(one_event(0), label(90 * 86_400, "e"))
    assert dead == [(Place("labels.s", 0, 0), OrphanError)]
    assert (state.counts.unlabelled, state.counts.orphans, state.counts.learned) == (1, 1, 0)


def test_the_first_label_stays_learned_and_a_correction_is_counted() -> None:
    state, dead = outcome(one_event(0), label(1, "e"), label(2, "e"), label(3, "e", False))
    first, _ = outcome(one_event(0), label(1, "e"))
    assert dead == [] and (state.counts.repeated, state.counts.corrected, state.counts.learned) == (1, 1, 1)
    assert np.array_equal(state.learner.state()["weight"], first.learner.state()["weight"])
    assert state.board.overall.count == 1


def test_with_relearn_a_correction_is_learned_on_top() -> None:
    state, _ = outcome(one_event(0), label(1, "e"), label(3, "e", False), relearn=True)
    want = ScaledLogistic(NAMES)
    want.learn_one(np.array([1.0, 0.5]), 1.0)
    want.learn_one(np.array([1.0, 0.5]), 0.0)
    assert np.array_equal(state.learner.state()["intercept"], want.state()["intercept"])
    assert (state.counts.corrected, state.board.overall.count) == (1, 1)


def test_a_correction_after_its_window_is_an_orphan() -> None:
    _, dead = outcome(one_event(0), label(1, "e"), label(21, "e", False))
    assert [kind for _, kind in dead] == [OrphanError]
    _, dead = outcome(one_event(0), label(1, "e"), label(20, "e", False))
    assert dead == []


def test_no_more_wait_than_are_allowed() -> None:
    state, _ = outcome(*[one_event(i, f"e{i}") for i in range(20)], label(20, "e3"), label(20, "e19"), max_waiting=4)
    assert (state.counts.evicted, state.counts.orphans, state.counts.learned) == (16, 1, 1)
    assert len(state.waiting.score) == 16


@pytest.mark.parametrize(
    ("bad", "error"),
    [({"a": np.array([value])}, NotFiniteError) for value in (np.nan, np.inf, 1e308, -1e151)],
)
@pytest.mark.parametrize("label", [None, "label"])
def test_events_without_usable_features_are_refused(bad: Any, error: type, label: str | None) -> None:
    part = one_event()
    part.columns.update(bad)
    more = {"label": label, "positive": "yes"} if label else {}
    state, dead = outcome(part, one_event(1, "good"), **more)
    assert dead == [(Place("s", 0, 0), error)] and state.counts.predicted == 1


def test_a_function_that_fails_refuses_the_event_and_goes_on() -> None:
    def fails(event: Any, known: Any) -> list[float]:
        return [1.0 / event["a"], 0.0]

    part = one_event()
    part.columns["a"] = np.array([0.0])
    state, dead = outcome(part, one_event(1, "good"), features=fails, feature_names=NAMES)
    assert [kind for _, kind in dead] == [WrongTypeError] and state.counts.predicted == 1


def test_labels_that_are_none_are_refused() -> None:
    _, dead = outcome(one_event(0), label(1, "e", "banana"))
    assert [kind for _, kind in dead] == [WrongTypeError]


def test_the_endpoint_makes_the_features_the_job_used() -> None:
    job = online_classifier(**RICH)
    state = job.init()
    effects = job.step(state, sample(job))
    assert job.endpoint is not None and job.endpoint.feature_names == RICH["feature_names"]
    event = {"a": 0.5, "b": 0.0, "who": "u3", "label": None}
    served = job.endpoint.features(event, state.tables)
    last = int(effects.wake_at or 0) // SECOND
    again = block("s", [last], ["new"], a=np.array([0.5]), b=np.array([0.0]), who=["u3"], label=["no"])
    assert rows(job.step(state, Batch.of([again])), "predictions")["features"] == [served]


def test_the_endpoint_says_which_fields_its_features_need() -> None:
    def needs(**settings: Any) -> Any:
        endpoint = online_classifier(
            **{"name": "n", "stream": "s", "label": "label", "features": ["a"]} | settings
        ).endpoint
        return None if endpoint is None else endpoint.needs

    assert needs() == {"a"}
    assert needs(features=["a", "b"], per="who") == {"a", "b", "who"}
    assert needs(**{**RICH, "name": "n"}) is None


def test_a_learner_that_cannot_be_saved_is_replayed_and_not_served() -> None:
    job = online_classifier(**CASES["replayed"])
    assert job.endpoint is not None
    assert "memory address" in job.cannot_save == job.endpoint.unserved
    assert "replay" in needs_of(job)
    effects = run(job, sample(job))
    assert job.live.models(effects.state) == {}
    contents = [cut.content for cut in effects.versions]
    assert {content.kind for content in contents} == {REPLAYED}
    assert len({content.state["answers"] for content in contents}) == len(contents) > 3


def test_block_features_of_fields_equal_the_function() -> None:
    of = events(50)
    of.columns["b"] = column([None if i % 7 == 0 else i for i in range(50)], np.object_)
    X = of_columns(NAMES)(of)
    each = [of_fields(NAMES)(row, {}) for row in of.rows()]  # type: ignore[arg-type]
    assert np.array_equal(X, np.array(each), equal_nan=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": ()},
        {"features": ("a", "a")},
        {"features": rich},
        {"feature_names": ("x",)},
        {"label": "a"},
        {"name": "s"},
        {"timeout": 0.0},
        {"max_waiting": 0},
        {"output": "xml"},
        {"tables": (Running("t"), Running("t"))},
        {"tables": (Latest("t", "s", ("who",), ("a",)),)},
        {"learner": lambda names: RiverLearner(names, linear_model.LinearRegression())},
        {"learner": lambda names: RiverLearner(names, naive_bayes.GaussianNB()), "class_weights": (1.0, 2.0)},
    ],
)
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SubmissionError):
        replace(OnlineClassifier(**FIELDS), **wrong).job()


def test_models_per_key_are_published_as_one():
    from streams.learners.keyed import KeyedLogistic

    job = online_classifier(name="m", stream="s", features=NAMES, label="label", positive="yes", per="who")
    given = events(200)
    given.columns["who"][:3] = None
    effects = job.step(job.init(), Batch.of([given]))
    assert isinstance(effects.state.learner, KeyedLogistic) and len(effects.state.learner) == 9
    assert [type(dead.error) for dead in effects.dead] == [NotFiniteError] * 3
    assert job.endpoint is not None and job.endpoint.feature_names == ("who#", *NAMES)
    row = job.endpoint.features({"a": 1.0, "b": 2.0, "who": "u1"}, effects.state.tables)
    assert effects.state.learner.explain_one(np.array(row))["who#"] == 0.0
    assert set(job.live.models(effects.state)) == {"m"}


@pytest.mark.parametrize(
    "changes",
    [
        {"per": None, "groups": 2},
        {"label": None, "groups": 2},
        {"groups": 2, "tables": (Running("n"),)},
        {"learner": ScaledLogistic},
    ],
)
def test_what_keyed_models_cannot_be(changes):
    settings = {"name": "m", "stream": "s", "features": NAMES, "label": "label", "positive": "yes", "per": "who"}
    with pytest.raises(SubmissionError, match=r"groups|no keys"):
        online_classifier(**settings | changes)


def test_groups_measure_under_names_of_their_own():
    settings = {"name": "m", "stream": "s", "features": NAMES, "label": "label", "positive": "yes", "per": "who"}
    job = online_classifier(**settings, groups=3, metrics_every=20)
    assert job.needs == frozenset() and job.reads[0].key == "who" and job.endpoint is None
    ids = []
    for seed in range(3):
        given = events(60, seed, start=seed * 100)
        effects = job.step(job.init(), Batch.of([given]))
        assert not effects.versions
        ids += [id for rows in effects.emit if rows.output == "metrics" for id in rows.ids]
    assert len(ids) == len(set(ids)) > 6

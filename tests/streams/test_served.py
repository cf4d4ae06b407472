"""Metrics of answers as they were served, per model version."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from streams import walk
from streams.metrics import Prequential
from streams.served import served_metrics
from tidemill.block import Block
from tidemill.checks.jobs import check_job
from tidemill.decode import Bad, Decoder
from tidemill.errors import NotFiniteError, SubmissionError, WrongTypeError
from tidemill.events import LabelGiven, PredictionMade, encode
from tidemill.job import Effects, Job
from tidemill.log import Record
from tidemill.order import Batch, EventTime
from tidemill.stream import Field, StreamSpec, label_stream, prediction_stream
from tidemill.time import SECOND


def block(events: list[Any]) -> Block:
    """The events as they come off the log."""
    spec = prediction_stream("flights") if isinstance(events[0], PredictionMade) else label_stream("flights")
    records = [Record(spec.topic, 0, i, None, encode(e), (), 0) for i, e in enumerate(events)]
    (item,) = Decoder(spec).decode(records)
    assert isinstance(item, Block), isinstance(item, Bad) and item.error
    return item


def answer(i: int, version: str, score: float) -> PredictionMade:
    return PredictionMade(id=f"e{i}", time=i * SECOND, about=f"e{i}", model="m", version=version, score=score)


def label(i: int, time: int, value: bool) -> LabelGiven:
    return LabelGiven(id=f"l{i}-{time}", time=time * SECOND, about=f"e{i}", value=value)


def sample(n: int = 120) -> tuple[list[PredictionMade], list[LabelGiven]]:
    rng = np.random.default_rng(4)
    answers = [answer(i, str(8 + i // 40), float(s)) for i, s in enumerate(rng.random(n).tolist())]
    labels = [label(i, i + int(rng.integers(1, 30)), bool(rng.random() < a.score)) for i, a in enumerate(answers)]
    return answers, sorted(labels[::2], key=lambda e: (e.time, e.id))


def settings(**more: Any) -> dict[str, Any]:
    return {"endpoint": "flights", "stream": "flights", "metrics": {"bins": 64}, **more}


@pytest.mark.parametrize(
    "more", [{}, {"timeout": 20.0, "corrections": 0.0}, {"metrics_every": 20}, {"order": EventTime()}], ids=str
)
def test_laws(more: dict[str, Any]) -> None:
    answers, labels = sample()
    job = served_metrics(**settings(**more))
    check_job(job, (Batch.sort if more.get("order") else Batch.of)([block(labels[:9]), block(answers), block(labels)]))


def measured(job: Job[Any], batch: Batch) -> tuple[list[dict[str, Any]], Effects[Any]]:
    effects = job.step(job.init(), batch)
    rows = []
    for part in effects.emit:
        names = list(part.columns)
        rows += [dict(zip(names, v, strict=True)) for v in zip(*part.columns.values(), strict=True)]
    return rows, effects


def test_each_version_is_measured_on_the_answers_it_gave() -> None:
    answers, labels = sample()
    rows, effects = measured(served_metrics(**settings(drift=None)), Batch.sort([block(answers), block(labels)]))
    assert not effects.dead and {r["model"] for r in rows} == {"flights"}
    last = {r["version"]: r for r in rows}
    assert sorted(last) == ["", "m@10", "m@8", "m@9"] and last[""]["count"] == 60
    by_id = {a.about: a for a in answers}
    for version, row in last.items():
        own = [(e.value, by_id[e.about], e.time) for e in labels if version in ("", f"m@{by_id[e.about].version}")]
        want = Prequential(bins=64)
        delay = [(t - a.time) / SECOND for _, a, t in own]
        want.update_block([float(y) for y, _, _ in own], [a.score for _, a, _ in own], delay)
        assert row["count"] == want.count
        overall = want.report()["overall"]
        for name in ("log_loss", "roc_auc", "accuracy", "label_delay_mean"):
            assert row["values"][name] == pytest.approx(overall[name], abs=1e-12)
    msgspec.json.encode(rows)


def test_what_cannot_be_counted_is_refused() -> None:
    job = served_metrics(**settings())
    effects = job.step(job.init(), Batch.of([block([answer(0, "1", 1.5)]), block([label(7, 3, True)])]))
    assert [type(d.error) for d in effects.dead] == [NotFiniteError]
    with pytest.raises(SubmissionError):
        served_metrics(**settings(timeout=0))


def last(job: Job[Any], *blocks: Block) -> tuple[dict[str, Any], Effects[Any]]:
    """The newest row of each version, after these blocks one after another."""
    rows, state, effects = {}, job.init(), None
    for each in blocks:
        effects = job.step(state, Batch.of([each]))
        for part in effects.emit:
            for row in zip(*part.columns.values(), strict=True):
                named = dict(zip(part.columns, row, strict=True))
                rows[named["version"]] = named
    assert effects is not None
    return rows, effects


def test_labels_of_what_nobody_asked_about_are_counted_and_no_letters_are_written() -> None:
    job = served_metrics(**settings())
    strange = [label(i, i, True) for i in range(100, 103)] + [label(103, 9, "no class")]
    rows, effects = last(job, block(strange), block([answer(0, "1", 0.5)]), block([label(0, 3, True)]))
    assert (rows["m@1"]["count"], effects.dead) == (1, [])
    assert rows[""]["values"]["orphans"] == 1  # the one that can be no label at all; the others may yet be named


def test_a_bad_label_of_an_answer_is_refused() -> None:
    job = served_metrics(**settings())
    rows, effects = last(job, block([answer(0, "1", 0.5)]), block([label(0, 3, "no class")]))
    assert [type(d.error) for d in effects.dead] == [WrongTypeError] and not rows


def test_a_label_before_its_answer_counts_however_many_strangers_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_STRANGERS", 4)
    job = served_metrics(**settings())
    strange = [label(i, i, True) for i in range(100, 120)]
    rows, _ = last(job, block(strange), block([label(0, 3, True)]), block([answer(0, "1", 0.5)]))
    assert rows["m@1"]["count"] == 1 and rows[""]["values"]["orphans"] == 18


def test_labels_years_after_their_answers_count() -> None:
    """Answers about a replayed past, labelled today: the clock leaps with the first label."""
    job = served_metrics(**settings())
    answers = [answer(i, "1", 0.5) for i in range(10)]
    rows, _ = last(job, block(answers), block([label(i, 400_000_000 + i, True) for i in range(10)]))
    assert rows["m@1"]["count"] == 10


def test_versions_of_two_models_at_one_endpoint_stay_apart() -> None:
    other = PredictionMade(id="x", time=0, about="x", model="n", version="1", score=0.2)
    given = LabelGiven(id="l", time=SECOND, about="x", value=False)
    rows, _ = last(served_metrics(**settings()), block([answer(0, "1", 0.5), other]), block([label(0, 3, True), given]))
    assert {version: row["count"] for version, row in rows.items()} == {"": 2, "m@1": 1, "n@1": 1}


def test_labels_in_the_events_themselves_count_beside_those_of_their_own() -> None:
    spec = StreamSpec(
        name="flights",
        fields=(Field("id", "string"), Field("at", "time"), Field("late", "string", nullable=True)),
        time="at",
        id="id",
        time_unit="s",
    )
    events = [b'{"id": "e0", "at": 5, "late": "yes"}', b'{"id": "e1", "at": 6, "late": null}', b'{"id": "z", "at": 6}']
    (data,) = Decoder(spec).decode([Record(spec.topic, 0, i, None, e, (), 0) for i, e in enumerate(events)])
    assert isinstance(data, Block)
    job = served_metrics(**settings(label="late", positive="yes"))
    assert [read.stream for read in job.reads] == ["predictions.flights", "labels.flights", "flights"]
    answers = block([answer(i, "1", 0.9) for i in range(3)])
    rows, effects = last(job, answers, data, block([label(2, 9, "no")]))
    assert (rows["m@1"]["count"], effects.dead) == (2, [])
    check_job(job, Batch.of([answers, data, block([label(2, 9, "no")])]))


def test_measurements_thin_out_as_labels_grow() -> None:
    job = served_metrics(**settings(drift=None))
    n = 5000
    state = job.init()
    job.step(state, Batch.of([block([answer(i, "1", 0.5) for i in range(n)])]))
    effects = job.step(state, Batch.of([block([label(i, i, True) for i in range(n)])]))
    counts = [part.columns["count"][0] for part in effects.emit]
    assert counts[:1999] == list(range(1, 2000))
    assert all(after - before <= before * 0.001 + 1 for before, after in pairwise(counts))
    assert len(counts) < 3200 and counts[-1] > n * 0.999


def test_an_answer_given_again_counts_once_as_given_last_before_its_label() -> None:
    job = served_metrics(**settings())
    first, again, late = (block([answer(0, version, 0.5)]) for version in ("1", "2", "3"))
    rows, _ = last(job, first, again, block([label(0, 3, True)]), late, block([label(0, 4, True)]))
    assert {version: row["count"] for version, row in rows.items()} == {"": 1, "m@2": 1}

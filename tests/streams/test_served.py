"""Metrics of answers as they were served, per model version."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from streams.metrics import Prequential
from streams.served import served_metrics
from tidemill.block import Block
from tidemill.checks.jobs import check_job
from tidemill.decode import Bad, Decoder
from tidemill.errors import NotFiniteError, OrphanError, SubmissionError
from tidemill.events import LabelGiven, PredictionMade, encode
from tidemill.job import Effects, Job
from tidemill.log import Record
from tidemill.order import Arrival, Batch
from tidemill.stream import label_stream, prediction_stream
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
    return {"endpoint": "flights", "stream": "flights", "metrics_every": 20, "metrics": {"bins": 64}, **more}


@pytest.mark.parametrize("more", [{}, {"timeout": 20.0, "corrections": 0.0}, {"order": Arrival()}], ids=str)
def test_laws(more: dict[str, Any]) -> None:
    answers, labels = sample()
    job = served_metrics(**settings(**more))
    check_job(job, (Batch.of if more.get("order") else Batch.sort)([block(answers), block(labels)]))


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
    assert sorted(last) == ["", "10", "8", "9"] and last[""]["count"] == 60
    by_id = {a.about: a for a in answers}
    for version, row in last.items():
        own = [(e.value, by_id[e.about], e.time) for e in labels if version in ("", by_id[e.about].version)]
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
    assert [type(d.error) for d in effects.dead] == [NotFiniteError, OrphanError]
    with pytest.raises(SubmissionError):
        served_metrics(**settings(timeout=0))

"""What River makes of the very rows a job learned from: the comparison that a report shows."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from tidemill.log import Log, Partition
from tidemill_app.reading import read_spans


class Compared(msgspec.Struct, kw_only=True):
    """River's pipeline and ours over the same rows in the same order."""

    labelled: int
    ours: float
    river: float
    largest_difference: float
    river_seconds: float


class _Prediction(msgspec.Struct):
    id: str
    time: int
    score: float
    features: list[float]


class _Label(msgspec.Struct):
    id: str
    time: int
    about: str
    value: Any


def compare(log: Log, predictions: str, labels: str, names: tuple[str, ...], *, limit: int, lr: float) -> Compared:
    """Feed River's `StandardScaler | LogisticRegression(SGD(lr), intercept_lr=lr)` one event at a time: predict at a
    prediction's place, learn at its label's, in order of event time; over the first `limit` predictions.

    The features are the ones in the prediction events, so both models see equal rows.
    """
    from river import linear_model, metrics, optim, preprocessing

    made = _read(log, predictions, _Prediction, limit)
    last = made[-1].time if made else 0
    known = {p.id: p for p in made}
    given = [x for x in _read(log, labels, _Label, 0) if x.time <= last and x.about in known]
    order = sorted([(p.time, 0, p.id, p) for p in made] + [(x.time, 1, x.id, x) for x in given], key=lambda e: e[:3])
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(lr), intercept_lr=lr)
    ours, theirs = metrics.ROCAUC(n_thresholds=1000), metrics.ROCAUC(n_thresholds=1000)
    scores: dict[str, float] = {}
    largest, labelled, begun = 0.0, 0, time.perf_counter()
    for _, kind, _, event in order:
        if kind == 0:
            p = model.predict_proba_one(dict(zip(names, event.features, strict=True))).get(True, 0.5)
            scores[event.id] = p
            largest = max(largest, abs(p - event.score))
        elif event.about in scores:
            prediction, y = known[event.about], bool(event.value)
            theirs.update(y, {True: scores.pop(event.about)})
            ours.update(y, {True: prediction.score})
            model.learn_one(dict(zip(names, prediction.features, strict=True)), y)
            labelled += 1
    return Compared(
        labelled=labelled,
        ours=float(ours.get()),  # numpy's, which no JSON can hold
        river=float(theirs.get()),
        largest_difference=float(largest),
        river_seconds=time.perf_counter() - begun,
    )


def _read(log: Log, topic: str, kind: type[Any], limit: int) -> list[Any]:
    decoder, out = msgspec.json.Decoder(kind), []
    at = Partition(topic, 0)
    for record in read_spans(log, {at: (log.begin(at), log.end(at))}):
        try:
            out.append(decoder.decode(record.value or b""))
        except msgspec.DecodeError:
            # A `time.advanced.v1` among the labels.
            continue
        if limit and len(out) >= limit:
            break
    return out

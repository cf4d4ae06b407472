"""The recipe of an online binary classifier: predict each event, wait for its label, learn, measure, publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.join import Latest, Waiting
from streams.learners.logistic import ScaledLogistic
from streams.learning import METRICS, PREDICTIONS, BlockFeatures, Counts, Features, Plan, State, content_of
from streams.scoreboard import Scoreboard
from streams.stats import Running
from streams.table import Tables
from streams.walk import Walk
from tidemill.block import Block
from tidemill.endpoint import Endpoint, Known
from tidemill.errors import SubmissionError, WrongTypeError
from tidemill.job import Effects, Input, Job, Live, Output
from tidemill.learner import Learner
from tidemill.order import Arrival, Batch, EventTime, Order
from tidemill.time import SECOND

Float = NDArray[np.float64]
Positive = bool | int | float | str | Callable[[Any], bool]
DAY = 86_400.0


def online_classifier(
    *,
    name: str,
    stream: str,
    features: Sequence[str] | Features,
    feature_names: Sequence[str] = (),
    features_block: BlockFeatures | None = None,
    label: str | None = None,
    positive: Positive = True,
    learner: Callable[[Sequence[str]], Learner] = ScaledLogistic,
    tables: Sequence[Running | Latest] = (),
    order: Order | None = None,
    history: Mapping[str, str] | None = None,
    timeout: float = 7 * DAY,
    corrections: float = DAY,
    relearn: bool = False,
    max_waiting: int = 200_000,
    class_weights: tuple[float, float] = (1.0, 1.0),
    metrics: Mapping[str, Any] | None = None,
    metrics_every: int = 1_000,
    version_every: int | None = 10_000,
    version_seconds: float | None = None,
    log_features: bool = True,
    output: str = "json",
    endpoint: str | None = None,
    optional: Sequence[str] = (),
    commit_every: float = 0.5,
) -> Job[Any]:
    """A job that learns a binary classifier from stream `stream` while it predicts it.

    **Labels.** With `label`, a field of the event itself holds the label: each event is predicted and then learned at
    once (null: only predicted). Without, labels come on `labels.<stream>` and are joined by event id; a label is
    learned on the features as they were at the prediction, and scored against the prediction as it was made.

    - A label whose event has not come: under order `event_time` it is dead-lettered as an orphan at once, for its event
      would stand before it; under `arrival` it waits up to `timeout` for it, and is dead-lettered then.
    - A label that never comes: after `timeout` seconds of event time the prediction is dropped and counted
      (`unlabelled`). A label after that is an orphan, as is one that names no event.
    - A second label within `corrections` seconds after the first: equal, it is dropped and counted (`repeated`). Other,
      it is counted (`corrected`); what was learned from the first stays learned and its score stays counted, for
      neither can be taken back exactly. With `relearn`, the correction is learned on top as a new example.
    - At most `max_waiting` predictions wait, and as many labelled ones are kept for corrections; beyond, the oldest is
      dropped and counted (`evicted`).

    **Features.** Names of numeric fields, which are read as columns (no Python per event); or a function
    `(event, known) -> row` with `feature_names`, where `known.get(table, key)` looks into `tables`: running statistics
    (`streams.stats.Running`) and newest observations of other streams (`streams.join.Latest`), as they were before the
    event. `features_block(block) -> X`, where given, must equal the function on every row and is used instead. An event
    whose features cannot be made, or are not finite, is dead-lettered.

    **What it emits.** `predictions.<name>`: one `prediction.made.v1` per event, with the features as used. Every
    `metrics_every` labels, `metrics.measured.v1` on `metrics.<name>`: of all versions together (`version` empty) with
    the counts above and the memory of waiting predictions, and of each version over its own predictions. A model
    version every `version_every` labels, and at multiples of `version_seconds` of event time if anything was learned.

    `positive` is the label value of class 1, or a function of the value. `learner` makes the learner from the feature
    names. `class_weights` are those of class 0 and 1, for learning and for metrics; `metrics` are settings of
    `streams.metrics.Prequential`. `endpoint` names the scoring endpoint (default: the stream).

    Raises `SubmissionError` where these do not fit together.
    """
    where = f"job {name}"
    names, function, in_block = _features(where, features, feature_names, features_block)
    _check(where, names, tables, stream, label)
    order = order or EventTime()
    stats = tuple(t for t in tables if isinstance(t, Running))
    latest = tuple(t for t in tables if isinstance(t, Latest))
    plan = Plan(
        model=name,
        stream=stream,
        feature_names=names,
        features=function,
        features_block=in_block,
        label_field=label,
        label_stream=None if label else f"labels.{stream}",
        label_of=label_rule(positive),
        weights=class_weights,
        stats=stats,
        latest=latest,
        timeout=_micros(where, "timeout", timeout),
        corrections=round(corrections * SECOND),
        relearn=relearn,
        max_waiting=max_waiting,
        wait_for_event=isinstance(order, Arrival),
        version_labels=version_every,
        version_time=None if version_seconds is None else _micros(where, "version_seconds", version_seconds),
        metrics_labels=metrics_every,
        log_features=log_features,
    )
    settings = {"weight_neg": class_weights[0], "weight_pos": class_weights[1], **(metrics or {})}
    kind = type(learner(names))
    state_type = msgspec.defstruct("State", [("learner", kind)], bases=(State,), module=__name__, kw_only=True)

    def init() -> Any:
        return state_type(
            learner=learner(names),
            tables=Tables({t.name: t.table() for t in tables}),
            waiting=Waiting.of(len(names)),
            board=Scoreboard.of(settings),
            counts=Counts(),
        )

    def step(state: Any, batch: Batch) -> Effects[Any]:
        return Walk(plan, state).over(batch)

    predictions = Output(
        PREDICTIONS, f"predictions.{name}", "prediction.made.v1", key="about", format=_format(where, output)
    )
    served = endpoint or stream
    if served == name:
        raise SubmissionError(
            "job and endpoint have one name, so their predictions would share a topic",
            where=where,
            got=served,
            fix="Name the job, or endpoint=, otherwise",
        )
    reads = dict.fromkeys([stream, *([] if label else [f"labels.{stream}"]), *(t.stream for t in latest)])
    return Job(
        name=name,
        reads=tuple(Input(s, history=(history or {}).get(s)) for s in reads),
        writes=(
            Output(
                PREDICTIONS, f"predictions.{name}", "prediction.made.v1", key="about", format=_format(where, output)
            ),
            Output(METRICS, f"metrics.{name}", "metrics.measured.v1", key="model"),
        ),
        step=step,
        init=init,
        state=state_type,
        order=order,
        needs=frozenset({"versions", "deltas"}),
        live=Live(
            models=lambda state: {name: content_of(state.learner)},
            tables=lambda state: state.tables.by_name,
        ),
        endpoint=Endpoint(
            name=served,
            stream=stream,
            model=name,
            job=name,
            feature_names=names,
            features=function,
            optional=frozenset([*optional, *([label] if label else [])]),
        ),
        commit_every=commit_every,
    )


def label_rule(positive: Positive) -> Callable[[Any], float]:
    """The class (0.0 or 1.0) of a label value; raises `WrongTypeError` for one that is no such label."""
    if callable(positive):
        rule = positive

        def by_rule(value: Any) -> float:
            try:
                return 1.0 if rule(value) else 0.0
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                raise WrongTypeError("not a label", got=repr(value)[:80], wanted=str(error), field="value") from None

        return by_rule
    numeric = isinstance(positive, (bool, int, float))

    def by_value(value: Any) -> float:
        if isinstance(value, (bool, int, float)) is not numeric or not (numeric or isinstance(value, str)):
            wanted = f"a label of the kind of {positive!r}"
            raise WrongTypeError("not a label", wanted=wanted, got=repr(value)[:80], field="value")
        return 1.0 if value == positive else 0.0

    return by_value


def _features(
    where: str, features: Sequence[str] | Features, names: Sequence[str], in_block: BlockFeatures | None
) -> tuple[tuple[str, ...], Features, BlockFeatures | None]:
    if callable(features):
        if not names:
            raise SubmissionError("a features function without feature_names", where=where, wanted="a name per feature")
        return tuple(names), features, in_block
    if names or in_block is not None:
        raise SubmissionError("feature_names and features_block belong to a features function", where=where)
    fields = tuple(features)

    def of_fields(event: Mapping[str, Any], known: Known) -> Sequence[float]:
        return [np.nan if event[f] is None else float(event[f]) for f in fields]

    def of_columns(block: Block) -> Float:
        columns = [block.columns[f] for f in fields]
        return np.stack([c.astype(np.float64) if c.dtype != np.object_ else _floats(c) for c in columns], axis=1)

    return fields, of_fields, of_columns


def _floats(values: NDArray[Any]) -> Float:
    """A nullable column as floats; what is no number becomes NaN, and its event is refused."""
    return np.array([v if isinstance(v, (int, float)) else np.nan for v in values.tolist()], dtype=np.float64)


def _check(
    where: str, names: tuple[str, ...], tables: Sequence[Running | Latest], stream: str, label: str | None
) -> None:
    doubled = [t.name for t in tables]
    if len(set(doubled)) != len(doubled):
        raise SubmissionError("a table is named twice", where=where, got=", ".join(doubled))
    if len(set(names)) != len(names) or not names:
        raise SubmissionError("features must be named, once each", where=where, got=", ".join(names))
    if label is not None and label in names:
        raise SubmissionError("the label is among the features", where=where, got=label)
    for table in tables:
        if isinstance(table, Latest) and table.stream in (stream, f"labels.{stream}"):
            raise SubmissionError("a Latest table of the job's own stream", where=where, got=table.name)


def _micros(where: str, what: str, seconds: float) -> int:
    if not seconds > 0:
        raise SubmissionError(f"{what} must be positive", where=where, wanted="seconds", got=str(seconds))
    return round(seconds * SECOND)


def _format(where: str, output: str) -> Any:
    if output not in ("json", "arrow"):
        raise SubmissionError("unknown output format", where=where, wanted="json or arrow", got=output)
    return output

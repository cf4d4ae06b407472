"""The recipe of the metrics of answers as they were served: an endpoint's logged predictions, joined with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.classifier import DAY, Positive, label_rule
from streams.drift import DriftMonitor
from streams.join import Waiting
from streams.learning import DRIFT, METRICS, Counts, Plan, State
from streams.scoreboard import Scoreboard
from streams.table import Tables
from streams.walk import Walk
from tidemill.endpoint import Known
from tidemill.errors import NotFiniteError, SubmissionError
from tidemill.job import Effects, Input, Job, Output
from tidemill.learner import LEARN
from tidemill.order import Arrival, Batch, EventTime, Order
from tidemill.time import SECOND

Float = NDArray[np.float64]


class AsServed:
    """Stands where a learner stands: its prediction of a row is the score that was served, and it learns nothing."""

    def run_block(self, ops: NDArray[np.uint8], X: Float, y: Float, w: Float | None = None) -> Float:
        return np.where(ops == LEARN, np.nan, X[:, 0])

    def params(self) -> dict[str, Any]:
        return {}

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        pass


class ServedState(State):
    """The state of such a job."""

    learner: AsServed


def served_metrics(
    *,
    endpoint: str,
    stream: str,
    name: str | None = None,
    positive: Positive = True,
    order: Order | None = None,
    timeout: float = 7 * DAY,
    corrections: float = DAY,
    max_waiting: int = 200_000,
    metrics: Mapping[str, Any] | None = None,
    metrics_every: int = 100,
    drift: str | None = "adwin",
) -> Job[Any]:
    """A job that joins `predictions.<endpoint>` with `labels.<stream>` by event id, and emits on `metrics.<name>`
    (default name: `<endpoint>-served`) a `metrics.measured.v1` for all answers together and for each model version
    over the answers it gave, every `metrics_every` labels; the event's `model` is the endpoint.

    What becomes of labels that are early, late, missing or corrected is as in `streams.classifier`. An answer served
    twice under one id counts once, as it was served last. A score outside [0, 1] is dead-lettered.
    """
    job = name or f"{endpoint}-served"
    if min(timeout, max_waiting, metrics_every) <= 0 or corrections < 0:
        raise SubmissionError("times and counts must be positive", where=f"job {job}")
    order = order or EventTime()
    plan = Plan(
        model=endpoint,
        stream=f"predictions.{endpoint}",
        feature_names=("score",),
        features=score_of,
        features_block=None,
        label_field=None,
        label_stream=f"labels.{stream}",
        label_of=label_rule(positive),
        weights=(1.0, 1.0),
        stats=(),
        latest=(),
        timeout=round(timeout * SECOND),
        corrections=round(corrections * SECOND),
        relearn=False,
        max_waiting=max_waiting,
        wait_for_event=isinstance(order, Arrival),
        version_labels=None,
        version_time=None,
        metrics_labels=metrics_every,
        log_features=False,
        model_version=lambda event: str(event["version"]),
        emits=False,
    )

    def init() -> ServedState:
        return ServedState(
            learner=AsServed(),
            tables=Tables({}),
            waiting=Waiting.of(1),
            board=Scoreboard.of(metrics or {}),
            counts=Counts(),
            drift=None if drift is None else DriftMonitor(drift),
        )

    def step(state: ServedState, batch: Batch) -> Effects[Any]:
        return Walk(plan, state).over(batch)

    return Job(
        name=job,
        reads=(Input(plan.stream), Input(f"labels.{stream}")),
        writes=(
            Output(METRICS, f"metrics.{job}", "metrics.measured.v1", key="model"),
            Output(DRIFT, f"metrics.{job}", "drift.detected.v1", key="model"),
        ),
        step=step,
        init=init,
        state=ServedState,
        order=order,
    )


def score_of(event: Mapping[str, Any], known: Known) -> Sequence[float]:
    """The served score, as the one feature. Raises `NotFiniteError` where it is no probability."""
    score = event["score"]
    if not 0.0 <= score <= 1.0:
        raise NotFiniteError(
            "a score is not a probability", wanted="a number in [0, 1]", got=repr(score), field="score"
        )
    return (score,)

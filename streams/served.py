"""The recipe of the metrics of answers as they were served: an endpoint's logged predictions, joined with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.drift import DriftMonitor
from streams.join import Waiting
from streams.learning import DRIFT, MEASURED, METRICS, Counts, Plan, State
from streams.recipe import DAY, Positive, job_of, label_rule
from streams.scoreboard import Scoreboard
from streams.table import Tables
from streams.walk import Walk
from tidemill.endpoint import Known
from tidemill.errors import NotFiniteError, SubmissionError
from tidemill.job import Effects, Input, Job, Output
from tidemill.learner import LEARN
from tidemill.order import Arrival, Batch, Order
from tidemill.time import MAX_TIME, SECOND

Float = NDArray[np.float64]

KEPT = 32
"""Versions whose answers are measured apart; labels of older ones count in the whole."""


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


@dataclass(frozen=True, kw_only=True)
class ServedMetrics:
    """A job that joins `predictions.<endpoint>` with `labels.<stream>` by event id, and emits on `metrics.<name>`
    (default name: `<endpoint>-served`) a `metrics.measured.v1` for all answers together and for each model version
    over the answers it gave; the event's `model` is the endpoint, its `version` is `MODEL@VERSION`, for an endpoint can
    move to another model. They come every `metrics_every` labels, and from 1,000 times as many labels on after each
    thousandth of them. The newest `KEPT` versions are measured apart. With `label`, the events of the stream are read
    too, and that field of theirs is a label about the event's own id.

    **Labels.** Most name events that nobody asked about: those are counted (`orphans`) and not dead-lettered. A label
    may come before the record of the answer. What becomes of a second label is as in `streams.classifier`. An answer
    given twice under one id counts once, as it was given last before the label was read. A score outside [0, 1] is
    dead-lettered.

    **Time.** Answers come in at any time about events of any time, so the order is that of arrival, and an answer waits
    for its label until `max_waiting` newer ones wait too; with `timeout`, that many seconds of event time at most.
    """

    endpoint: str
    stream: str
    name: str = ""
    label: str | None = None
    positive: Positive = True
    order: Order = field(default_factory=lambda: Arrival(dedupe=0, max_ahead=MAX_TIME // 2))
    timeout: float | None = None
    corrections: float = DAY
    max_waiting: int = 200_000
    metrics: Mapping[str, Any] = field(default_factory=dict)
    metrics_every: int = 1
    drift: str | None = "adwin"

    def job(self) -> Job[Any]:
        """The job. Raises `SubmissionError` where times or counts are not positive."""
        name = self.name or f"{self.endpoint}-served"
        if (
            min(1 if self.timeout is None else self.timeout, self.max_waiting, self.metrics_every) <= 0
            or self.corrections < 0
        ):
            raise SubmissionError("times and counts must be positive", where=f"job {name}")
        plan = self.plan()
        reads = [plan.stream, f"labels.{self.stream}", *([self.stream] if self.label else [])]

        def init() -> ServedState:
            return ServedState(
                learner=AsServed(),
                tables=Tables({}),
                waiting=Waiting.of(1),
                board=Scoreboard.of(self.metrics),
                counts=Counts(),
                drift=None if self.drift is None else DriftMonitor(self.drift),
            )

        def step(state: ServedState, batch: Batch) -> Effects[Any]:
            return Walk(plan, state).over(batch)

        return Job(
            name=name,
            reads=tuple(Input(s, label=self.label if s == self.stream else None) for s in reads),
            writes=(
                Output(METRICS, f"metrics.{name}", "metrics.measured.v1", key="model", made=MEASURED),
                Output(DRIFT, f"metrics.{name}", "drift.detected.v1", key="model", made=MEASURED),
            ),
            step=step,
            init=init,
            state=ServedState,
            order=self.order,
        )

    def plan(self) -> Plan:
        """What the step is asked to do: the score is the one feature, and stands as the prediction."""
        return Plan(
            model=self.endpoint,
            stream=f"predictions.{self.endpoint}",
            feature_names=("score",),
            features=score_of,
            features_block=None,
            label_field=None,
            label_stream=f"labels.{self.stream}",
            label_of=label_rule(self.positive),
            weights=(1.0, 1.0),
            stats=(),
            latest=(),
            timeout=2 * MAX_TIME if self.timeout is None else round(self.timeout * SECOND),
            corrections=round(self.corrections * SECOND),
            relearn=False,
            max_waiting=self.max_waiting,
            wait_for_event=isinstance(self.order, Arrival),
            version_labels=None,
            version_time=None,
            metrics_labels=self.metrics_every,
            log_features=False,
            model_version=lambda event: f"{event['model']}@{event['version']}",
            emits=False,
            labelled=None if self.label is None else (self.stream, self.label),
            strangers=True,
            metrics_share=0.001,
            kept_versions=KEPT,
        )


served_metrics = job_of(ServedMetrics)
"""The job of a `ServedMetrics` with the settings given."""


def score_of(event: Mapping[str, Any], known: Known) -> Sequence[float]:
    """The served score, as the one feature. Raises `NotFiniteError` where it is no probability."""
    score = event["score"]
    if not 0.0 <= score <= 1.0:
        raise NotFiniteError(
            "a score is not a probability", wanted="a number in [0, 1]", got=repr(score), field="score"
        )
    return (score,)

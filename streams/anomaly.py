"""The recipe of an anomaly detector: score each event, then learn from it, and measure where labels come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streams.classifier import OnlineClassifier
from streams.learners.deviation import Deviation
from streams.recipe import DAY
from tidemill.job import Job
from tidemill.learner import Learner


def anomaly_detector(
    *, learner: Callable[[Sequence[str]], Learner] = Deviation, version_seconds: float = DAY, **settings: Any
) -> Job[Any]:
    """The job of an online anomaly detector: each event is scored, and then learned, whether it has a label or not.

    `learner` makes the detector from the features' names: one that learns without labels, with scores in [0, 1] that
    are higher for odder rows. River's half-space trees are one, through `RiverLearner`; but their state is large, and
    each commit saves it. `settings` are those of `OnlineClassifier`, which it is but for this: labels, in a field of
    the event or on `labels.<stream>`, are never learned; they only measure the scores as they were made. Of
    `metrics.measured.v1`, ROC AUC, PR AUC and recall at the alert budget have a meaning: a score is no probability.
    A version is cut at multiples of `version_seconds` of event time.

    Raises `SubmissionError` where these do not fit together.
    """
    defaults: dict[str, Any] = {"drift": None, "version_every": None, "supervised": False}
    return OnlineClassifier(**{**defaults, "learner": learner, "version_seconds": version_seconds, **settings}).job()

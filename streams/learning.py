"""What an online learning job is made of: the plan that a recipe writes, and the state that the step changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.drift import DriftMonitor
from streams.join import Latest, Waiting
from streams.scoreboard import KEPT_VERSIONS, Scoreboard
from streams.stats import Running
from streams.table import Tables
from tidemill.block import Block, Place
from tidemill.endpoint import Known
from tidemill.job import REPLAYED, ModelContent
from tidemill.learner import Learner
from tidemill.log import TopicSpec
from tidemill.time import MIN_TIME

Float = NDArray[np.float64]
Features = Callable[[Mapping[str, Any], Known], Sequence[float]]
BlockFeatures = Callable[[Block], Float]

PREDICTIONS, METRICS, DRIFT = "predictions", "metrics", "drift"

MEASURED = TopicSpec(retention_bytes=1 << 30)
"""Of measurements about the newest million is kept: people look at them, and nothing is rebuilt from them."""


class Early(msgspec.Struct, array_like=True):
    """A label that came before its event (order `arrival`), until the event comes."""

    number: int
    since: int
    time: int
    value: float
    place: Place


class Counts(msgspec.Struct):
    """What became of predictions and labels."""

    predicted: int = 0
    learned: int = 0
    unlabelled: int = 0
    evicted: int = 0
    corrected: int = 0
    repeated: int = 0
    orphans: int = 0


class State(msgspec.Struct):
    """The state of an online learning job. A recipe's own type narrows `learner` to its class, so that it can be read
    back. `version` is the newest cut, 0 before the first; `after` the highest number before the job began; `began`
    names the first event, where there are several groups."""

    learner: Any
    tables: Tables
    waiting: Waiting
    board: Scoreboard
    counts: Counts
    drift: DriftMonitor | None = None
    early: dict[str, Early] = {}
    early_number: int = 0
    clock: int = MIN_TIME
    last: tuple[int, str, str] = (MIN_TIME, "", "")
    version: int = 0
    after: int = 0
    cut_due: int | None = None
    uncut: int = 0
    unmeasured: int = 0
    began: str = ""

    def __post_init__(self) -> None:
        # Canonical bytes sort by name; deadlines need the order of coming.
        self.early = dict(sorted(self.early.items(), key=lambda item: item[1].number))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a recipe asks of the step. Times in microseconds; `label_field` and `label_stream` exclude each
    other. `model_version` tells who made a prediction, where that is not the job itself; without `emits`, predictions
    are not emitted. Without `supervised`, what is predicted is learned at once, and labels only measure. `labelled`
    names another stream, and the field that holds an event's label, about its id. With `strangers`, most labels are
    about events that are not predicted here: they are counted, not dead-lettered. With `metrics_share`, measurements
    come no sooner than after that part of all labels so far. Without `bulk`, every label is taken up by itself."""

    model: str
    stream: str
    feature_names: tuple[str, ...]
    features: Features
    features_block: BlockFeatures | None
    label_field: str | None
    label_stream: str | None
    label_of: Callable[[Any], float]
    weights: tuple[float, float]
    stats: tuple[Running, ...]
    latest: tuple[Latest, ...]
    timeout: int
    corrections: int
    relearn: bool
    max_waiting: int
    wait_for_event: bool
    version_labels: int | None
    version_time: int | None
    metrics_labels: int
    log_features: bool
    model_version: Callable[[Mapping[str, Any]], str] | None = None
    emits: bool = True
    supervised: bool = True
    labelled: tuple[str, str] | None = None
    strangers: bool = False
    metrics_share: float = 0.0
    kept_versions: int = KEPT_VERSIONS
    bulk: bool = True

    def measure_after(self, learned: int) -> int:
        """How many labels a measurement waits for where `learned` have come in all."""
        return max(self.metrics_labels, int(learned * self.metrics_share))

    @property
    def in_bulk(self) -> bool:
        """Whether whole blocks can be learned as they are: features are columns, the label a field, and no more."""
        columns = self.features_block is not None and self.label_field is not None
        return self.bulk and columns and not self.stats and not self.latest


def content_of(learner: Learner) -> ModelContent:
    """The learner as plain data; of one that cannot be saved, what it is and the digest of all its answers. One that is
    served as something else says so by `content()`."""
    if (content := getattr(learner, "content", None)) is not None:
        served: ModelContent = content()
        return served
    kind = f"{type(learner).__module__}:{type(learner).__qualname__}"
    if cannot_save(learner):
        state = {"answers": cast(Any, learner).answers()}
        return ModelContent(REPLAYED, {"learner": kind, "features": list(learner.features)}, state)
    return ModelContent(kind, learner.params(), learner.state())


def cannot_save(learner: Learner) -> str:
    """Why the learner's state cannot be saved; empty where it can. One that says so has `answers()`, the digest of all
    it answered."""
    return getattr(learner, "cannot_save", None) or ""

"""The recipe of an online binary classifier: predict each event, wait for its label, learn, measure, publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.drift import DriftMonitor
from streams.join import Latest, Waiting
from streams.learners.keyed import KeyedLogistic, key_code
from streams.learners.logistic import ScaledLogistic
from streams.learning import (
    DRIFT,
    MEASURED,
    METRICS,
    PREDICTIONS,
    BlockFeatures,
    Counts,
    Features,
    Plan,
    State,
    cannot_save,
    content_of,
)
from streams.recipe import DAY, Positive, job_of, label_rule, named
from streams.scoreboard import Scoreboard
from streams.served import ServedMetrics
from streams.stats import Running
from streams.table import Tables
from streams.walk import Walk
from tidemill.block import Block
from tidemill.endpoint import Endpoint, Known
from tidemill.errors import SubmissionError
from tidemill.job import Effects, Input, Job, Live, Output
from tidemill.learner import Learner
from tidemill.order import Arrival, Batch, EventTime, Order
from tidemill.stream import StreamSpec
from tidemill.time import SECOND

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class OnlineClassifier:
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
    the counts above and the memory of waiting predictions, and of each version over its own predictions; there too, a
    `drift.detected.v1` where the rate of wrong predictions changed (`value`: by how much), as the detector `drift` of
    `streams.drift` finds it. A model version every `version_every` labels, and at multiples of `version_seconds` of
    event time if anything was learned.

    **Keyed models.** With `per`, a field of the event, every value of it has a model of its own (`KeyedLogistic`, or a
    `learner` that goes by key); an event where it is null is dead-lettered. They are published and served as one. With
    `groups` above 1 they are learned in so many groups, which an engine may spread over machines: then the label must
    be a field of the event, there are no `tables`, and no versions, deltas or endpoint, for no place holds all models.

    Without `supervised`, every event is learned as soon as it is scored, and labels only measure
    (`streams.anomaly.anomaly_detector`).

    **A learner that cannot be saved** (a River estimator that holds a function of the user's, say) runs too: after a
    restart it is rebuilt by replaying the job's input. Its versions hold the digest of all that it answered, which a
    rebuild must equal; they cannot be served, and there are no deltas.

    `positive` is the label value of class 1, or a function of the value. `learner` makes the learner from the feature
    names. `class_weights` are those of class 0 and 1, for learning and for metrics; `metrics` are settings of
    `streams.metrics.Prequential`. `endpoint` names the scoring endpoint (default: the stream).

    Raises `SubmissionError` where these do not fit together.
    """

    name: str
    stream: str
    features: Sequence[str] | Features
    feature_names: Sequence[str] = ()
    features_block: BlockFeatures | None = None
    label: str | None = None
    positive: Positive = True
    learner: Callable[[Sequence[str]], Learner] | None = None
    per: str | None = None
    groups: int = 1
    supervised: bool = True
    tables: Sequence[Running | Latest] = ()
    order: Order = field(default_factory=EventTime)
    history: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 7 * DAY
    corrections: float = DAY
    relearn: bool = False
    max_waiting: int = 200_000
    class_weights: tuple[float, float] = (1.0, 1.0)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    metrics_every: int = 1_000
    drift: str | None = "adwin"
    version_every: int | None = 10_000
    version_seconds: float | None = None
    log_features: bool = True
    output: Literal["json", "arrow"] = "json"
    endpoint: str | None = None
    optional: Sequence[str] = ()
    commit_every: float = 0.5

    def job(self) -> Job[Any]:
        """The job. Raises `SubmissionError` where the settings do not fit together."""
        _check(self)
        plan, make, alone = self.plan(), self.make_learner, self.groups == 1
        learner = make(self.names)
        kind, unsaved = type(learner), cannot_save(learner)
        state_type = msgspec.defstruct("State", [("learner", kind)], bases=(State,), module=__name__, kw_only=True)
        settings = self.metric_settings()

        def init() -> Any:
            return state_type(
                learner=make(plan.feature_names),
                tables=Tables({t.name: t.table() for t in self.tables}),
                waiting=Waiting.of(len(plan.feature_names)),
                board=Scoreboard.of(settings),
                counts=Counts(),
                drift=None if self.drift is None else DriftMonitor(self.drift),
            )

        def step(state: Any, batch: Batch) -> Effects[Any]:
            effects = Walk(plan, state).over(batch)
            return effects if alone else named_by_group(effects, batch)

        def warm() -> None:
            # On a learner and a scoreboard of their own: compiled code is shared, state is not.
            if not unsaved:  # a user's own function in it may take no zeros
                make(plan.feature_names).learn_block(np.zeros((1, len(self.names))), np.zeros(1))
            Scoreboard.of(settings).add(np.zeros(1), np.full(1, 0.5), np.zeros(1), [""])

        topic = f"predictions.{self.name}"
        return Job(
            name=self.name,
            reads=tuple(
                Input(
                    s,
                    key=None if alone else self.per,
                    history=self.history.get(s),
                    fields=self.asks(s),
                    types=self.types(s),
                    label=self.label if s == self.stream else None,
                )
                for s in self.reads
            ),
            writes=(
                Output(PREDICTIONS, topic, "prediction.made.v1", key="about", format=self.output),
                Output(METRICS, f"metrics.{self.name}", "metrics.measured.v1", key="model", made=MEASURED),
                Output(DRIFT, f"metrics.{self.name}", "drift.detected.v1", key="model", made=MEASURED),
            ),
            step=step,
            init=init,
            versions_after=lambda state, number: setattr(state, "after", number),
            state=state_type,
            groups=self.groups,
            order=self.order,
            needs=frozenset({"versions", "deltas"} if alone else ()),
            live=Live(
                models=lambda state: {plan.model: content_of(state.learner)} if alone and not unsaved else {},
                tables=lambda state: state.tables.by_name,
            ),
            endpoint=replace(self.serves(), unserved=unsaved) if alone else None,
            cannot_save=unsaved,
            commit_every=self.commit_every,
            warm=warm,
            exact_merge=kind.exact_merge,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in the model's order."""
        names = tuple(self.feature_names if callable(self.features) else self.features)
        return names if self.per is None else (f"{self.per}#", *names)

    @property
    def make_learner(self) -> Callable[[Sequence[str]], Learner]:
        """What makes the learner of the features' names."""
        return self.learner or (ScaledLogistic if self.per is None else KeyedLogistic)

    @property
    def reads(self) -> tuple[str, ...]:
        """The streams it reads."""
        labels = [] if self.label else [f"labels.{self.stream}"]
        return tuple(dict.fromkeys([self.stream, *labels, *(t.stream for t in self.tables if isinstance(t, Latest))]))

    def asks(self, stream: str) -> tuple[tuple[str, str], ...]:
        """The fields of a stream that the settings name, and which setting does. What a function of yours looks up is
        not known before it runs."""
        asked: list[tuple[str, str]] = []
        if stream == self.stream:
            asked += [(name, what) for name, what in ((self.label, "label"), (self.per, "per")) if name]
            asked += [] if callable(self.features) else [(name, "features") for name in self.features]
        for table in self.tables:
            where = f"table {table.name!r}"
            if isinstance(table, Latest):
                names = (*table.key, *table.fields) if table.stream == stream else ()
            else:
                names = (*table.key, *([table.field] if table.field else [])) if stream == self.stream else ()
            asked += [(name, where) for name in names]
        return tuple(dict.fromkeys(asked))

    def types(self, stream: str) -> tuple[tuple[str, Literal["number", "text"]], ...]:
        """What the fields of its own stream must be that are computed with, and the label that is compared."""
        if stream != self.stream:
            return ()
        numbers = [] if callable(self.features) else [*self.features]
        numbers += [t.field for t in self.tables if isinstance(t, Running) and t.field]
        types: dict[str, Literal["number", "text"]] = dict.fromkeys(numbers, "number")
        if self.label and not callable(self.positive):
            types[self.label] = "text" if isinstance(self.positive, str) else "number"
        return tuple(types.items())

    def functions(self) -> tuple[Features, BlockFeatures | None]:
        """The features of one event, and of a block where there is such a form."""
        if callable(self.features):
            features, block = self.features, self.features_block
        else:
            features, block = of_fields(tuple(self.features)), of_columns(tuple(self.features))
        return (features, block) if self.per is None else with_key(self.per, features, block)

    def serves(self) -> Endpoint:
        """How serving answers for the model."""
        return Endpoint(
            name=self.endpoint or self.stream,
            stream=self.stream,
            model=self.name,
            job=self.name,
            feature_names=self.names,
            features=self.functions()[0],
            optional=frozenset([*self.optional, *([self.label] if self.label else [])]),
            needs=None if callable(self.features) else frozenset([*self.features, *([self.per] if self.per else [])]),
            measured=self.measured,
            positive=named(self.positive) if self.supervised else "",
        )

    def measured(self, spec: StreamSpec) -> Job[Any]:
        """The job that measures the endpoint's answers, by the label rule and the metrics of this one. Labels in the
        events themselves can name an answer only where `spec` has an id."""
        return ServedMetrics(
            endpoint=self.endpoint or self.stream,
            stream=self.stream,
            label=self.label if spec.id is not None else None,
            positive=self.positive,
            corrections=self.corrections,
            metrics=self.metric_settings(),
            drift=self.drift,
        ).job()

    def metric_settings(self) -> dict[str, Any]:
        """Those of `streams.metrics.Prequential`."""
        return {"weight_neg": self.class_weights[0], "weight_pos": self.class_weights[1], **self.metrics}

    def plan(self) -> Plan:
        """What the step is asked to do."""
        features, features_block = self.functions()
        return Plan(
            model=self.name,
            stream=self.stream,
            feature_names=self.names,
            features=features,
            features_block=features_block,
            label_field=self.label,
            label_stream=None if self.label else f"labels.{self.stream}",
            label_of=label_rule(self.positive),
            weights=self.class_weights,
            stats=tuple(t for t in self.tables if isinstance(t, Running)),
            latest=tuple(t for t in self.tables if isinstance(t, Latest)),
            timeout=round(self.timeout * SECOND),
            corrections=round(self.corrections * SECOND),
            relearn=self.relearn,
            max_waiting=self.max_waiting,
            wait_for_event=isinstance(self.order, Arrival),
            version_labels=self.version_every if self.groups == 1 else None,
            version_time=None
            if self.version_seconds is None or self.groups > 1
            else round(self.version_seconds * SECOND),
            metrics_labels=self.metrics_every,
            log_features=self.log_features,
            supervised=self.supervised,
        )


online_classifier = job_of(OnlineClassifier)
"""The job of an `OnlineClassifier` with the settings given."""


def of_fields(fields: tuple[str, ...]) -> Features:
    """The features of one event: these numeric fields. A null becomes NaN, and the event is refused."""

    def features(event: Mapping[str, Any], known: Known) -> Sequence[float]:
        return [np.nan if event[f] is None else float(event[f]) for f in fields]

    return features


def of_columns(fields: tuple[str, ...]) -> BlockFeatures:
    """The same of a block, without Python per event."""

    def features(block: Block) -> Float:
        columns = [block.columns[f] for f in fields]
        return np.stack([c.astype(np.float64) if c.dtype != np.object_ else _floats(c) for c in columns], axis=1)

    return features


def with_key(per: str, features: Features, block: BlockFeatures | None) -> tuple[Features, BlockFeatures | None]:
    """The same features with the number of the key before them."""

    def of_event(event: Mapping[str, Any], known: Known) -> Sequence[float]:
        return [key_code(event[per]), *features(event, known)]

    def of_block(events: Block) -> Float:
        assert block is not None
        codes = [key_code(key) for key in events.columns[per].tolist()]
        return np.column_stack([np.array(codes, dtype=np.float64), block(events)])

    return of_event, None if block is None else of_block


def named_by_group(effects: Effects[Any], batch: Batch) -> Effects[Any]:
    """The effects of one of several groups: what it measured is named by its first event, for counts may be equal."""
    state = effects.state
    if not state.began and len(batch):
        first = batch.blocks[batch.streams[batch.kind[0]]]
        state.began = f"{first.sources[0]}/{first.ids[0]}"
    for rows in effects.emit:
        if rows.output != PREDICTIONS:
            rows.ids = [f"{id}/{state.began}" for id in rows.ids]
    return effects


def _floats(values: NDArray[Any]) -> Float:
    return np.array([v if isinstance(v, (int, float)) else np.nan for v in values.tolist()], dtype=np.float64)


def _check(recipe: OnlineClassifier) -> None:
    def refuse(message: str, got: str = "", fix: str = "") -> None:
        raise SubmissionError(message, where=f"job {recipe.name}", got=got, fix=fix)

    names, tables = recipe.names, [t.name for t in recipe.tables]
    if not names or len(set(names)) != len(names):
        refuse("features must be named, once each", ", ".join(names), "Give feature_names with a features function")
    if not callable(recipe.features) and (recipe.feature_names or recipe.features_block):
        refuse("feature_names and features_block belong to a features function")
    if recipe.label in names:
        refuse("the label is among the features", str(recipe.label))
    if len(set(tables)) != len(tables):
        refuse("a table is named twice", ", ".join(tables))
    for table in recipe.tables:
        if isinstance(table, Latest) and table.stream in (recipe.stream, f"labels.{recipe.stream}"):
            refuse("a Latest table of the job's own stream", table.name)
    if (recipe.endpoint or recipe.stream) == recipe.name:
        refuse(
            "job and endpoint have one name, so their predictions would share a topic",
            recipe.name,
            "Name the job, or endpoint=, otherwise",
        )
    learner = recipe.make_learner(names)
    if recipe.per is not None and not getattr(learner, "by_key", False):
        refuse("the learner knows no keys", type(learner).__name__, "Use KeyedLogistic, or leave `per` out")
    if recipe.groups > 1 and (recipe.per is None or recipe.label is None or recipe.tables):
        refuse("several groups want models per key, labels in the event and no tables", f"groups={recipe.groups}")
    wanted = "classifier" if recipe.supervised else "anomaly"
    if (kind := getattr(learner, "kind", wanted)) != wanted:
        refuse("the learner is of another kind", kind, f"Use one that is a {wanted} learner")
    if not recipe.supervised and recipe.version_every is not None:
        refuse("versions of what learns without labels are cut by event time", "version_every", "Use version_seconds")
    if recipe.class_weights != (1.0, 1.0) and not getattr(learner, "takes_weights", True):
        refuse("class weights for a learner that takes none", type(learner).__name__)
    bounds = (recipe.timeout, recipe.version_seconds or 1, recipe.version_every or 1)
    if min(*bounds, recipe.metrics_every, recipe.max_waiting) <= 0 or recipe.corrections < 0:
        refuse("times and counts must be positive")
    if recipe.output not in ("json", "arrow"):
        refuse("unknown output format, wanted json or arrow", recipe.output)

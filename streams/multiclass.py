"""The recipe of an online classifier of several classes: a softmax head on numbers that each event brings along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.classifier import of_fields
from streams.drift import DriftMonitor, DriftPoint
from streams.join import Entry, Waiting
from streams.learners.softmax import Softmax
from streams.learning import DRIFT, MEASURED, METRICS, PREDICTIONS, Features, content_of
from streams.recipe import job_of
from streams.regions import PREDICTED, watch
from streams.tally import Tally
from tidemill.endpoint import Endpoint, Known
from tidemill.errors import BadEvent, NotFiniteError, OrphanError, SubmissionError, WrongTypeError
from tidemill.job import Effects, Input, InputEvent, Job, Live, Out, Output, VersionCut, events_of
from tidemill.learner import LARGEST
from tidemill.order import Arrival, Batch, Order
from tidemill.time import MIN_TIME, SECOND

Float = NDArray[np.float64]


class State(msgspec.Struct):
    """The state of such a job. A waiting prediction's row is its features and then its probabilities. `early` are
    labels that came before their event: class and order of coming. Where regions are told apart by a field, a waiting
    entry's keys are that field and its value. `regions` and `uses` are by `by` (see `streams.regions`)."""

    learner: Softmax
    waiting: Waiting
    tally: Tally = msgspec.field(default_factory=Tally)
    drift: DriftMonitor | None = None
    by: str = ""
    regions: dict[str, DriftMonitor] = {}
    uses: dict[str, int] = {}
    early: dict[str, tuple[int, int, int]] = {}
    came: int = 0
    clock: int = MIN_TIME
    version: int = 0
    after: int = 0
    uncut: int = 0
    unscored: int = 0

    def __post_init__(self) -> None:
        # Canonical bytes sort by name; the oldest is dropped first.
        self.early = dict(sorted(self.early.items(), key=lambda item: item[1][2]))


@dataclass(frozen=True, kw_only=True)
class OnlineMulticlass:
    """A job that learns which of `classes` each event of stream `stream` is, from labels on `labels.<stream>`, while it
    predicts it: `streams.learners.softmax.Softmax` on the event's features, such as the embedding of an image by a
    network that stays as it is.

    **Features** are names of numeric fields, or a function `(event, known) -> row` with `feature_names`; `of_list`
    makes one of a `json` field that holds a list of numbers. An event whose features cannot be made, or are not finite,
    is dead-lettered.

    **Labels.** The value is one of `classes`, as text or a whole number; any other is dead-lettered. A label is learned
    on the features as they were at the prediction, and scored against the prediction as it was made. A second one about
    the same event: equal, it is counted (`repeated`); other, it is counted (`corrected`) and learned in place of the
    first (see `Softmax`); null, it is counted (`withdrawn`), and what was learned stays. A label before its event waits
    for it under order `Arrival` (default), else it is dead-lettered as an orphan. At most `max_waiting` predictions
    wait for a label, as many labelled ones are kept for corrections, and as many early labels; beyond, the oldest is
    dropped and counted.

    **What it emits.** `predictions.<name>`: one `prediction.made.v1` an event, whose `outputs` are the probabilities
    of all classes and whose `score` is the last of them. With `rescore_every`, after so many labels every prediction
    that waits is made anew by the model as it then is (id `<event>#<labels>`): what is to be labelled next is chosen
    by these (`streams.labelling`). Metrics count first predictions only. On `metrics.<name>`, a `metrics.measured.v1`
    every `metrics_every` labels, and a `drift.detected.v1` where the rate of wrong predictions changed: of all, and
    with `drift_by` of each region too, which is a value of that field, or with `"@class"` a predicted class (see
    `streams.regions`). A model version at the first label and then every `version_every`; between versions, deltas.

    `learner` are further settings of `Softmax`. `endpoint` names the scoring endpoint (default: the stream), whose
    answers hold all probabilities. Raises `SubmissionError` where the settings do not fit together.
    """

    name: str
    stream: str
    features: Sequence[str] | Features
    classes: Sequence[str]
    feature_names: Sequence[str] = ()
    learner: Mapping[str, Any] = field(default_factory=dict)
    order: Order = field(default_factory=Arrival)
    max_waiting: int = 20_000
    metrics_every: int = 50
    version_every: int = 500
    rescore_every: int | None = None
    drift: str | None = "adwin"
    drift_by: str | None = None
    log_features: bool = False
    endpoint: str | None = None
    optional: Sequence[str] = ()
    commit_every: float = 0.5

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in the model's order."""
        return tuple(self.feature_names if callable(self.features) else self.features)

    @property
    def drift_field(self) -> str:
        """The field by whose values regions are told apart; empty where there are none, or by the predicted class."""
        return "" if self.drift_by in (None, PREDICTED) else str(self.drift_by)

    def function(self) -> Features:
        """The features of one event."""
        return self.features if callable(self.features) else of_fields(tuple(self.features))

    def job(self) -> Job[State]:
        """The job. Raises `SubmissionError` where the settings do not fit together."""
        _check(self)

        def make() -> Softmax:
            return Softmax(self.names, classes=self.classes, **self.learner)

        def init() -> State:
            monitor = None if self.drift is None else DriftMonitor(self.drift)
            return State(make(), Waiting.of(len(self.names) + len(self.classes)), drift=monitor)

        def step(state: State, batch: Batch) -> Effects[State]:
            return _Turn(self, state).over(batch)

        def warm() -> None:
            make().learn_block(np.zeros((1, len(self.names))), np.zeros(1))

        asks = () if callable(self.features) else tuple((name, "features") for name in self.features)
        asks += ((self.drift_field, "drift_by"),) if self.drift_field else ()
        types = () if callable(self.features) else tuple((name, "number") for name in self.features)
        return Job(
            name=self.name,
            reads=(Input(self.stream, fields=asks, types=types), Input(f"labels.{self.stream}")),  # type: ignore[arg-type]
            writes=(
                Output(PREDICTIONS, f"predictions.{self.name}", "prediction.made.v1", key="about"),
                Output(METRICS, f"metrics.{self.name}", "metrics.measured.v1", key="model", made=MEASURED),
                Output(DRIFT, f"metrics.{self.name}", "drift.detected.v1", key="model", made=MEASURED),
            ),
            step=step,
            init=init,
            state=State,
            order=self.order,
            live=Live(models=lambda state: {self.name: content_of(state.learner)}),
            needs=frozenset({"versions", "deltas"}),
            commit_every=self.commit_every,
            endpoint=self.serves(),
            warm=warm,
            exact_merge=False,
            versions_after=lambda state, number: setattr(state, "after", number),
        )

    def serves(self) -> Endpoint:
        """How serving answers for the model."""
        return Endpoint(
            name=self.endpoint or self.stream,
            stream=self.stream,
            model=self.name,
            job=self.name,
            feature_names=self.names,
            features=self.function(),
            optional=frozenset(self.optional),
            needs=None if callable(self.features) else frozenset(self.features),
        )


online_multiclass = job_of(OnlineMulticlass)
"""The job of an `OnlineMulticlass` with the settings given."""


def of_list(name: str, width: int) -> tuple[Features, tuple[str, ...]]:
    """The features function and the feature names of a `json` field that holds a list of `width` numbers."""

    def features(event: Mapping[str, Any], known: Known) -> Sequence[float]:
        values = event[name]
        if not isinstance(values, list) or len(values) != width:
            got = f"{len(values)} values" if isinstance(values, list) else repr(values)[:80]
            raise WrongTypeError("not the numbers of an embedding", wanted=f"a list of {width}", got=got, field=name)
        return values

    return features, tuple(f"{name}{i}" for i in range(width))


class _Nothing:
    """There are no tables to look into."""

    def get(self, table: str, key: str) -> Mapping[str, Any] | None:
        return None


class _Turn:
    """One step over one batch."""

    def __init__(self, recipe: OnlineMulticlass, state: State) -> None:
        self.recipe, self.state, self.out = recipe, state, Out()
        self.width = len(recipe.names)
        self.features = recipe.function()
        self.numbers = {name: i for i, name in enumerate(recipe.classes)}
        if state.by != (recipe.drift_by or ""):
            state.by, state.regions, state.uses = recipe.drift_by or "", {}, {}
        self.versions: list[VersionCut] = []

    def over(self, batch: Batch) -> Effects[State]:
        """Step the batch's events; there are no deadlines."""
        for event in events_of(batch):
            self.state.clock = max(self.state.clock, event.time)
            try:
                (self._event if event.stream == self.recipe.stream else self._label)(event)
            except BadEvent as error:
                self.out.refuse(event, error)
        return Effects(self.state, self.out.rows(), None, self.out.dead, self.versions)

    def _event(self, event: InputEvent) -> None:
        state, waiting = self.state, self.state.waiting
        row = self._row(event.data)
        p = state.learner.probabilities(row[None])[0]
        if (old := waiting.slots.get(event.id)) is not None:
            waiting.remove(old)
            state.tally.evicted += 1
        elif waiting.waiting >= self.recipe.max_waiting and (first := waiting.oldest()) is not None:
            waiting.remove(first)
            state.tally.evicted += 1
        field = self.recipe.drift_field
        keys = (field, str(event.data[field])) if field and event.data[field] is not None else ()
        slot = waiting.add(Entry(event.id, event.time, state.clock, str(state.version), keys))
        waiting.fill(np.array([slot]), np.concatenate([row, p])[None], p[-1:])
        state.tally.predicted += 1
        self._emit(event.id, event.id, event.time, p, row)
        if (early := state.early.pop(event.id, None)) is not None:
            self._learn(slot, early[0], early[1], event)

    def _label(self, event: InputEvent) -> None:
        state, about = self.state, event.data["about"]
        slot = state.waiting.slots.get(about)
        if event.data["value"] is None:
            state.early.pop(about, None)
            state.tally.withdrawn += 1
            return
        y = self._class(event.data["value"])
        if slot is not None:
            self._learn(slot, y, event.time, event)
            return
        if not isinstance(self.recipe.order, Arrival):
            state.tally.orphans += 1
            raise OrphanError("a label that names no prediction that is kept", got=repr(about)[:80])
        state.early.pop(about, None)
        if len(state.early) >= self.recipe.max_waiting:
            del state.early[next(iter(state.early))]
            state.tally.orphans += 1
        state.came += 1
        state.early[about] = (y, event.time, state.came)

    def _learn(self, slot: int, y: int, time: int, event: InputEvent) -> None:
        state, waiting, tally = self.state, self.state.waiting, self.state.tally
        entry = waiting.entries[slot]
        assert entry is not None
        row, p = waiting.X[slot, : self.width].copy(), waiting.X[slot, self.width :]
        if entry.label is not None:
            if entry.label == y:
                tally.repeated += 1
                return
            tally.corrected += 1
            entry.label = float(y)
        else:
            tally.learned += 1
            tally.add(p, y, (time - entry.time) / SECOND)
            self._watch(int(p.argmax()), y, entry.keys, time)
            if waiting.settled >= self.recipe.max_waiting and (first := waiting.oldest(settled=True)) is not None:
                waiting.remove(first)
            waiting.settle(slot, float(y), state.clock, keep=True)
        state.learner.learn_one(row, float(y))
        self._count(event)

    def _count(self, event: InputEvent) -> None:
        """A label was learned: rescore, measure and cut a version where it is due."""
        state, recipe, tally = self.state, self.recipe, self.state.tally
        learns = tally.learned + tally.corrected
        state.uncut += 1
        state.unscored += 1
        if learns % recipe.metrics_every == 0:
            told = {"model": recipe.name, "version": "", "count": tally.learned}
            told |= {"values": tally.values(), "calibration": tally.calibration()}
            self.out.emit(METRICS, f"{recipe.name}/{learns}", event.time, **told)
            tally.recent = [0, 0]
        if learns == 1 or state.uncut >= recipe.version_every:
            state.version = max(state.version, state.after) + 1
            state.uncut = 0
            last, content = (event.time, event.source, event.id), content_of(state.learner)
            self.versions.append(VersionCut(recipe.name, state.version, last, content, tally.values()))
        if recipe.rescore_every is not None and state.unscored >= recipe.rescore_every:
            state.unscored = 0
            self._rescore(learns, event.time)

    def _rescore(self, learns: int, time: int) -> None:
        """Every prediction that waits, made anew."""
        state = self.state
        slots = list(_queue(state.waiting))
        P = state.learner.probabilities(state.waiting.X[slots, : self.width]) if slots else ()
        for slot, p in zip(slots, P, strict=True):
            entry = state.waiting.entries[slot]
            assert entry is not None
            self._emit(f"{entry.id}#{learns}", entry.id, max(time, entry.time), p, state.waiting.X[slot, : self.width])

    def _emit(self, id: str, about: str, time: int, p: Float, row: Float) -> None:
        values = {"model": self.recipe.name, "version": str(self.state.version), "score": float(p[-1])}
        more = {"features": row.tolist()} if self.recipe.log_features else {}
        self.out.emit(PREDICTIONS, id, time, about=about, outputs=p.tolist(), **values, **more)

    def _watch(self, best: int, y: int, keys: tuple[str | None, ...], time: int) -> None:
        """A label came for a prediction: it may show a change of the whole, and of its region."""
        state, recipe = self.state, self.recipe
        if state.drift is None:
            return
        for point in state.drift.update_block([float(best != y)], [time]):
            self._tell(point, time, "", "")
        by = recipe.drift_by or ""
        if not by:
            return
        # A key of another field was made when the job told regions apart by that.
        region = recipe.classes[best] if by == PREDICTED else (keys[1] or "") if keys[:1] == (by,) else ""
        for point in watch(state.regions, state.uses, state.drift.detector, region, best != y, time):
            self._tell(point, time, by, region)

    def _tell(self, point: DriftPoint, time: int, by: str, region: str) -> None:
        model, monitor = self.recipe.name, self.state.drift
        assert monitor is not None
        # A region's own count begins anew where it was let go meanwhile.
        index = self.state.tally.learned if by else point.index
        id = "/".join([model, "drift", *([by, region] if by else []), str(index)])
        value = point.after - point.before
        self.out.emit(DRIFT, id, time, model=model, detector=monitor.detector, value=value, by=by, region=region)

    def _row(self, event: Mapping[str, Any]) -> Float:
        """The event's features. Raises `BadEvent` where they cannot be made or computed with."""
        try:
            row = np.array([float(value) for value in self.features(event, _Nothing())])
        except (BadEvent, MemoryError):
            raise
        except Exception as error:
            got = f"{type(error).__name__}: {error}"[:200]
            raise WrongTypeError("features cannot be made", where=self.recipe.name, got=got) from None
        if len(row) != self.width:
            raise WrongTypeError("wrong number of features", wanted=str(self.width), got=str(len(row)))
        if not (np.abs(row) < LARGEST).all():
            at = int(np.flatnonzero(~(np.abs(row) < LARGEST))[0])
            name = self.recipe.names[at]
            raise NotFiniteError("a feature is not finite, or too large", got=repr(float(row[at])), field=name)
        return row

    def _class(self, value: Any) -> int:
        known = isinstance(value, (str, int)) and not isinstance(value, bool)
        number = self.numbers.get(str(value)) if known else None
        if number is None:
            wanted = f"one of {', '.join(self.recipe.classes)}"[:200]
            raise WrongTypeError("a label of no class", wanted=wanted, got=repr(value)[:80], field="value")
        return number


def _queue(waiting: Waiting) -> Iterator[int]:
    """The slots of what waits for a label, the oldest first."""
    slot = waiting.oldest()
    while slot is not None:
        yield slot
        slot = waiting.next[slot] or None


def _check(recipe: OnlineMulticlass) -> None:
    def refuse(message: str, got: str = "", fix: str = "") -> None:
        raise SubmissionError(message, where=f"job {recipe.name}", got=got, fix=fix)

    if not callable(recipe.features) and recipe.feature_names:
        refuse("feature_names belong to a features function")
    if callable(recipe.features) and not recipe.feature_names:
        refuse("features must be named", fix="Give feature_names with a features function.")
    if (recipe.endpoint or recipe.stream) == recipe.name:
        fix = "Name the job, or endpoint=, otherwise."
        refuse("job and endpoint have one name, so their predictions would share a topic", recipe.name, fix)
    if recipe.drift_by is not None and recipe.drift is None:
        refuse(
            "nothing is watched, so not by region either", f"drift_by={recipe.drift_by!r}", "Name a detector: drift=."
        )
    if min(recipe.max_waiting, recipe.metrics_every, recipe.version_every, recipe.rescore_every or 1) <= 0:
        refuse("counts must be positive")

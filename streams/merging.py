"""One model learned in parts: P groups learn theirs, a second job merges them, exactly."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.classifier import of_columns, of_fields
from streams.learning import content_of
from streams.recipe import Positive, label_rule, named
from tidemill import state as states
from tidemill.block import Block
from tidemill.endpoint import Endpoint
from tidemill.errors import BadEvent, IncompatibleError, MalformedError, NotFiniteError, SubmissionError
from tidemill.job import DeadRow, Effects, Input, Job, Live, Output, Rows, VersionCut, events_of
from tidemill.learner import Float, Mergeable
from tidemill.order import Arrival, Batch, EventTime, Order
from tidemill.stream import Field, StreamSpec
from tidemill.time import SECOND

PARTS = "parts"


class Part(msgspec.Struct):
    """What a group has learned since it last handed over: by when it is due, and the event it began with."""

    learner: Any
    due: int | None = None
    first: str = ""
    learned: int = 0


class Whole(msgspec.Struct):
    """The merged model, and how many parts and events are in it. `version` is the newest cut, `after` the highest
    number before the job began."""

    learner: Any
    merged: int = 0
    learned: int = 0
    version: int = 0
    after: int = 0


@dataclass(frozen=True, kw_only=True)
class MergedClassifier:
    """A binary classifier whose `learner` merges exactly, learned at parallelism P by two jobs.

    `parts()` reads `stream`, whose field `label` holds the label (null: not learned), in `groups` groups by `key`. Each
    group learns from the numeric `features`, and at multiples of `every` seconds of event time hands over what it has
    learned since, on `partials.<name>`, and begins anew. `model()` reads those and merges them into the one model
    `name`; it publishes deltas at every commit and a version every `version_every` parts. `spec()` declares what lies
    between.

    The merge being exact, the model is that of all events handed over, to the last bit, whatever `groups` is and in
    whatever order parts come; so `model()` takes them as they arrive (`merge_order`). It knows an event once its part
    has been handed over: up to `every` seconds later than a learner that sees each event at once.

    Raises `SubmissionError` where these do not fit together, or the learner's merge is not exact.
    """

    name: str
    stream: str
    features: Sequence[str]
    label: str
    learner: Callable[[Sequence[str]], Mergeable]
    positive: Positive = True
    groups: int = 8
    key: str | None = None
    every: float = 60.0
    version_every: int = 100
    order: Order = field(default_factory=EventTime)
    merge_order: Order = field(default_factory=Arrival)
    endpoint: str | None = None

    def parts(self) -> Job[Part]:
        """The job that learns in groups."""
        self._check()
        label_of, every = label_rule(self.positive), round(self.every * SECOND)
        kind = type(self.learner(self.features))
        fields, name = [("learner", kind)], "Part"
        state_type: Any = msgspec.defstruct(name, fields, bases=(Part,), module=__name__, kw_only=True)

        def init() -> Part:
            part: Part = state_type(learner=self.learner(self.features))
            return part

        def step(state: Part, batch: Batch) -> Effects[Part]:
            effects = Effects(state)
            if len(batch):
                block = batch.blocks[self.stream]
                X, y, good = self._rows(block, label_of, effects)
                _learn(state, block, X, y, good, every, init, effects)
            now = [int(batch.time[-1])] if len(batch) else []
            now += [] if batch.wake is None else [batch.wake]
            if state.due is not None and now and state.due <= max(now):
                _hand_over(state, init, effects)
            effects.wake_at = state.due
            return effects

        return Job(
            name=f"{self.name}-parts",
            reads=(Input(self.stream, key=self.key, label=self.label),),
            step=step,
            init=init,
            state=state_type,
            writes=(Output(PARTS, f"partials.{self.name}"),),
            groups=self.groups,
            order=self.order,
            needs=frozenset({"timers"}),
        )

    def model(self) -> Job[Whole]:
        """The job that merges the parts and publishes the model."""
        self._check()
        kind = type(self.learner(self.features))
        fields, name = [("learner", kind)], "Whole"
        state_type: Any = msgspec.defstruct(name, fields, bases=(Whole,), module=__name__, kw_only=True)

        def init() -> Whole:
            whole: Whole = state_type(learner=self.learner(self.features))
            return whole

        def step(state: Whole, batch: Batch) -> Effects[Whole]:
            effects = Effects(state)
            for event in events_of(batch):
                try:
                    part = _read(self.learner(self.features), event.data["state"])
                except BadEvent as error:
                    effects.dead.append(DeadRow(event.place, error))
                    continue
                state.learner.merge(part)
                state.merged += 1
                state.learned += event.data["learned"]
                if state.merged % self.version_every == 0:
                    state.version = max(state.version, state.after) + 1
                    last, figures = (event.time, event.source, event.id), {"count": float(state.learned)}
                    cut = VersionCut(self.name, state.version, last, content_of(state.learner), figures)
                    effects.versions.append(cut)
            return effects

        return Job(
            name=self.name,
            reads=(Input(f"partials.{self.name}"),),
            step=step,
            init=init,
            state=state_type,
            versions_after=lambda state, number: setattr(state, "after", number),
            order=self.merge_order,
            needs=frozenset({"versions", "deltas"}),
            live=Live(models=lambda state: {self.name: content_of(state.learner)}),
            endpoint=self._serves(),
            max_event_bytes=16 << 20,
            exact_merge=True,
        )

    def spec(self) -> StreamSpec:
        """The declaration of what `parts()` writes and `model()` reads."""
        fields = (Field("id", "string"), Field("time", "time"), Field("learned", "int"), Field("state", "string"))
        name = f"partials.{self.name}"
        return StreamSpec(name=name, topic=name, fields=fields, id="id", time="time")

    def _serves(self) -> Endpoint:
        names = tuple(self.features)
        return Endpoint(
            name=self.endpoint or self.stream,
            stream=self.stream,
            model=self.name,
            job=self.name,
            feature_names=names,
            features=of_fields(names),
            needs=frozenset(names),
            positive=named(self.positive),
        )

    def _rows(self, block: Block, label_of: Callable[[Any], float], effects: Effects[Part]) -> Any:
        """Features, labels, and which rows are learned; what cannot be used is refused."""
        X = of_columns(tuple(self.features))(block)
        y = np.zeros(len(block))
        good: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(X), axis=1)
        for i, value in enumerate(block.columns[self.label].tolist()):
            if value is None or value != value:
                good[i] = False
                continue
            try:
                if not good[i]:
                    wanted = "finite numbers"
                    raise NotFiniteError("features that are not finite", wanted=wanted, got=str(X[i].tolist())[:80])
                y[i] = label_of(value)
            except BadEvent as error:
                good[i] = False
                effects.dead.append(DeadRow(block.place(i), error))
        return X, y, np.flatnonzero(good)

    def _check(self) -> None:
        def refuse(message: str, got: str = "", wanted: str = "") -> None:
            raise SubmissionError(message, where=f"job {self.name}", got=got, wanted=wanted)

        learner = self.learner(self.features)
        if not learner.exact_merge or not isinstance(learner, Mergeable):
            refuse("the learner's merge is not exact", type(learner).__name__, "one whose exact_merge is true")
        if not isinstance(self.order, EventTime):
            refuse("parts are handed over in event time", repr(self.order), "EventTime")
        if self.every * SECOND < 1 or self.version_every < 1:
            refuse("times and counts must be positive")


def _learn(
    state: Part,
    block: Block,
    X: Float,
    y: Float,
    good: Any,
    every: int,
    init: Callable[[], Part],
    effects: Effects[Part],
) -> None:
    """Learn the good rows, from one boundary to the next at once."""
    time = block.time[good]
    at = 0
    while at < len(good):
        moment = int(time[at])
        if state.due is not None and state.due <= moment:
            _hand_over(state, init, effects)
        if state.due is None:
            state.due = (moment // every + 1) * every
            state.first = f"{block.sources[good[at]]}/{block.ids[good[at]]}"
        stop = int(np.searchsorted(time, state.due))
        state.learner.learn_block(X[good[at:stop]], y[good[at:stop]])
        state.learned += stop - at
        at = stop


def _hand_over(state: Part, init: Callable[[], Part], effects: Effects[Part]) -> None:
    data = base64.b64encode(states.encode(state.learner.state())).decode()
    columns = {"learned": [state.learned], "state": [data]}
    assert state.due is not None
    effects.emit.append(Rows(PARTS, np.array([state.due]), [f"{state.due}/{state.first}"], columns))
    state.learner, state.due, state.first, state.learned = init().learner, None, "", 0


def _read(learner: Mergeable, data: str) -> Mergeable:
    """The learner with the state that was handed over. Raises `MalformedError` where it is none."""
    try:
        learner.load_state(states.decode(base64.b64decode(data, validate=True), dict))
        return learner
    except (IncompatibleError, binascii.Error, ValueError, TypeError, KeyError, AttributeError) as error:
        raise MalformedError("not a part of this model", wanted="the state of its learner", got=str(error)) from None

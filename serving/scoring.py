"""From the plain object a user already has to a score: decode as the stream declares, look up, compute, predict."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import msgspec
import numpy as np

from serving.asked import ServedQuestion
from serving.freshness import Freshness
from serving.known import FeatureTables
from serving.plane import DataPlane, Loaded
from tidemill.endpoint import Endpoint
from tidemill.errors import RequestError, TidemillError, UnavailableError, WrongTypeError
from tidemill.events import PredictionMade
from tidemill.learner import Float
from tidemill.payload import explain, payload_of, row_type
from tidemill.servable import DATATYPES, Tensor
from tidemill.stream import RECORD_TIME, StreamSpec
from tidemill.time import Clock, SystemClock, parse_time

_log = logging.getLogger("tidemill.serving")


class Answer(msgspec.Struct, omit_defaults=True):
    """What a caller gets. Where the endpoint says what its score is, `positive` is the label that it is the probability
    of, and `value`, of a regressor, what it takes the label itself for. `reasons` are additive contributions to the
    score's logit, by feature, where asked for and where the model has them. `staleness` is in seconds. A model of
    several classes gives as `outputs` the most probable `class` and the `probabilities` of all by name. One that is
    asked of a live graph also gives all its `outputs`, the `position` of the state it was asked of, and, where asked
    for, what the answer rests on."""

    id: str
    endpoint: str
    model: str
    version: str
    score: float
    delta: int = -1
    feature_sequence: int = -1
    staleness: float = -1.0
    reasons: dict[str, float] | None = None
    outputs: dict[str, Any] | None = None
    position: int = -1
    rests_on: dict[str, Any] | None = None
    positive: str = ""
    value: float | None = None


class Features:
    """An endpoint's features from a payload: the endpoint's own function on what the stream's declaration decodes, so
    that they equal what the job's step computes from the same event."""

    def __init__(self, endpoint: Endpoint, spec: StreamSpec, known: FeatureTables, clock: Clock) -> None:
        self._endpoint = endpoint
        self._spec = spec
        self._known = known
        self._clock = clock
        optional = {spec.id, spec.time, spec.label} | endpoint.optional
        if endpoint.needs is not None:
            optional |= {f.name for f in spec.fields} - endpoint.needs
        fields = tuple(
            msgspec.structs.replace(f, nullable=True) if f.name in optional and f.default is None else f
            for f in spec.fields
        )
        # The role names are cleared because a declaration does not let id and time be nullable; a request does.
        relaxed = msgspec.structs.replace(spec, fields=fields, id=None, time=RECORD_TIME)
        self._row_type = row_type(relaxed)
        self._decoder = msgspec.json.Decoder(self._row_type)
        self._times = [f.name for f in fields if f.type == "time" or f.name == spec.time]

    def event(self, body: bytes) -> tuple[dict[str, Any], str, int]:
        """The event, its id (a new one where the payload has none) and time (now, likewise).

        Raises `MalformedError`, `NotFiniteError` or `WrongTypeError`, naming the field.
        """
        try:
            event = payload_of(self._decoder.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise explain(body, error) from None
        spec = self._spec
        for name in self._times:
            if event[name] is not None:
                try:
                    event[name] = parse_time(event[name], spec.time_unit)
                except WrongTypeError as error:
                    error.field = name
                    raise
        time = self._clock.now() if spec.time == RECORD_TIME else event[spec.time]
        if time is None:
            time = event[spec.time] = self._clock.now()
        id = None if spec.id is None else event[spec.id]
        if id == "":
            raise WrongTypeError("an empty id", wanted="text, or none for a new one", got="''", field=spec.id or "")
        return event, uuid.uuid4().hex if id is None else str(id), time

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the payload."""
        _, components = msgspec.json.schema_components([self._row_type])
        return next(iter(components.values()))

    def row(self, event: dict[str, Any]) -> Float:
        """The model's row. Raises `RequestError` where the endpoint's function cannot take the event."""
        return np.array(self._computed(lambda: self._endpoint.features(event, self._known)), dtype=np.float64)

    def asked(self, event: dict[str, Any]) -> dict[str, Any]:
        """The values of the inputs of a model that is asked of a graph, and where the endpoint has features, these as
        `features`. Raises as `row` does."""
        values = self._endpoint.asked
        if values is None:
            raise UnavailableError("the endpoint asks nothing of a graph", where=f"endpoint {self._endpoint.name}")
        features = {"features": self.row(event).tolist()} if self._endpoint.feature_names else {}
        return {**features, **self._computed(lambda: values(event))}

    def field_of(self, name: str) -> str:
        """The field of the event that an input of the model is from."""
        times = {} if self._spec.time == RECORD_TIME else {"time": self._spec.time}
        return {**times, **self._endpoint.asked_from}.get(name, name)

    def _computed(self, function: Callable[[], Any]) -> Any:
        try:
            return function()
        except TidemillError:
            raise
        except Exception as error:
            # The function is the user's: whatever it raises on odd input is the request's fault, and is logged.
            _log.warning("endpoint %s: features failed", self._endpoint.name, exc_info=error)
            raise RequestError(
                "features cannot be computed from this event",
                where=f"endpoint {self._endpoint.name}",
                got=f"{type(error).__name__}: {error}"[:200],
                field=str(error.args[0]) if isinstance(error, KeyError) and error.args else "",
            ) from None


class Code:
    """One state of an endpoint's code, by the digest of its bundle, and the tables its features look into."""

    def __init__(self, endpoint: Endpoint, known: FeatureTables, bundle: str = "") -> None:
        self.endpoint = endpoint
        self.known = known
        self.bundle = bundle
        self.features: Features | None = None


class Scorer:
    """Answers for one endpoint. `keep` takes each prediction as it was served, for the log.

    A job submitted again with changed code changes the endpoint's features too. Every model state names the code that
    learned it, and is asked with the features of that code; the newest code goes for a state whose code is not here.
    An endpoint that moves to another model answers with the old one until the new one has a version.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        plane: DataPlane,
        known: FeatureTables,
        freshness: Freshness,
        keep: Callable[[PredictionMade], None] = lambda prediction: None,
        clock: Clock | None = None,
        bundle: str = "",
    ) -> None:
        self.name = endpoint.name
        self._plane = plane
        self._freshness = freshness
        self._keep = keep
        self._clock = clock or SystemClock()
        self._specs: dict[str, StreamSpec] = {}
        # Replaced, never edited, so that requests need no lock. The newest comes first.
        self._codes: tuple[Code, ...] = (Code(endpoint, known, bundle),)

    @property
    def endpoint(self) -> Endpoint:
        """As the newest code has it."""
        return self._codes[0].endpoint

    @property
    def models(self) -> set[str]:
        """The models it answers with, by all code that is here."""
        return {code.endpoint.model for code in self._codes}

    def add(self, endpoint: Endpoint, known: FeatureTables, bundle: str, *, newest: bool = True) -> None:
        """More code of this endpoint: `newest`, or that of an older model state still in use."""
        code = Code(endpoint, known, bundle)
        self._learn(code)
        others = tuple(c for c in self._codes if c.bundle != bundle)
        self._codes = (code, *others) if newest else (*others, code)

    def has(self, bundle: str) -> bool:
        """Whether the code of this digest is here."""
        return any(code.bundle == bundle for code in self._codes)

    def declare(self, spec: StreamSpec) -> None:
        """A stream is declared, or declared anew; at once and for every request that comes after."""
        self._specs[spec.name] = spec
        for code in self._codes:
            if code.endpoint.stream == spec.name:
                self._learn(code)

    def _learn(self, code: Code) -> None:
        spec = self._specs.get(code.endpoint.stream)
        if spec is not None:
            code.features = Features(code.endpoint, spec, code.known, self._clock)

    @property
    def waiting_for(self) -> str:
        """What is missing before this endpoint can answer; empty where nothing is."""
        current = self._current()
        if current is not None:
            return getattr(current[2].servable, "missing", "")
        if self.endpoint.unserved:
            return f"model {self.endpoint.model} cannot be served: {self.endpoint.unserved}"
        if self._codes[0].features is None:
            return f"stream {self.endpoint.stream} is not declared"
        if self.endpoint.model in self._plane.models():
            return f"model {self.endpoint.model}: the version that it is pinned to is not loaded"
        return f"model {self.endpoint.model} has no version yet"

    def request_schema(self) -> dict[str, Any]:
        """The JSON Schema of what a caller sends; any object until the stream is declared."""
        features = self._codes[0].features
        return features.schema() if features else {"type": "object"}

    def score(self, body: bytes, explain: bool = False) -> Answer:
        """One answer. Raises `BadEvent` and `RequestError` for what is wrong with the request, naming the field, and
        `UnavailableError` while stream or model are missing."""
        current = self._current()
        if current is None:
            raise UnavailableError(self.waiting_for, where=f"endpoint {self.name}")
        code, features, loaded = current
        event, id, time = features.event(body)
        if isinstance(loaded.servable, ServedQuestion):
            asked = features.asked(event)
            try:
                return self._answer(loaded, loaded.servable, asked, id, time, explain, code.endpoint.positive)
            except RequestError as error:
                error.field = features.field_of(error.field)
                raise
        row = features.row(event)
        sequence = code.known.sequence
        classes: tuple[str, ...] = getattr(loaded.servable, "classes", ())
        every = _probabilities(loaded, row, code.endpoint.feature_names) if classes else None
        score = _score(loaded, row, code.endpoint.feature_names) if every is None else every[-1]
        if not isfinite(score):
            raise RequestError("the model gives no finite score for these features", where=f"model {loaded.model}")
        reasons = None
        if explain and (explain_one := getattr(loaded.servable, "explain", None)) is not None:
            reasons = explain_one(row)
        self._note(loaded, id, time, score, feature_sequence=sequence, features=row.tolist(), outputs=every)
        stale = self._freshness.seconds()
        outputs = None if every is None else told(classes, every)
        number = code.endpoint.number or getattr(loaded.servable, "number", False)
        return Answer(
            *(id, self.name, loaded.model, loaded.version, score, loaded.delta, sequence, stale, reasons, outputs),
            positive="" if number else code.endpoint.positive,
            value=score if number else None,
        )

    def _answer(
        self,
        loaded: Loaded,
        servable: ServedQuestion,
        asked: dict[str, Any],
        id: str,
        time: int,
        explain: bool,
        positive: str,
    ) -> Answer:
        """One answer of a live graph."""
        found = servable.answer(asked, time, explain)
        score = float(found.outputs["score"])
        self._note(loaded, id, time, score, asked=asked, position=found.position, evidence=found.evidence)
        return Answer(
            *(id, self.name, loaded.model, loaded.version, score, loaded.delta),
            staleness=max(self._freshness.seconds(), servable.stale),
            outputs=found.outputs,
            position=found.position,
            rests_on=None if found.rests_on is None else {**found.rests_on, "asked": _nodes(asked)},
            positive=positive,
        )

    def _note(self, loaded: Loaded, id: str, time: int, score: float, **rest: Any) -> None:
        """Keep the prediction as it is served; `rest` is what it was made from."""
        self._keep(
            PredictionMade(
                id=id,
                time=time,
                source=f"/endpoints/{self.name}",
                about=id,
                model=loaded.model,
                version=loaded.version,
                score=score,
                delta=loaded.delta,
                **rest,
            )
        )

    def _current(self) -> tuple[Code, Features, Loaded] | None:
        """The model state to answer with, and the code for it."""
        codes = self._codes
        for newest in codes:
            try:
                loaded = self._plane.resolve(newest.endpoint.model)
            except TidemillError:
                continue
            code = next((c for c in codes if c.bundle == loaded.bundle), newest)
            if code.features is not None:
                return code, code.features, loaded
        return None


def told(classes: tuple[str, ...], probabilities: list[float]) -> dict[str, Any]:
    """The outputs of a model of several classes, as an answer holds them."""
    best = max(range(len(classes)), key=probabilities.__getitem__)
    return {"class": classes[best], "probabilities": dict(zip(classes, probabilities, strict=True))}


def _check(loaded: Loaded, row: Float, names: tuple[str, ...]) -> None:
    """Raises where the row is not of the features that the learner was trained on."""
    wanted = getattr(loaded.servable, "features", names)
    if wanted != names:
        raise UnavailableError(
            "the model was trained on other features than the endpoint computes",
            where=f"model {loaded.model} version {loaded.version}",
            wanted=", ".join(wanted),
            got=", ".join(names),
        )
    if len(row) != len(names):
        raise RequestError("wrong number of features", wanted=str(len(names)), got=str(len(row)))


def _probabilities(loaded: Loaded, row: Float, names: tuple[str, ...]) -> list[float]:
    """Of each class, by a learner of several; the score is the last."""
    _check(loaded, row, names)
    servable: Any = loaded.servable
    every: list[float] = servable.probabilities(row)
    return every


def _nodes(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The ids that were asked about, by input."""
    return {name: value for name, value in asked.items() if name not in ("features", "time")}


def _score(loaded: Loaded, row: Float, names: tuple[str, ...]) -> float:
    """The score of one row: a learner's own, else the last value of the output `score`, or of the last output."""
    servable = loaded.servable
    one = getattr(servable, "score", None)
    if one is not None:
        _check(loaded, row, names)
        return float(one(row))
    if not np.isfinite(row).all():
        at = int(np.flatnonzero(~np.isfinite(row))[0])
        raise RequestError("feature is not finite", wanted="a finite number", field=names[at])
    spec = servable.inputs[0]
    if len(servable.inputs) != 1 or len(spec.shape) != 2 or spec.shape[1] not in (-1, len(row)):
        raise UnavailableError("the model does not take one row of features", where=f"model {loaded.model}")
    out = servable.predict({spec.name: Tensor(spec.name, row.astype(DATATYPES[spec.datatype]).reshape(1, -1))})
    values = out["score"] if "score" in out else list(out.values())[-1]
    return float(values.data.reshape(-1)[-1])

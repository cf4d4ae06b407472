"""Servables of online learners: any learner that ships, by its kind and plain state."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from streams.learners.delta import apply_delta
from tidemill.errors import IncompatibleError, NotFiniteError, RequestError, WrongTypeError
from tidemill.job import ModelContent
from tidemill.learner import Float, Learner
from tidemill.servable import Tensor, TensorSpec

INPUT, OUTPUT, ALL = "features", "score", "probabilities"

T = TypeVar("T")
_KIND = re.compile(r"(streams\.learners\.[a-z_][a-z0-9_]*):([A-Z][A-Za-z0-9]*)")


def learner_class(kind: str, allowed: Mapping[str, type[Any]] | None = None) -> type[Any]:
    """The learner class behind a kind `module:Class`. Only learners that ship in `streams.learners` are loaded, and
    those that the caller `allowed` by kind: an artefact names code, it never brings any.

    Raises `IncompatibleError`.
    """
    if allowed and kind in allowed:
        return allowed[kind]
    match = _KIND.fullmatch(kind)
    found: Any = None
    if match:
        try:
            found = getattr(importlib.import_module(match[1]), match[2], None)
        except ModuleNotFoundError:
            found = None
    if match is None or not isinstance(found, type) or found.__module__ != match[1] or not hasattr(found, "load_state"):
        raise IncompatibleError(
            "unknown kind of model", wanted="onnx, or a learner of streams.learners", got=repr(kind)
        )
    return found


class ServedLearner:
    """A learner at one point of its learning: one input `features` (n × d, FP64), one output `score` (n, FP64); of one
    that has `classes`, the score is the last of the other output, `probabilities` (n × classes, FP64).

    It never learns; `updated` makes the next one, so a request that holds this one is not disturbed.
    """

    def __init__(self, content: ModelContent, allowed: Mapping[str, type[Any]] | None = None) -> None:
        self._content = content
        self._allowed = allowed
        cls = learner_class(content.kind, allowed)
        try:
            made = cls.from_params(content.params) if hasattr(cls, "from_params") else cls(**content.params)
        except TypeError as error:
            raise IncompatibleError("parameters do not fit", where=content.kind, got=str(error)) from None
        learner: Learner = made
        learner.load_state(content.state)
        self._learner = learner
        self.features: tuple[str, ...] = tuple(learner.features)
        self.inputs = [TensorSpec(INPUT, "FP64", [-1, len(self.features)])]
        self.classes: tuple[str, ...] = tuple(getattr(learner, "classes", ()))
        self.number = getattr(learner, "kind", "") == "regressor"
        """Whether the score is what the label itself would be."""
        self.outputs = [TensorSpec(OUTPUT, "FP64", [-1])]
        if self.classes:
            self.outputs.insert(0, TensorSpec(ALL, "FP64", [-1, len(self.classes)]))

    @property
    def content(self) -> ModelContent:
        return self._content

    def score(self, row: Float) -> float:
        """The score of one row. Raises `RequestError` naming the feature that is not finite."""
        return self._asked(lambda: self._learner.predict_one(row))

    def probabilities(self, row: Float) -> list[float]:
        """Of each of `classes`, for one row. Raises as `score` does."""
        learner: Any = self._learner
        found: Float = self._asked(lambda: learner.probabilities(row[None]))
        return [float(p) for p in found[0]]

    def _asked(self, ask: Callable[[], T], field: str = "") -> T:
        try:
            return ask()
        except (NotFiniteError, WrongTypeError) as error:
            raise RequestError(error.message, wanted=error.wanted, got=error.got, field=field or error.field) from None

    def explain(self, row: Float) -> dict[str, float] | None:
        """Additive contributions to the logit, the intercept as `bias`; None where the learner has none."""
        return self._learner.explain_one(row)

    def predict(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        rows = np.ascontiguousarray(inputs[INPUT].data, dtype=np.float64)
        if self.classes:
            learner: Any = self._learner
            every = self._asked(lambda: learner.probabilities(rows), INPUT)
            scores, rest = every[:, -1], {ALL: Tensor(ALL, every)}
        else:
            scores, rest = self._asked(lambda: self._learner.predict_block(rows), INPUT), {}
        if not np.isfinite(scores).all():
            row = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise RequestError("the model gives no finite score for these features", where=f"row {row}", field=INPUT)
        return {**rest, OUTPUT: Tensor(OUTPUT, np.ascontiguousarray(scores))}

    def updated(self, changes: Mapping[str, Any]) -> ServedLearner:
        state = apply_delta(self._content.state, changes)
        return ServedLearner(ModelContent(self._content.kind, self._content.params, state), self._allowed)

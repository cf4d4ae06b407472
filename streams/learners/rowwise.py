"""A learner written for one row: its block forms are the loop over rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from streams.learners.blockwise import Blockwise
from streams.learners.rows import as_labels, as_ops, as_rows, as_targets, as_weights
from tidemill.errors import ConfigError, IncompatibleError
from tidemill.learner import LEARN, PREDICT, Float, Ops


class Rowwise(Blockwise):
    """What is left to a subclass: `_score(x)` and `_learn(x, y)` of one row as a list of finite floats, and the state.

    `binary` says whether targets must be 0 or 1. Rows all weigh 1: another weight is refused with `ConfigError`.
    """

    exact_merge = True
    takes_weights = False
    binary = True

    def __init__(self, features: Sequence[str]) -> None:
        self.features = tuple(features)
        if not self.features or len(set(self.features)) != len(self.features):
            raise ConfigError("features must be named once each, and at least one", got=repr(self.features))

    def _score(self, x: list[float]) -> float:
        raise NotImplementedError

    def _learn(self, x: list[float], y: float) -> None:
        raise NotImplementedError

    def params(self) -> dict[str, Any]:
        return {"features": list(self.features)}

    def run_block(self, ops: Ops, X: Float, y: Float, w: Float | None = None) -> Float:
        rows = as_rows(X, self.features)
        ops = as_ops(ops, len(rows))
        targets = (as_labels if self.binary else as_targets)(y, len(rows), ops)
        if w is not None and (as_weights(w, len(rows), ops)[ops != PREDICT] != 1.0).any():
            raise ConfigError(f"{type(self).__name__} takes no weights", wanted="rows of weight 1")
        out = np.full(len(rows), np.nan)
        for i, (op, x, target) in enumerate(zip(ops.tolist(), rows.tolist(), targets.tolist(), strict=True)):
            if op != LEARN:
                out[i] = self._score(x)
            if op != PREDICT:
                self._learn(x, target)
        return out

    def explain_one(self, x: Float) -> dict[str, float] | None:
        return None

    def _check_mergeable(self, other: Self) -> None:
        """Raises `IncompatibleError` where `other` is another learner than this one."""
        if type(other) is not type(self) or other.params() != self.params():
            raise IncompatibleError(
                "learners of other parameters cannot be merged", wanted=str(self.params()), got=str(other.params())
            )

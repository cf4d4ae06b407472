"""A learner written for a block of rows: its other forms are that one."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from streams.learners.rows import as_row
from tidemill.learner import LEARN, PREDICT, PREDICT_LEARN, Float, Ops

_LEARN_ONE = np.array([LEARN], dtype=np.uint8)


class Blockwise(ABC):
    """Predicting and learning, of one row or many, by `run_block`: equal because they are the same code."""

    features: tuple[str, ...]

    @abstractmethod
    def run_block(self, ops: Ops, X: Float, y: Float, w: Float | None = None) -> Float:
        """As `tidemill.learner.Learner` says."""

    def predict_one(self, x: Float) -> float:
        return float(self.predict_block(as_row(x, self.features))[0])

    def learn_one(self, x: Float, y: float, w: float = 1.0) -> None:
        weights = None if w == 1.0 else np.array([w])
        self.run_block(_LEARN_ONE, as_row(x, self.features), np.array([y]), weights)

    def predict_block(self, X: Float) -> Float:
        return self.run_block(np.full(len(X), PREDICT, dtype=np.uint8), X, np.zeros(len(X)))

    def learn_block(self, X: Float, y: Float, w: Float | None = None) -> Float:
        return self.run_block(np.full(len(X), PREDICT_LEARN, dtype=np.uint8), X, y, w)

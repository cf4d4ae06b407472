"""The learner protocol: one event at a time, or many, with exactly the same result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Ops = NDArray[np.uint8]

LARGEST = 2.0**500
"""Features are smaller than this in size, about 3.3e150: sums and products of two of them are finite, so that no single
row makes a state infinite."""

PREDICT, LEARN, PREDICT_LEARN = 0, 1, 2
"""Operations of `Learner.run_block`; `PREDICT_LEARN` predicts a row and then learns from it."""


@runtime_checkable
class Learner(Protocol):
    """A model that learns online.

    The law: every block method gives the state and the outputs of the one-event methods called row by row, for every
    way of cutting the rows into blocks. `tidemill.checks.learners` proves it of each learner shipped.

    A learner is built from plain parameters (`params()`), holds its state as named arrays and plain values
    (`state()`), and is restored with `load_state`. Features are a fixed, ordered list of names given at construction;
    a row is a float64 vector in that order.
    """

    features: tuple[str, ...]
    exact_merge: bool
    """Whether learners fed disjoint parts of a stream merge into the one fed the whole (then it is `Mergeable`)."""

    takes_weights: bool
    """Whether rows may weigh other than 1; a learner that says no refuses such weights with `ConfigError`."""

    def predict_one(self, x: Float) -> float:
        """The score of one row (for a classifier, the probability of the positive class)."""
        ...

    def learn_one(self, x: Float, y: float, w: float = 1.0) -> None:
        """Learn from one labelled row of weight `w`."""
        ...

    def predict_block(self, X: Float) -> Float:
        """Scores of the rows of `X` (n × features) under the present state; shape (n,)."""
        ...

    def learn_block(self, X: Float, y: Float, w: Float | None = None) -> Float:
        """Predict and then learn each row in turn (test-then-train); returns the n predictions."""
        ...

    def run_block(self, ops: Ops, X: Float, y: Float, w: Float | None = None) -> Float:
        """Run `ops[i]` (`PREDICT`, `LEARN` or `PREDICT_LEARN`) on row `i`, in order.

        Returns n values: the prediction where the operation predicts, NaN where it only learns. `y[i]` is ignored
        where the operation only predicts.
        """
        ...

    def explain_one(self, x: Float) -> dict[str, float] | None:
        """Additive contribution of each feature to the score's logit, with key `"bias"`; None if not additive."""
        ...

    def params(self) -> dict[str, Any]:
        """The plain values (numbers, strings, lists) that rebuild an untrained learner."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything learned: named numpy arrays and plain values. Copies; safe to keep."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state from `state()`. Raises `IncompatibleError` where its shape does not fit."""
        ...


@runtime_checkable
class Mergeable(Learner, Protocol):
    """A learner that takes over what another of its parameters has learned.

    Where `exact_merge` is true the law is equality to the last bit: however a stream is dealt out to any number of
    learners, and in whatever order these are merged, `state()` has the bytes of the one learner that saw it all. So
    such a learner's result depends on no order of events. Where it is false, merging approximates.
    """

    def merge(self, other: Self) -> None:
        """Take over what `other` has learned, which is left as it was. Raises `IncompatibleError` where its
        parameters are others."""
        ...

"""How far a row lies from what is usual: a native anomaly detector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numba import njit

from streams.learners.blockwise import Blockwise
from streams.learners.rows import as_ops, as_rows
from tidemill.errors import ConfigError, IncompatibleError
from tidemill.learner import LEARN, PREDICT, Float, Ops


@njit(cache=True)
def _run(ops: Ops, X: Float, mean: Float, var: Float, count: Float, rate: float) -> Float:
    n, d = X.shape
    out = np.full(n, np.nan)
    for i in range(n):
        if ops[i] != LEARN:
            q = 0.0
            for j in range(d):
                if var[j] > 0.0:
                    q += (X[i, j] - mean[j]) ** 2 / var[j]
            q /= d
            out[i] = q / (1.0 + q) if q < 1e300 else 1.0
        if ops[i] == PREDICT:
            continue
        count[0] += 1.0
        share = max(1.0 / count[0], rate)
        for j in range(d):
            old = mean[j]
            mean[j] = old + (X[i, j] - old) * share
            var[j] += ((X[i, j] - old) * (X[i, j] - mean[j]) - var[j]) * share
    return out


class Deviation(Blockwise):
    """The mean squared standardised deviation of a row's features, as a score in [0, 1).

    With the running mean $\\mu_j$ and variance $v_j$ of each feature (constant features count 0),

    $$ q = \\frac1d \\sum_j (x_j - \\mu_j)^2 / v_j, \\qquad \\text{score} = q / (1 + q), $$

    so a usual row scores about 1/2. A row counts $\\max(1/n, \\text{rate})$: with `rate` 0 all alike, else older ones
    fade. It learns from every row and ignores targets.

    Source: Welford, *Note on a method for calculating corrected sums of squares and products*, Technometrics 4, 1962.
    """

    exact_merge = False
    takes_weights = False
    kind = "anomaly"

    def __init__(self, features: Sequence[str], *, rate: float = 0.0) -> None:
        self.features = tuple(features)
        if not self.features or len(set(self.features)) != len(self.features):
            raise ConfigError("features must be named once each, and at least one", got=repr(self.features))
        if not 0.0 <= rate < 1.0:
            raise ConfigError("rate cannot be used", wanted="a number in [0, 1)", got=repr(rate))
        self.rate = float(rate)
        self._mean, self._var = np.zeros(len(self.features)), np.zeros(len(self.features))
        self._count = np.zeros(1)

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, str]]:
        """Untrained learners that the conformance suite proves the laws on, with the kind of target each takes."""
        yield cls(["a", "b", "c"]), "none"
        yield cls(["a", "b"], rate=0.01), "none"

    def run_block(self, ops: Ops, X: Float, y: Float, w: Float | None = None) -> Float:
        rows = as_rows(X, self.features)
        ops = as_ops(ops, len(rows))
        if w is not None and (np.asarray(w)[ops != PREDICT] != 1.0).any():
            raise ConfigError("Deviation takes no weights", wanted="rows of weight 1")
        return _run(ops, rows, self._mean, self._var, self._count, self.rate)

    def explain_one(self, x: Float) -> None:
        """None: the score is no sum of logits."""
        return None

    def params(self) -> dict[str, Any]:
        return {"features": list(self.features), "rate": self.rate}

    def state(self) -> dict[str, Any]:
        """Arrays `mean` and `var` (per feature), `count` (one value)."""
        return {"count": self._count.copy(), "mean": self._mean.copy(), "var": self._var.copy()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        shapes = {"count": (1,), "mean": (len(self.features),), "var": (len(self.features),)}
        if (got := {name: np.shape(value) for name, value in state.items()}) != shapes:
            raise IncompatibleError("not a state of this learner", wanted=str(shapes), got=str(got))
        self._count, self._mean, self._var = (np.array(state[name], np.float64) for name in shapes)

"""Naive Bayes of two classes: of numbers (Gaussian) and of categories (counts), both with a merge that is exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import exp, isfinite, log
from typing import Any, Self

import numpy as np

from streams.exact import Moments
from streams.learners.rowwise import Rowwise
from tidemill.errors import ConfigError, IncompatibleError
from tidemill.learner import Float

_LIMIT = 700.0
"""Beyond this a logit's exponential leaves the range of float64."""


class _Bayes(Rowwise):
    """The score is the logistic function of a prior's log odds and each feature's log likelihood ratio."""

    def _parts(self, x: list[float]) -> tuple[float, list[float]]:
        raise NotImplementedError

    def _score(self, x: list[float]) -> float:
        prior, ratios = self._parts(x)
        total = prior + sum(ratios)
        return 1.0 / (1.0 + exp(min(_LIMIT, max(-_LIMIT, -total))))

    def explain_one(self, x: Float) -> dict[str, float]:
        """The log likelihood ratio of each feature, and the log odds of the classes as `"bias"`."""
        prior, ratios = self._parts(np.asarray(x, dtype=np.float64).tolist())
        return {**dict(zip(self.features, ratios, strict=True)), "bias": prior}


class GaussianBayes(_Bayes):
    """Gaussian naive Bayes.

    With $n_c$ rows of class c, and $\\mu_{cj}$, $v_{cj}$ the mean and variance of feature j in them,

    $$ \\ln \\frac{P(1|x)}{P(0|x)} = \\ln \\frac{n_1 + 1}{n_0 + 1} + \\sum_j \\ell_{1j} - \\ell_{0j}, \\quad
    \\ell_{cj} = -\\tfrac12 \\ln \\sigma_{cj}^2 - \\frac{(x_j - \\mu_{cj})^2}{2 \\sigma_{cj}^2}, \\quad
    \\sigma_{cj}^2 = v_{cj} + \\epsilon v_j $$

    with $v_j$ the variance over both classes and $\\epsilon$ = `smoothing`. A feature that is constant says nothing;
    before both classes have been seen none does. Sums are kept without rounding (`streams.exact`), so the state is
    that of the rows as a set: no order and no parts. The price is arithmetic on long integers, about 2 µs a feature.

    Source: Chan, Golub, LeVeque, *Updating formulae and a pairwise algorithm for computing sample variances*, 1979,
    for the merging of moments; here it needs no formula, for nothing was rounded.
    """

    def __init__(self, features: Sequence[str], *, smoothing: float = 1e-9) -> None:
        super().__init__(features)
        if not 0.0 < smoothing < np.inf:
            raise ConfigError("smoothing cannot be used", wanted="a number > 0", got=repr(smoothing))
        self.smoothing = float(smoothing)
        self._n = [0, 0]
        self._moments = [[Moments() for _ in self.features] for _ in range(2)]
        self._fitted: list[tuple[float, float, float, float] | None] | None = None

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, str]]:
        """Untrained learners that the conformance suite proves the laws on, with the kind of target each takes."""
        yield cls(["a", "b", "c"]), "binary"
        yield cls([f"x{j}" for j in range(5)], smoothing=0.01), "binary"

    def params(self) -> dict[str, Any]:
        return {**super().params(), "smoothing": self.smoothing}

    def _learn(self, x: list[float], y: float) -> None:
        self._n[int(y)] += 1
        for moments, value in zip(self._moments[int(y)], x, strict=True):
            moments.add(value)
        self._fitted = None

    def _parts(self, x: list[float]) -> tuple[float, list[float]]:
        if self._fitted is None:
            self._fitted = [self._fit(j) for j in range(len(self.features))]
        ratios = []
        for value, fitted in zip(x, self._fitted, strict=True):
            if fitted is None:
                ratios.append(0.0)
                continue
            mean0, var0, mean1, var1 = fitted
            ratio = 0.5 * (log(var0 / var1) + (value - mean0) ** 2 / var0 - (value - mean1) ** 2 / var1)
            ratios.append(ratio if isfinite(ratio) else 0.0)
        return log((self._n[1] + 1) / (self._n[0] + 1)), ratios

    def _fit(self, j: int) -> tuple[float, float, float, float] | None:
        """Means and variances of feature j in class 0 and 1; None where it says nothing."""
        zero, one = self._moments[0][j], self._moments[1][j]
        if not zero.count or not one.count:
            return None
        both = Moments()
        both.merge(zero)
        both.merge(one)
        floor = self.smoothing * both.variance()
        var0, var1 = zero.variance() + floor, one.variance() + floor
        if not (floor > 0.0 and isfinite(var0) and isfinite(var1) and 0.0 < var0 / var1 < np.inf):
            return None
        return zero.mean(), var0, one.mean(), var1

    def merge(self, other: Self) -> None:
        self._check_mergeable(other)
        self._n = [a + b for a, b in zip(self._n, other._n, strict=True)]
        for mine, theirs in zip(self._moments, other._moments, strict=True):
            for a, b in zip(mine, theirs, strict=True):
                a.merge(b)
        self._fitted = None

    def state(self) -> dict[str, Any]:
        """`n` of each class (array of two), and the `moments` by class and feature as bytes."""
        return {"n": np.array(self._n, np.int64), "moments": [[m.pack() for m in row] for row in self._moments]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if set(state) != {"n", "moments"} or [len(r) for r in state["moments"]] != [len(self.features)] * 2:
            raise IncompatibleError("not a state of this learner", wanted=str(self.features), got=str(sorted(state)))
        self._n = np.asarray(state["n"]).tolist()
        self._moments = [[Moments.unpack(part) for part in row] for row in state["moments"]]
        self._fitted = None


class CountingBayes(_Bayes):
    """Naive Bayes of categories: every value of a feature is a category of its own.

    With $n_{cj}(v)$ rows of class c whose feature j is v, $V_j$ values of it seen, and $\\alpha$ = `alpha`,

    $$ \\ln \\frac{P(1|x)}{P(0|x)} = \\ln \\frac{n_1 + 1}{n_0 + 1} + \\sum_j \\ln p_{1j} - \\ln p_{0j}, \\quad
    p_{cj} = \\frac{n_{cj}(x_j) + \\alpha}{n_c + \\alpha (V_j + 1)} $$

    (the one more is for values not seen yet). Counts are whole numbers, so the state is that of the rows as a set.
    Memory goes by the values seen.
    """

    def __init__(self, features: Sequence[str], *, alpha: float = 1.0) -> None:
        super().__init__(features)
        if not 0.0 < alpha < np.inf:
            raise ConfigError("alpha cannot be used", wanted="a number > 0", got=repr(alpha))
        self.alpha = float(alpha)
        self._n = [0, 0]
        self._seen: list[dict[float, list[int]]] = [{} for _ in self.features]

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, str]]:
        """Untrained learners that the conformance suite proves the laws on, with the kind of target each takes."""
        yield cls(["a", "b", "c"]), "binary"
        yield cls(["a"], alpha=0.1), "binary"

    def params(self) -> dict[str, Any]:
        return {**super().params(), "alpha": self.alpha}

    def _learn(self, x: list[float], y: float) -> None:
        self._n[int(y)] += 1
        for seen, value in zip(self._seen, x, strict=True):
            seen.setdefault(value + 0.0, [0, 0])[int(y)] += 1

    def _parts(self, x: list[float]) -> tuple[float, list[float]]:
        n0, n1 = self._n
        alpha, ratios = self.alpha, []
        for seen, value in zip(self._seen, x, strict=True):
            of0, of1 = seen.get(value + 0.0, (0, 0))
            unseen = alpha * (len(seen) + 1)
            ratios.append(log((of1 + alpha) / (n1 + unseen)) - log((of0 + alpha) / (n0 + unseen)))
        return log((n1 + 1) / (n0 + 1)), ratios

    def merge(self, other: Self) -> None:
        self._check_mergeable(other)
        self._n = [a + b for a, b in zip(self._n, other._n, strict=True)]
        for mine, theirs in zip(self._seen, other._seen, strict=True):
            for value, counts in theirs.items():
                of = mine.setdefault(value, [0, 0])
                of[0] += counts[0]
                of[1] += counts[1]

    def state(self) -> dict[str, Any]:
        """`n` of each class; of feature j the `values<j>` seen, ascending, and their `counts<j>` by class."""
        out: dict[str, Any] = {"n": np.array(self._n, np.int64)}
        for j, seen in enumerate(self._seen):
            values = sorted(seen)
            out[f"values{j}"] = np.array(values, np.float64)
            out[f"counts{j}"] = np.array([seen[v] for v in values], np.int64).reshape(-1, 2)
        return out

    def load_state(self, state: Mapping[str, Any]) -> None:
        names = {f"{what}{j}" for what in ("values", "counts") for j in range(len(self.features))} | {"n"}
        if set(state) != names:
            raise IncompatibleError("not a state of this learner", wanted=str(sorted(names)), got=str(sorted(state)))
        self._n = np.asarray(state["n"]).tolist()
        self._seen = [
            dict(zip(np.asarray(state[f"values{j}"]).tolist(), np.asarray(state[f"counts{j}"]).tolist(), strict=True))
            for j in range(len(self.features))
        ]

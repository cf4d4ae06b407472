"""Running statistics as a learner, with a merge that is exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from streams.exact import Moments
from streams.learners.rowwise import Rowwise
from tidemill.errors import IncompatibleError

_TARGET = "target"


class Statistics(Rowwise):
    """Count, mean, variance, least and greatest value of each feature and of the target.

    It predicts the mean of the targets so far (0 before the first): the baseline that a regression has to beat. Sums
    are kept without rounding (`streams.exact`), so each figure is the float64 nearest to the exact one, in whatever
    order, and in however many parts that were merged, the rows came.
    """

    kind = "regressor"
    binary = False

    def __init__(self, features: Any) -> None:
        super().__init__(features)
        width = len(self.features) + 1
        self._moments = [Moments() for _ in range(width)]
        self._least, self._most = np.full(width, np.inf), np.full(width, -np.inf)
        self._mean: float | None = 0.0

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, str]]:
        """Untrained learners that the conformance suite proves the laws on, with the kind of target each takes."""
        yield cls(["a", "b", "c"]), "number"

    def _score(self, x: list[float]) -> float:
        if self._mean is None:
            self._mean = self._moments[-1].mean()
        return self._mean

    def _learn(self, x: list[float], y: float) -> None:
        for j, value in enumerate([*x, y]):
            self._moments[j].add(value)
            self._least[j] = min(self._least[j], value)
            self._most[j] = max(self._most[j], value)
        self._mean = None

    def figures(self) -> dict[str, dict[str, float]]:
        """By feature, and as `target`: `count`, `sum`, `mean`, sample `variance`, `min` and `max`."""
        out = {}
        for j, name in enumerate([*self.features, _TARGET]):
            m = self._moments[j]
            out[name] = {"count": m.count, "sum": m.sum(), "mean": m.mean(), "variance": m.variance(1)}
            out[name] |= {"min": float(self._least[j]), "max": float(self._most[j])}
        return out

    def merge(self, other: Self) -> None:
        self._check_mergeable(other)
        for mine, theirs in zip(self._moments, other._moments, strict=True):
            mine.merge(theirs)
        self._least = np.minimum(self._least, other._least)
        self._most = np.maximum(self._most, other._most)
        self._mean = None if self._moments[-1].count else 0.0

    def state(self) -> dict[str, Any]:
        """`moments` of each feature and the target, as bytes; `least` and `most`."""
        moments = [m.pack() for m in self._moments]
        return {"moments": moments, "least": self._least + 0.0, "most": self._most + 0.0}

    def load_state(self, state: Mapping[str, Any]) -> None:
        width = len(self.features) + 1
        if set(state) != {"moments", "least", "most"} or len(state["moments"]) != width:
            raise IncompatibleError("not a state of this learner", wanted=str(self.features), got=str(sorted(state)))
        self._moments = [Moments.unpack(part) for part in state["moments"]]
        self._least, self._most = np.array(state["least"], np.float64), np.array(state["most"], np.float64)
        self._mean = None if self._moments[-1].count else 0.0

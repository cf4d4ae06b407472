"""What needs no training: every report shows it beside the models."""

from __future__ import annotations

from collections.abc import Callable
from math import log1p

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.link_features import NAMES, NEVER, LinkFeatures

Rows = NDArray[np.float32]

_AT = {name: i for i, name in enumerate(NAMES)}


class Baseline:
    """A fixed score of the features of a link; it takes links in, and learns nothing else."""

    def __init__(self, name: str, rule: Callable[[Rows], Rows]) -> None:
        self.name = name
        self._rule = rule
        self.features = LinkFeatures()

    def score(self, source: Int, candidates: Int, time: NDArray[np.float64]) -> Rows:
        """Scores (n × c) of links from `source` (n) to `candidates` (n × c) at `time` (n, seconds)."""
        return self._rule(self.features.rows(source, candidates, time))

    def score_and_learn(
        self, source: Int, target: Int, candidates: Int, time: NDArray[np.float64], *, stale: bool = False
    ) -> Rows:
        """The same, each just before its link is taken in; `stale`: all before the block."""
        if stale:
            scores = self.score(source, candidates, time)
            self.features.take(source, target, time)
            return scores
        return self._rule(self.features.rows_and_take(source, target, candidates, time))

    def learn(self, source: Int, target: Int, time: NDArray[np.float64], *, stale: bool = False) -> None:
        """Links that happened, in the order of the stream."""
        self.features.take(source, target, time)


def edge_bank(window: float | None = None) -> Baseline:
    """1 for a pair that was linked before (within the last `window` seconds), else 0. Source: Poursafaei et al.,
    *Towards better evaluation for dynamic link prediction*, NeurIPS 2022."""
    if window is None:
        return Baseline("EdgeBank", lambda rows: rows[..., _AT["pair_seen"]])
    age = np.float32(log1p(window))
    return Baseline(f"EdgeBank, {window:g} s", lambda rows: (rows[..., _AT["pair_age"]] <= age).astype(np.float32))


def popularity() -> Baseline:
    """How many links the target has had."""
    return Baseline("popularity", lambda rows: rows[..., _AT["target_in"]])


def recency() -> Baseline:
    """How lately the pair was linked in either direction, then how lately the target was, and how often.

    $$-\\min(a_{uv}, a_{vu}) - a_v / 2 + \\ln(1 + n_v) / 10$$

    with a = ln(1 + age in seconds); a pair never linked stands behind all that were.
    """

    def rule(rows: Rows) -> Rows:
        pair = np.minimum(rows[..., _AT["pair_age"]], rows[..., _AT["reverse_age"]])
        pair = np.where(pair < NEVER, pair, np.float32(100.0))
        return np.asarray(-pair - rows[..., _AT["target_in_age"]] / 2 + rows[..., _AT["target_in"]] / 10, np.float32)

    return Baseline("recency and popularity", rule)

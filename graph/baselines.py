"""Predictions of links without training, which every report of a learned model shows beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from graph.link_features import queries, squash
from graph.link_history import IN, LAST, OUT, Floats, Ints, LinkHistory, elapsed
from graph.table import find
from tidemill.errors import ConfigError

UNLIMITED, WINDOW, POPULARITY, MIX = range(4)

MIXED = (2.0, 2.0, 1.0, 0.5, 0.5)
"""Weights of `RecencyMix`: the pair, the reverse pair, the destination's last edge in, its last out, its popularity."""


@njit(cache=True)
def mix_of(h: Any, a: int, b: int, time: float, setting: Floats) -> Any:
    """The score of `RecencyMix` for the rows `a` → `b` of the past, −1 where there is none."""
    out = 0.0
    if b < 0:
        return out
    if a >= 0:
        there, _ = find(h.pair_table, h.pair_key, (a << 32) | b)
        back, _ = find(h.pair_table, h.pair_key, (b << 32) | a)
        if there >= 0:
            out += setting[0] * (1.3 - squash(elapsed(time, h.pair_time[there])))
        if back >= 0:
            out += setting[1] * (1.3 - squash(elapsed(time, h.pair_time[back])))
    if h.node_count[b, IN] > 0:
        out += setting[2] * (1.2 - squash(elapsed(time, h.node_time[b, LAST + IN])))
    if h.node_count[b, OUT] > 0:
        out += setting[3] * (1.2 - squash(elapsed(time, h.node_time[b, LAST + OUT])))
    return out + setting[4] * np.log1p(h.node_count[b, IN]) / 5.0


@njit(cache=True)
def _score(h: Any, src: Ints, candidates: Ints, time: Floats, rule: int, setting: Floats, out: Floats) -> None:
    for i in range(len(src)):
        a, _ = find(h.node_table, h.node_id, src[i])
        for j in range(candidates.shape[1]):
            b, _ = find(h.node_table, h.node_id, candidates[i, j])
            out[i, j] = 0.0
            if b < 0:
                continue
            there = np.int64(-1)
            if a >= 0:
                there, _ = find(h.pair_table, h.pair_key, (a << 32) | b)
            if rule == UNLIMITED:
                out[i, j] = 1.0 if there >= 0 else 0.0
            elif rule == WINDOW:
                out[i, j] = 1.0 if there >= 0 and elapsed(time[i], h.pair_time[there]) <= setting[0] else 0.0
            elif rule == POPULARITY:
                out[i, j] = h.node_count[b, IN]
            else:
                out[i, j] = mix_of(h, a, b, time[i], setting)


class _Untrained:
    """A rule on a `LinkHistory`: its whole state is the past."""

    _rule = UNLIMITED

    def __init__(self) -> None:
        self.past = LinkHistory()
        self._setting = np.zeros(0)

    def score(self, src: ArrayLike, candidates: ArrayLike, time: ArrayLike) -> NDArray[np.float64]:
        """Scores of `src[i]` → `candidates[i, j]` at `time[i]`, shape (n, m): higher is likelier."""
        src, candidates, time = queries(src, candidates, time)
        out = np.zeros(candidates.shape)
        _score(self.past.arrays, src, candidates, time, self._rule, self._setting, out)
        return out

    def learn(self, src: ArrayLike, dst: ArrayLike, time: ArrayLike) -> None:
        """Take in a block of edges in stream order."""
        self.past.update(src, dst, time)

    def fit(self, src: ArrayLike, dst: ArrayLike, time: ArrayLike, *, block: int) -> None:
        """The same as `learn`, from an empty past."""
        self.past.reset()
        self.learn(src, dst, time)

    def params(self) -> dict[str, Any]:
        return {}

    def state(self) -> dict[str, Any]:
        return self.past.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.past.load_state(state)


class EdgeBank(_Untrained):
    """1 for a pair that had an edge before (within the last `window` seconds, where given), else 0.

    Source: Poursafaei et al., *Towards better evaluation for dynamic link prediction*, NeurIPS 2022.
    """

    def __init__(self, window: float | None = None) -> None:
        super().__init__()
        if window is not None and not (np.isfinite(window) and window > 0):
            raise ConfigError("window cannot be used", wanted="seconds above 0, or None", got=repr(window))
        self.window = window
        self._rule = UNLIMITED if window is None else WINDOW
        self._setting = np.array([window or 0.0])

    def params(self) -> dict[str, Any]:
        return {"window": self.window}


class Popularity(_Untrained):
    """How many edges the destination has had."""

    _rule = POPULARITY


class RecencyMix(_Untrained):
    """A weighted sum of how recent the pair, the reverse pair, the destination's last edge in and its last edge out
    are, and how popular it is.

    With $r(\\Delta t) = \\log(1 + \\Delta t / 30) / 13$ a pair counts $w (1.3 - r)$, a node $w (1.2 - r)$, what never
    was 0, and popularity $w \\log(1 + n) / 5$.
    """

    _rule = MIX

    def __init__(
        self,
        *,
        pair: float = MIXED[0],
        reverse: float = MIXED[1],
        edge_in: float = MIXED[2],
        edge_out: float = MIXED[3],
        popularity: float = MIXED[4],
    ) -> None:
        super().__init__()
        self._setting = np.array([pair, reverse, edge_in, edge_out, popularity], np.float64)
        if not np.isfinite(self._setting).all():
            raise ConfigError("weights cannot be used", wanted="finite numbers", got=str(self._setting))

    def params(self) -> dict[str, Any]:
        names = ("pair", "reverse", "edge_in", "edge_out", "popularity")
        return dict(zip(names, self._setting.tolist(), strict=True))

"""A learned model of links on cheap temporal features: a small network that ranks, trained in stream order.

It goes on learning in the stream. The stale protocol and the causal one want a model each: what it learns from is what
it will be asked from, the past as it stood when a block began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from graph.baselines import MIXED, mix_of
from graph.draws import bits
from graph.link_features import LinkFeatures, features_of, queries
from graph.link_history import IN, NODES, OUT, RING, SCALES, Floats, Ints, edges, update_one
from graph.link_network import F32, HIDDEN, SECOND, adam, backward, forward, initial, softmax_slope
from graph.table import find
from tidemill.errors import ConfigError, IncompatibleError

STRANGER = -(2**62)
"""A node number that stands for one never seen."""

_MIX = np.array(MIXED)

GROUP = 16
"""Events whose gradients are summed for a step."""


@njit(cache=True)
def draw(h: Any, src: int, dst: int, seed: int, event: int, past: int, strange: float, out: Ints) -> None:
    """Negatives: the first `past` from the source's last destinations, the others from all nodes seen or a stranger; of
    a bipartite past from all destinations seen but `dst`, each as likely as another."""
    a, _ = find(h.node_table, h.node_id, src)
    b, pool = np.int64(-1), h.size[NODES]
    if h.bipartite:
        b, _ = find(h.node_table, h.node_id, dst)
        pool = h.ended[IN]
        if b >= 0 and h.node_count[b, IN] > 0:
            pool -= 1
    for i in range(len(out)):
        out[i] = STRANGER
        drawn = np.int64(bits(seed, event - 1, i) >> np.uint64(1))
        if i < past and a >= 0 and h.node_count[a, OUT] > 0:
            out[i] = h.node_id[h.ring_node[a, OUT, drawn % min(h.node_count[a, OUT], RING)]]
        elif pool > 0 and (drawn & 0xFFFFF) >= strange * 0x100000:
            row = (drawn >> 20) % pool
            if h.bipartite:
                row = h.ends[IN, row]
                if row == b:  # the last, which is not drawn otherwise, stands for it
                    row = h.ends[IN, pool]
            out[i] = h.node_id[row]
        if out[i] == dst:
            out[i] = STRANGER


@njit(cache=True)
def place(scores: Any) -> Any:
    """The mean rank of the first score among all, from 1: ties count half."""
    above = 1.0
    for i in range(1, len(scores)):
        if scores[i] > scores[0]:
            above += 1.0
        elif scores[i] == scores[0]:
            above += 0.5
    return above


@njit(cache=True)
def tell(h: Any, src: int, candidates: Ints, time: float, scores: F32, out: Floats) -> None:
    """A row of `Told`, of the first of the candidates."""
    mixed, met = np.zeros(len(candidates)), np.zeros(len(candidates))
    a, _ = find(h.node_table, h.node_id, src)
    for i in range(len(candidates)):
        b, _ = find(h.node_table, h.node_id, candidates[i])
        mixed[i] = mix_of(h, a, b, time, _MIX)
        if a >= 0 and b >= 0:
            met[i] = find(h.pair_table, h.pair_key, (a << 32) | b)[0] >= 0
    out[0] = 1.0 / np.exp(scores.astype(np.float64) - scores[0]).sum()
    out[1], out[2], out[3] = place(scores), place(mixed), place(met)


@njit(cache=True)
def _learn(
    h: Any,
    src: Ints,
    dst: Ints,
    time: Floats,
    block: int,
    w: Any,
    counts: Ints,
    plan: Any,
    rate: float,
    decay: float,
    told: Any,
    start: int,
) -> None:
    negatives, past, strange, seed = plan
    weights, grad, mean, square = w
    m, d = negatives + 1, (len(weights) - HIDDEN - HIDDEN * SECOND - 2 * SECOND) // HIDDEN
    X, candidates = np.zeros((m, d), np.float32), np.zeros(m, np.int64)
    first, second = np.zeros((m, HIDDEN), np.float32), np.zeros((m, SECOND), np.float32)
    out = np.zeros(m, np.float32)
    for low in range(0, len(src), block):
        high = min(low + block, len(src))
        for i in range(max(low, start), high):
            candidates[0] = dst[i]
            draw(h, src[i], dst[i], seed, counts[0], past, strange, candidates[1:])
            features_of(h, src[i], candidates, time[i], X)
            forward(weights, X, first, second, out)
            if len(told):
                tell(h, src[i], candidates, time[i], out, told[i])
            backward(weights, grad, X, first, second, softmax_slope(out))
            counts[0] += 1
            if counts[0] % GROUP == 0:
                counts[1] += 1
                adam(weights, grad, mean, square, counts[1], rate, decay)
        for i in range(low, high):
            update_one(h, src[i], dst[i], time[i])


@njit(cache=True)
def _score(h: Any, src: Ints, candidates: Ints, time: Floats, weights: F32, X: F32, out: F32) -> None:
    m = candidates.shape[1]
    first, second = np.zeros((m, HIDDEN), np.float32), np.zeros((m, SECOND), np.float32)
    for i in range(len(src)):
        features_of(h, src[i], candidates[i], time[i], X)
        forward(weights, X, first, second, out[i])


class Told(NamedTuple):
    """What was predicted of edges before they were learned, each against as many negatives as the model learns with:
    `share`, the softmax of the true destination's score among all; `rank`, its mean rank from 1; `mix_rank` and
    `bank_rank`, those that `RecencyMix` and `EdgeBank` give it among the same."""

    share: Floats
    rank: Floats
    mix_rank: Floats
    bank_rank: Floats


class LinkModel:
    """A network of two hidden layers over `LinkFeatures`, by softmax loss against seeded negatives.

    `score` answers from the edges learned so far. `learn` takes a block in stream order: each of its edges is learned
    from the past as it stood when the block began, and then the whole block becomes past. So the block is part of the
    meaning (one event: causal; 200: stale). `frozen` stops the weights; the past still grows. `bipartite`: no node is
    both a source and a destination, so negatives are drawn from destinations alone.
    """

    def __init__(
        self,
        *,
        scales: Sequence[float] = SCALES,
        negatives: int = 20,
        historical: int = 0,
        strangers: float = 0.1,
        rate: float = 0.001,
        decay: float = 1e-4,
        seed: int = 0,
        frozen: bool = False,
        bipartite: bool = False,
    ) -> None:
        if not 0 <= historical <= negatives or negatives < 1 or not 0.0 <= strangers <= 1.0 or not 0.0 < rate < 1.0:
            raise ConfigError(
                "a link model cannot be built so",
                wanted="1 or more negatives, no more historical ones, a share of strangers and a rate in (0, 1)",
                got=f"negatives={negatives}, historical={historical}, strangers={strangers}, rate={rate}",
            )
        self.past = LinkFeatures(scales, bipartite=bipartite)
        self.negatives, self.historical, self.strangers = negatives, historical, float(strangers)
        self.rate, self.decay, self.seed, self.frozen = float(rate), float(decay), seed, frozen
        weights = initial(len(self.past.names), seed)
        self._w = (weights, np.zeros_like(weights), np.zeros_like(weights), np.zeros_like(weights))
        self._counts = np.zeros(2, np.int64)

    def score(self, src: ArrayLike, candidates: ArrayLike, time: ArrayLike) -> NDArray[np.float32]:
        """Scores of `src[i]` → `candidates[i, j]` at `time[i]`, shape (n, m): higher is likelier."""
        src, candidates, time = queries(src, candidates, time)
        out = np.zeros(candidates.shape, np.float32)
        X = np.zeros((candidates.shape[1], len(self.past.names)), np.float32)
        _score(self.past.arrays, src, candidates, time, self._w[0], X, out)
        return out

    def learn(self, src: ArrayLike, dst: ArrayLike, time: ArrayLike) -> None:
        """Learn from a block of edges; see the class."""
        if self.frozen:
            self.past.update(src, dst, time)
        else:
            src, dst, time = edges(src, dst, time)
            self._run(src, dst, time, max(len(src), 1), self.rate)

    def follow(self, src: ArrayLike, dst: ArrayLike, time: ArrayLike) -> Told:
        """Predict each edge from all before it, and then learn it: `learn` edge by edge, and the same however the
        stream is cut. What is predicted is kept in no way."""
        src, dst, time = edges(src, dst, time)
        told = np.zeros((len(src), len(Told._fields)))
        self._run(src, dst, time, 1, self.rate, told)
        return Told(*np.ascontiguousarray(told.T))

    def fit(self, src: ArrayLike, dst: ArrayLike, time: ArrayLike, *, block: int, passes: int = 8) -> None:
        """Learn from edges in blocks of `block`, from an empty past, `passes` times over with other negatives, at
        twice the rate and slower with each pass. The second half of the passes learns from the later half of the edges
        alone, and has the others as past: what will be asked comes after much past, as those did."""
        src, dst, time = edges(src, dst, time)
        for done in range(passes):
            self.past.reset()
            start = 0 if 2 * done < passes else len(src) // 2
            self._run(src, dst, time, block, 2.0 * self.rate * (1.0 - 0.7 * done / passes), start=start)

    def _run(
        self,
        src: Ints,
        dst: Ints,
        time: Floats,
        block: int,
        rate: float,
        told: Floats = np.zeros((0, 4)),
        start: int = 0,
    ) -> None:
        """From `start` on weights learn; what is before is past alone."""
        self.past.reserve(len(src))
        plan = (self.negatives, self.historical, self.strangers, self.seed)
        _learn(self.past.arrays, src, dst, time, block, self._w, self._counts, plan, rate, self.decay, told, start)

    @property
    def weights(self) -> F32:
        """The network's, as one vector."""
        return self._w[0]

    def params(self) -> dict[str, Any]:
        return {
            "scales": list(self.past.scales),
            "negatives": self.negatives,
            "historical": self.historical,
            "strangers": self.strangers,
            "rate": self.rate,
            "decay": self.decay,
            "seed": self.seed,
            "frozen": self.frozen,
            "bipartite": self.past.bipartite,
        }

    def state(self) -> dict[str, Any]:
        """Arrays `weights`, `gradient`, `mean`, `square` (one vector each), `counts` (events, steps), and those of the
        past."""
        named = dict(zip(("weights", "gradient", "mean", "square"), (x.copy() for x in self._w), strict=True))
        return self.past.state() | named | {"counts": self._counts.copy()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        own = {"weights": self._w[0].shape, "gradient": self._w[0].shape, "mean": self._w[0].shape}
        own |= {"square": self._w[0].shape, "counts": (2,)}
        if (got := {name: np.shape(state[name]) for name in own if name in state}) != own:
            raise IncompatibleError("not a state of this model", wanted=str(own), got=str(got))
        self.past.load_state({name: value for name, value in state.items() if name not in own})
        w, g, m, s = (np.array(state[name], np.float32) for name in ("weights", "gradient", "mean", "square"))
        self._w, self._counts = (w, g, m, s), np.array(state["counts"], np.int64)

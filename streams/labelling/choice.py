"""What to label next, as a function: of a pool of candidates, a mixture of strategies and a budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.labelling import uncertainty
from streams.labelling.spread import clusters, k_centre
from tidemill.errors import ConfigError
from tidemill.hashing import xxh64

Float = NDArray[np.float64]

STRATEGIES = (
    "entropy",
    "margin",
    "least_confidence",
    "disagreement",
    "drift",
    "k_centre",
    "clusters",
    "random",
)


@dataclass
class Pool:
    """The candidates: `ids`, probabilities `P` (n × K), and where there are any, what each model version says of an
    item (v × K), its `embeddings` (n × d), its `groups`, by how much the error rate of its region rose (`rise`, n),
    and the embeddings of what was asked before (`taken`, m × d)."""

    ids: Sequence[str]
    P: Float
    versions: Sequence[Float] = ()
    embeddings: Float | None = None
    groups: Sequence[str] = ()
    rise: Float | None = None
    taken: Float | None = None


class Pick(NamedTuple):
    """A candidate that is to be labelled: which, by what strategy, and how much it wanted it, in [0, 1]."""

    at: int
    strategy: str
    score: float


def check_shares(shares: Mapping[str, float]) -> None:
    """Raises `ConfigError` where these are no shares of a mixture."""
    if odd := [name for name in shares if name not in STRATEGIES]:
        raise ConfigError("no such strategy", wanted=", ".join(STRATEGIES), got=repr(odd[0]))
    if not shares or not all(share > 0 and np.isfinite(share) for share in shares.values()):
        raise ConfigError("no mixture of strategies", wanted="shares above 0", got=repr(dict(shares)))


def choose(
    pool: Pool,
    shares: Mapping[str, float],
    budget: int,
    *,
    seed: int = 0,
    per_group: int | None = None,
    among: int = 10,
) -> list[Pick]:
    """At most `budget` candidates, `per_group` at most of a group, the most wanted of each strategy first.

    The budget is dealt to the strategies by their `shares` (largest remainders). `entropy`, `margin`,
    `least_confidence` and `disagreement` want the most unsure; `drift` those of regions where errors rose, the most
    unsure first; `k_centre` and `clusters` spread over the embedding among the `among` × share most unsure by margin;
    `random` draws by a hash of seed and id. What a strategy has no candidates for (no embedding, no second version, no
    drift) goes to the next ones, and in the end to `margin`. The same pool gives the same choice, in whatever order it
    stands: ties go by id.
    """
    check_shares(shares)
    order = np.argsort(np.array(pool.ids, dtype=object), kind="stable")
    turn = _Turn(pool, order, seed, per_group, among)
    left = budget
    for strategy, quota in quotas(shares, budget).items():
        turn.owed += quota
        left -= turn.take(strategy, turn.owed)
    turn.take("margin", left)
    return turn.picks


def quotas(shares: Mapping[str, float], budget: int) -> dict[str, int]:
    """The budget dealt by shares: whole numbers that sum to it, by largest remainders, ties to the first named."""
    whole = sum(shares.values())
    exact = {name: budget * share / whole for name, share in shares.items()}
    dealt = {name: int(value) for name, value in exact.items()}
    rest = sorted(exact, key=lambda name: dealt[name] - exact[name])[: budget - sum(dealt.values())]
    return {name: dealt[name] + (name in rest) for name in dealt}


class _Turn:
    """One choice under way."""

    def __init__(self, pool: Pool, order: NDArray[np.int64], seed: int, per_group: int | None, among: int) -> None:
        self.pool, self.order, self.seed, self.among = pool, order, seed, among
        self.per_group = per_group if pool.groups else None
        self.picks: list[Pick] = []
        self.owed = 0
        self._in: Counter[str] = Counter()
        self._free = np.ones(len(pool.ids), dtype=np.bool_)
        self._margin = uncertainty.margin(pool.P) if len(pool.ids) else np.zeros(0)

    def take(self, strategy: str, count: int) -> int:
        """Pick up to `count` by a strategy; how many there were."""
        before = len(self.picks)
        if strategy in ("k_centre", "clusters"):
            self._spread(strategy, count)
        else:
            scores = self._scores(strategy)
            self._best(strategy, scores, self._wanted(strategy, scores), count)
        taken = len(self.picks) - before
        self.owed = max(0, self.owed - taken)
        return taken

    def _scores(self, strategy: str) -> Float:
        pool = self.pool
        if strategy == "random":
            return np.array([xxh64(id.encode(), self.seed) / 2.0**64 for id in pool.ids])
        if strategy == "disagreement":
            return np.array([uncertainty.disagreement(v) for v in pool.versions or [pool.P[:0]] * len(pool.ids)])
        if strategy == "drift":
            rise = np.zeros(len(pool.ids)) if pool.rise is None else pool.rise
            return np.asarray(rise * (0.5 + 0.5 * self._margin))
        if strategy == "margin":
            return self._margin
        measure = uncertainty.entropy if strategy == "entropy" else uncertainty.least_confidence
        return measure(pool.P) if len(pool.ids) else np.zeros(0)

    def _wanted(self, strategy: str, scores: Float) -> NDArray[np.bool_]:
        return self._free & (scores > 0.0) if strategy in ("disagreement", "drift") else self._free.copy()

    def _best(self, strategy: str, scores: Float, wanted: NDArray[np.bool_], count: int) -> None:
        for at in self.order[np.argsort(-scores[self.order], kind="stable")].tolist():
            if count <= 0:
                return
            if wanted[at] and self._pick(at, strategy, float(scores[at])):
                count -= 1

    def _spread(self, strategy: str, count: int) -> None:
        """Spread over the most unsure that are free and of no full group, until there are enough or no more."""
        X = self.pool.embeddings
        while count > 0 and X is not None:
            open_ = [at for at in self.order.tolist() if self._free[at] and not self._full(at)]
            near = sorted(open_, key=lambda at: -self._margin[at])[: max(count * self.among, count)]
            if not near:
                return
            if strategy == "k_centre":
                mine = [X[pick.at] for pick in self.picks]
                before = [*([] if self.pool.taken is None else self.pool.taken), *mine]
                found = k_centre(X[near], count, np.array(before) if before else None)
            else:
                found = clusters(X[near], self._margin[near], count, self.seed)
            count -= sum(self._pick(near[i], strategy, float(self._margin[near[i]])) for i in found)

    def _full(self, at: int) -> bool:
        return self.per_group is not None and self._in[self.pool.groups[at]] >= self.per_group

    def _pick(self, at: int, strategy: str, score: float) -> bool:
        if self._full(at):
            return False
        self._free[at] = False
        if self.per_group is not None:
            self._in[self.pool.groups[at]] += 1
        self.picks.append(Pick(at, strategy, score))
        return True

"""Predict, then learn: how well links are foreseen, in the order of the stream."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import Int
from tidemill.errors import UserError

Float = NDArray[np.float64]
Updates = Literal["causal", "stale"]

BATCH = 200
"""Links between two updates under `stale`, as in PyG's and TGB's examples."""


class Predictor(Protocol):
    """A model of links, or a baseline."""

    name: str

    def score_and_learn(
        self, source: Int, target: Int, candidates: Int, time: Float, *, stale: bool = False
    ) -> NDArray[np.float32]: ...

    def learn(self, source: Int, target: Int, time: Float, *, stale: bool = False) -> None: ...


@dataclass(frozen=True)
class Links:
    """Links in the order of the stream: numbers of nodes, and seconds."""

    source: Int
    target: Int
    time: Float

    def __post_init__(self) -> None:
        if not len(self.source) == len(self.target) == len(self.time):
            raise UserError(
                "lengths differ", where="Links", got=f"{len(self.source)}, {len(self.target)}, {len(self.time)}"
            )
        if (np.diff(self.time) < 0).any():
            raise UserError("not in the order of time", where="Links", fix="Sort them, stably.")

    def __len__(self) -> int:
        return len(self.time)

    def part(self, first: int, end: int) -> Links:
        return Links(self.source[first:end], self.target[first:end], self.time[first:end])

    def blocks(self, size: int = BATCH) -> Iterator[Links]:
        for first in range(0, len(self), size):
            yield self.part(first, first + size)


@dataclass(frozen=True)
class Quality:
    """What came out. `mrr` is the mean of 1 / rank of the right target among the candidates, ties counting half each;
    `hits10` the share ranked 10th or better; `ap` and `auc` are of all scores, right ones against wrong ones. `seconds`
    are of the whole run over these links, learning included."""

    name: str
    protocol: str
    mrr: float
    hits10: float
    ap: float
    auc: float
    seconds: float


def random_negatives(links: Links, targets: Int, count: int, seed: int) -> Int:
    """Of each link `count` wrong targets (n × count), drawn evenly with replacement from `targets`, whatever is known
    of them at the time; by chance the right one may be among them."""
    return targets[np.random.default_rng(seed).integers(0, len(targets), (len(links), count))]


def historical_negatives(links: Links, past: Links, count: int, seed: int) -> Int:
    """Of each link `count` targets (n × count) that its source was linked to in `past`, drawn evenly with replacement;
    of a source without any, targets of any link of the past."""
    random = np.random.default_rng(seed)
    order = np.argsort(past.source, kind="stable")
    sources, targets = past.source[order], past.target[order]
    low, high = np.searchsorted(sources, links.source, "left"), np.searchsorted(sources, links.source, "right")
    low, high = np.where(low == high, 0, low), np.where(low == high, len(targets), high)
    return targets[(low[:, None] + random.random((len(links), count)) * (high - low)[:, None]).astype(np.int64)]


def evaluate(model: Predictor, links: Links, negatives: Int, protocol: Updates) -> Quality:
    """Every link is predicted against its `negatives` (n × c), then learned.

    `causal`: what is known is brought up to date link by link. `stale`: before every `BATCH` links only. The weights of
    a model that learns are brought up to date before every `BATCH` links in both.
    """
    began = clock.perf_counter()
    ranks, right, wrong = [], [], []
    for number, part in enumerate(links.blocks()):
        candidates = np.concatenate([part.target[:, None], negatives[number * BATCH :][: len(part)]], axis=1)
        scores = model.score_and_learn(part.source, part.target, candidates, part.time, stale=protocol == "stale")
        ranks.append(ranks_of(scores))
        right.append(scores[:, 0])
        wrong.append(scores[:, 1:].ravel())
    seconds = clock.perf_counter() - began
    rank = np.concatenate(ranks)
    labels = np.concatenate([np.ones(len(rank)), np.zeros(negatives.size)])
    scores = np.concatenate([*right, *wrong])
    ap, auc = average_precision(labels, scores), area_under_roc(labels, scores)
    return Quality(model.name, protocol, float((1 / rank).mean()), float((rank <= 10).mean()), ap, auc, seconds)


def ranks_of(scores: NDArray[np.float32]) -> Float:
    """The rank (from 1) of the first of each row's scores; of those that are equal to it half count as better."""
    first, others = scores[:, :1], scores[:, 1:]
    ranks: Float = 1.0 + (others > first).sum(axis=1) + 0.5 * (others == first).sum(axis=1)
    return ranks


def average_precision(labels: Float, scores: NDArray[np.float32]) -> float:
    """Σ (recallₙ − recallₙ₋₁) precisionₙ over the distinct scores from above, as scikit-learn's."""
    hits, seen = _cumulated(labels, scores)
    recall = hits / hits[-1]
    return float((np.diff(recall, prepend=0.0) * hits / seen).sum())


def area_under_roc(labels: Float, scores: NDArray[np.float32]) -> float:
    """The probability that a right one has a higher score than a wrong one, equal ones counting half."""
    hits, seen = _cumulated(labels, scores)
    true, false = np.concatenate([[0.0], hits / hits[-1]]), np.concatenate([[0.0], (seen - hits) / (seen - hits)[-1]])
    return float(((true[1:] + true[:-1]) / 2 * np.diff(false)).sum())


def _cumulated(labels: Float, scores: NDArray[np.float32]) -> tuple[Float, Float]:
    """At each distinct score from above: the right ones with it or a higher one, and all."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=np.inf))
    return np.cumsum(labels[order])[ends], (ends + 1).astype(np.float64)


def table(results: Sequence[Quality]) -> str:
    """The results as lines of text."""
    lines = [f"{'model':28} {'protocol':8} {'MRR':>6} {'hits@10':>8} {'AP':>6} {'AUC':>6} {'seconds':>8}"]
    lines += [
        f"{q.name:28} {q.protocol:8} {q.mrr:6.3f} {q.hits10:8.3f} {q.ap:6.3f} {q.auc:6.3f} {q.seconds:8.1f}"
        for q in results
    ]
    return "\n".join(lines)

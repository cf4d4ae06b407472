"""Link prediction in stream order: every edge is predicted among negatives before anything is learned from it.

Two protocols, always named: `causal` learns after each edge, `stale` after each 200, so that a block is predicted from
the past as it stood when the block began. Order is the stream's: of edges with one time, the earlier in the stream is
past to the later under `causal`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from graph.link_history import Floats, Ints, edges
from tidemill.errors import ConfigError

PROTOCOLS = {"causal": 1, "stale": 200}
"""Edges predicted before they are learned."""

NEGATIVES = 100


class LinkPredictor(Protocol):
    """What is evaluated."""

    def score(self, src: ArrayLike, candidates: ArrayLike, time: ArrayLike) -> NDArray[Any]:
        """Scores (n, m) of `src[i]` → `candidates[i, j]` at `time[i]`; higher is likelier."""
        ...

    def learn(self, src: ArrayLike, dst: ArrayLike, time: ArrayLike) -> None:
        """Take in a block of edges in stream order."""
        ...

    def fit(self, src: ArrayLike, dst: ArrayLike, time: ArrayLike, *, block: int) -> None:
        """Learn from a first part of the stream."""
        ...


class Quality(msgspec.Struct, frozen=True):
    """Metrics of one model under one protocol and one kind of negatives, and the seconds they took; of fitting also the
    processor's, of all threads of this process."""

    model: str
    protocol: str
    negatives: str
    mrr: float
    ap: float
    auc: float
    hits_1: float
    hits_10: float
    fit_seconds: float
    fit_processor_seconds: float
    test_seconds: float


def split(n: int) -> tuple[int, int]:
    """Where validation and test begin: 70 / 15 / 15 % in stream order."""
    return int(0.7 * n), int(0.85 * n)


def seeded(dst: ArrayLike, nodes: ArrayLike, *, seed: int, count: int = NEGATIVES) -> Ints:
    """Negatives (n, count): drawn uniformly with replacement from `nodes` without the true destination.

    With `nodes` all the nodes of the data set (sources and destinations), whether seen already or not, a candidate
    that is new to the model is no sign of a true edge; drawn from the nodes seen so far it would be a sure one.
    """
    true, pool = np.asarray(dst, np.int64), np.unique(np.asarray(nodes, np.int64))
    if len(pool) < 2:
        raise ConfigError("negatives cannot be drawn", wanted="2 nodes or more", got=str(len(pool)))
    rng = np.random.default_rng(seed)
    drawn = pool[rng.integers(0, len(pool), (len(true), count))]
    while (same := drawn == true[:, None]).any():
        drawn[same] = pool[rng.integers(0, len(pool), int(same.sum()))]
    return drawn


def historical(
    src: ArrayLike, dst: ArrayLike, nodes: ArrayLike, *, start: int, seed: int, count: int = NEGATIVES
) -> Ints:
    """Negatives of the edges from `start` on: up to half are distinct earlier destinations of the same source (of all
    edges before this one, without the true destination), the rest is `seeded`.

    Source: Huang et al., *Temporal Graph Benchmark for machine learning on temporal graphs*, NeurIPS 2023.
    """
    a, b = np.asarray(src, np.int64), np.asarray(dst, np.int64)
    drawn = seeded(b[start:], nodes, seed=seed, count=count)
    rng = np.random.default_rng([seed, 1])
    known: dict[int, dict[int, None]] = {}
    for i, (source, true) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        if i >= start:
            before = np.array([node for node in known.get(source, ()) if node != true], np.int64)
            chosen = rng.permutation(before)[: count // 2]
            drawn[i - start, : len(chosen)] = chosen
        known.setdefault(source, {})[true] = None
    return drawn


def ranks(scores: ArrayLike) -> Floats:
    """The true candidate's rank (the first column's) from 1; ties count half each, so they get the mean rank."""
    s = np.asarray(scores, np.float64)
    if not np.isfinite(s).all():
        raise ConfigError("scores cannot be ranked", wanted="finite scores", got="nan or infinite ones")
    return np.asarray(1.0 + (s[:, 1:] > s[:, :1]).sum(1) + 0.5 * (s[:, 1:] == s[:, :1]).sum(1))


def auc(true: ArrayLike, false: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a true edge scores above a false one, ties counting half."""
    t, f = np.asarray(true, np.float64), np.sort(np.asarray(false, np.float64))
    below, upto = np.searchsorted(f, t, "left"), np.searchsorted(f, t, "right")
    return float((below + upto).sum() / (2.0 * len(t) * len(f)))


def average_precision(true: ArrayLike, false: ArrayLike) -> float:
    """Precision at each threshold, weighted by the recall gained there; equal scores are one threshold."""
    t, f = np.asarray(true, np.float64), np.asarray(false, np.float64)
    values = np.unique(t)[::-1]
    above_t = len(t) - np.searchsorted(np.sort(t), values, "left")
    above_f = len(f) - np.searchsorted(np.sort(f), values, "left")
    gained = np.diff(above_t, prepend=0) / len(t)
    return float((gained * above_t / (above_t + above_f)).sum())


def stream(
    model: LinkPredictor, src: ArrayLike, dst: ArrayLike, time: ArrayLike, negatives: ArrayLike, *, block: int
) -> NDArray[np.float64]:
    """Scores (n, 1 + m) of the true destination and its negatives, predicted block by block and then learned.

    The candidates are asked in the order of their numbers, the true one among them, so that no model can tell it by
    its place.
    """
    a, b, t = edges(src, dst, time)
    candidates = np.column_stack([b, np.asarray(negatives, np.int64)])
    order = np.argsort(candidates, axis=1, kind="stable")
    asked = np.take_along_axis(candidates, order, axis=1)
    out = np.empty(candidates.shape)
    for low in range(0, len(a), block):
        part = slice(low, low + block)
        np.put_along_axis(out[part], order[part], model.score(a[part], asked[part], t[part]).astype(np.float64), axis=1)
        model.learn(a[part], b[part], t[part])
    return out


def quality(scores: NDArray[np.float64], **named: Any) -> Quality:
    """All metrics of the scores from `stream`; AP and AUC take each edge's first negative, so classes are even, as the
    published figures do."""
    r = ranks(scores)
    true, false = scores[:, 0], scores[:, 1]
    return Quality(
        mrr=float((1.0 / r).mean()),
        ap=average_precision(true, false),
        auc=auc(true, false),
        hits_1=float((r <= 1.0).mean()),
        hits_10=float((r <= 10.0).mean()),
        **named,
    )


def evaluate(
    models: Iterable[tuple[str, Callable[[], LinkPredictor]]],
    src: ArrayLike,
    dst: ArrayLike,
    time_: ArrayLike,
    *,
    seed: int = 1,
    part: str = "test",
    kinds: tuple[str, ...] = ("seeded", "historical"),
) -> list[Quality]:
    """Every model under both protocols and each kind of negatives, on the `test` or the `validation` part.

    A model is fitted on the first 70 %. Before the test it predicts nothing but goes on learning through the 15 % of
    validation, in the protocol's blocks. A learned model goes on learning during the test too, after each prediction,
    unless it is frozen.
    """
    a, b, t = edges(src, dst, time_)
    valid, test = split(len(a))
    start, stop = (test, len(a)) if part == "test" else (valid, test)
    nodes = np.union1d(a, b)
    drawn = {
        "seeded": seeded(b[start:], nodes, seed=seed),
        "historical": historical(a, b, nodes, start=start, seed=seed),
    }
    found = []
    for name, make in models:
        for protocol, block in PROTOCOLS.items():
            model = make()
            begun, worked = time.perf_counter(), time.process_time()
            model.fit(a[:valid], b[:valid], t[:valid], block=block)
            fit = {
                "fit_seconds": time.perf_counter() - begun,
                "fit_processor_seconds": time.process_time() - worked,
            }
            for low in range(valid, start, block):
                past = slice(low, min(low + block, start))
                model.learn(a[past], b[past], t[past])
            for kind in kinds:
                asked, now = copy.deepcopy(model), slice(start, stop)
                begun = time.perf_counter()
                scores = stream(asked, a[now], b[now], t[now], drawn[kind][: stop - start], block=block)
                took = time.perf_counter() - begun
                named = {"model": name, "protocol": protocol, "negatives": kind}
                found.append(quality(scores, **named, **fit, test_seconds=took))
    return found


def table(found: Iterable[Quality]) -> str:
    """The figures as lines of text."""
    head = ("model", "protocol", "negatives", "MRR", "AP", "AUC", "hits@1", "hits@10", "fit s", "fit CPU s", "test s")
    rows: list[tuple[str, ...]] = [head]
    for q in found:
        figures = [f"{x:.3f}" for x in (q.mrr, q.ap, q.auc, q.hits_1, q.hits_10)]
        took = [f"{x:.1f}" for x in (q.fit_seconds, q.fit_processor_seconds, q.test_seconds)]
        rows.append((q.model, q.protocol, q.negatives, *figures, *took))
    wide = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, wide, strict=True)).rstrip() for row in rows)

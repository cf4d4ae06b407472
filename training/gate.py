"""Whether a candidate may take the champion's place: paired tests of their answers to the same items.

A candidate passes where what was exported answers as the network does (parity); where, on all items together, it is
better than the champion and a paired test says that this is no chance (p < `alpha`, two-sided); and where on no set of
items alone (the frozen test version, the newest labels) it is worse by more than chance. A model without a champion is
held against the answer that needs no model: the class that is most frequent among the items, or no boxes.

Classification: McNemar's exact test. With b items that only the candidate has right and c that only the champion has,
p = min(1, 2 P(X ≤ min(b, c))), X ~ Binomial(b + c, 1/2). Detection: the difference in mean average precision at IoU 0.5
by a paired bootstrap over images, p = 2 min(P(d ≤ 0), P(d ≥ 0)).

Sources: McNemar, Psychometrika 1947; Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.matching import Matches

ALPHA = 0.05
REPLICATES = 2_000
PARITY = 1e-3
"""Largest difference between an answer exported and not: of a probability, or of a box in parts of its image."""


@dataclass(frozen=True)
class Answers:
    """What both answered to the items of one set. `truth` holds class numbers, or boxes [m, 5]; the answers are
    probabilities [classes], or boxes [n, 6] (`connectors.encoded_model`). Of a model without a champion that is
    None. `learned` counts the items that the set is without, as the candidate learned from them."""

    name: str
    truth: Sequence[Any]
    candidate: Sequence[NDArray[Any]]
    champion: Sequence[NDArray[Any]] | None
    learned: int = 0


class Verdict(NamedTuple):
    """Whether a candidate passes, why, and what was looked at with its figures."""

    accepted: bool
    reasons: list[str]
    checks: list[dict[str, Any]]


class _Compared(NamedTuple):
    """Figures of both, and how likely the difference is by chance."""

    candidate: float
    champion: float
    p: float


def decide(
    task: str, classes: int, sets: Sequence[Answers], difference: float, *, alpha: float = ALPHA, seed: int = 0
) -> Verdict:
    """The verdict on a candidate. `difference` is the largest between its answers exported and not. Sets may be empty;
    where all are, the candidate is refused."""
    parity = {"check": "parity", "passed": bool(difference <= PARITY), "difference": difference, "most": PARITY}
    checks, reasons = [parity], []
    if not parity["passed"]:
        reasons.append(f"exported, it answers otherwise than trained: by {difference:.2g}, {PARITY:g} is taken")
    there = [one for one in sets if len(one.truth)]
    for one in there:
        found = _compare(task, classes, [one], seed)
        worse = found.candidate < found.champion and found.p < alpha
        checks.append(_check(one.name, not worse, found, len(one.truth)) | {"learned": one.learned})
        if worse:
            reasons.append(f"worse on {one.name}: {_said(found)}")
    if not there:
        return Verdict(False, [*reasons, "there is no labelled item to judge it by"], checks)
    found = _compare(task, classes, there, seed)
    better = found.candidate > found.champion and found.p < alpha
    checks.append(_check("together", better, found, sum(len(one.truth) for one in there)))
    if not better:
        how = "not better" if found.candidate <= found.champion else "better by no more than chance"
        reasons.append(f"{how}: {_said(found)}")
    accepted = not reasons
    without = [
        f"{one.name} is without {one.learned} of {one.learned + len(one.truth)} items, which the candidate learned from"
        for one in there
        if one.learned
    ]
    return Verdict(accepted, (reasons or [f"better: {_said(found)}"]) + without, checks)


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p of so many items that only one of two has right."""
    n, k = only_first + only_second, min(only_first, only_second)
    term, total = 1, 0
    for i in range(k + 1):
        total += term
        term = term * (n - i) // (i + 1)
    return float(min(1.0, 2 * total / 2**n))


def _compare(task: str, classes: int, sets: Sequence[Answers], seed: int) -> _Compared:
    if task == "detection":
        return _compare_boxes(classes, sets, seed)
    truth = np.concatenate([np.asarray(one.truth, np.int64) for one in sets])
    first = _said_classes([answer for one in sets for answer in one.candidate]) == truth
    if any(one.champion is None for one in sets):
        second = np.bincount(truth, minlength=classes).argmax() == truth
    else:
        second = _said_classes([answer for one in sets for answer in one.champion or ()]) == truth
    p = mcnemar(int((first & ~second).sum()), int((second & ~first).sum()))
    return _Compared(float(first.mean()), float(second.mean()), p)


def _said_classes(answers: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    return np.array([answer.argmax() for answer in answers], np.int64)


def _compare_boxes(classes: int, sets: Sequence[Answers], seed: int) -> _Compared:
    truth = [boxes for one in sets for boxes in one.truth]
    nothing = np.zeros((0, 6), np.float32)
    first = Matches([boxes for one in sets for boxes in one.candidate], truth, classes)
    second = Matches([b for one in sets for b in (one.champion or [nothing] * len(one.truth))], truth, classes)
    rng, n = np.random.default_rng(seed), len(truth)
    differences = np.empty(REPLICATES)
    for i in range(REPLICATES):
        weights = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        differences[i] = first.mean_average_precision(weights) - second.mean_average_precision(weights)
    low = (1 + (differences <= 0).sum()) / (REPLICATES + 1)
    high = (1 + (differences >= 0).sum()) / (REPLICATES + 1)
    every = np.ones(n)
    p = min(1.0, 2 * float(min(low, high)))
    return _Compared(first.mean_average_precision(every), second.mean_average_precision(every), p)


def _check(name: str, passed: bool, found: _Compared, items: int) -> dict[str, Any]:
    return {"check": name, "passed": bool(passed), "items": items, **found._asdict()}


def _said(found: _Compared) -> str:
    return f"{found.candidate:.4f} against {found.champion:.4f}, p = {found.p:.2g}"

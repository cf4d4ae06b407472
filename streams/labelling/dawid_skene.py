"""Dawid and Skene's model of annotators who err, by expectation maximisation.

The truth of item i is class k with probability p_k; annotator a then answers l with probability C_a[k, l], each
answer independently of the others. EM takes turns:

    E:  T_i[k] ∝ p_k · Π_(answers a, l of i) C_a[k, l]
    M:  p_k ∝ s + Σ_i T_i[k],   C_a[k, l] ∝ s · P[k, l] + Σ_(items i that a answered l) T_i[k]

from the shares of votes on. `s` pseudo-answers of each true class stand for what is taken for granted of an annotator:
`P` puts `DIAGONAL` on the right answer and the rest evenly on the others; `s` pseudo-items of each class keep one that
was not seen yet possible, so that the only answer about the only item has a posterior near `DIAGONAL`, not 1. It is the
most probable point under these priors (Dirichlet). With s = 0 it is the model of crowd-kit's
`DawidSkene`. The one-coin model has one number for an annotator, how often the answer is right, and errs evenly:
C_a[k, l] = q_a where k = l, else (1 − q_a) / (K − 1); it is crowd-kit's `OneCoinDawidSkene`.

Sources: Dawid, Skene, *Maximum likelihood estimation of observer error-rates using the EM algorithm*, Applied
Statistics 28, 1979; Zhang, Chen, Zhou, Jordan, *Spectral methods meet EM*, 2014 (one-coin).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Places = NDArray[np.uint64]
Floats = NDArray[np.float64]

DIAGONAL = 0.7
"""The share of right answers that is taken for granted of an annotator, as far as `smoothing` weighs."""

PASSES, TOLERANCE = 100, 1e-5
"""EM ends after so many passes, or when the evidence bound grows by less than this per answer (as crowd-kit's)."""

_LEAST = 1e-10
"""No probability is below this, so that one answer rules nothing out for ever."""


class Estimate(NamedTuple):
    """What EM found: `posterior` (items × K), `counts` (annotators × K × K: expected answers by true class and answer,
    without pseudo-answers), `classes` (K: expected items of each class)."""

    posterior: Floats
    counts: Floats
    classes: Floats


@njit(cache=True)
def tell(counts: Floats, a: int, one_coin: bool, smoothing: float, logs: Floats) -> None:
    """Into `logs` (K × K), the logarithm of the probability of each answer of annotator `a` by true class."""
    k = counts.shape[1]
    if one_coin:
        right, all = smoothing * DIAGONAL, smoothing
        for c in range(k):
            right += counts[a, c, c]
            for x in range(k):
                all += counts[a, c, x]
        q = right / all if all > 0.0 else DIAGONAL
        q = min(max(q, _LEAST), 1.0 - _LEAST)
        wrong = np.log((1.0 - q) / max(k - 1, 1))
        for c in range(k):
            for x in range(k):
                logs[c, x] = np.log(q) if c == x else wrong
        return
    for c in range(k):
        total = 0.0
        for x in range(k):
            prior = DIAGONAL if c == x else (1.0 - DIAGONAL) / max(k - 1, 1)
            logs[c, x] = max(counts[a, c, x] + smoothing * prior, _LEAST)
            total += logs[c, x]
        for x in range(k):
            logs[c, x] = np.log(logs[c, x] / total)


@njit(cache=True)
def _count(item: Places, who: Places, value: Places, posterior: Floats, counts: Floats) -> None:
    counts[:] = 0.0
    for i in range(len(item)):
        own, p = counts[who[i], :, value[i]], posterior[item[i]]
        for c in range(len(p)):
            own[c] += p[c]


@njit(cache=True)
def _granted(prior: Floats, logs: Floats, one_coin: bool, smoothing: float) -> float:
    """The logarithm of the priors' density, up to a constant: with it the bound that EM raises never falls."""
    k = len(prior)
    total: float = smoothing * prior.sum()
    for a in range(len(logs)):
        for c in range(1 if one_coin else k):
            for x in range(k):
                total += smoothing * (DIAGONAL if c == x else (1.0 - DIAGONAL) / max(k - 1, 1)) * logs[a, c, x]
    return total


@njit(cache=True)
def _em(
    item: Places, who: Places, value: Places, known: Ints, posterior: Floats, counts: Floats, par: Floats, passes: int
) -> Floats:
    n, k, people = len(item), posterior.shape[1], len(counts)
    one_coin, smoothing, tolerance = par[0] != 0.0, par[1], par[2]
    logs = np.empty((people, k, k))
    scores = np.empty_like(posterior)
    log_posterior = np.zeros_like(posterior)
    seen = np.zeros(len(posterior), np.bool_)
    for i in range(n):
        posterior[item[i], value[i]] += 1.0
        seen[item[i]] = True
    for i in range(len(posterior)):
        if known[i] >= 0:
            posterior[i] = 0.0
            posterior[i, known[i]] = 1.0
            seen[i] = True
        elif seen[i]:
            posterior[i] /= posterior[i].sum()
    classes, before = np.zeros(k), -np.inf
    for turn in range(passes + 1):
        classes[:] = 0.0
        for i in range(len(posterior)):
            if seen[i]:
                for c in range(k):
                    classes[c] += posterior[i, c]
        _count(item, who, value, posterior, counts)
        for a in range(people):
            tell(counts, a, one_coin, smoothing, logs[a])
        if turn == passes:
            break
        smoothed = classes + smoothing
        prior = np.log(np.maximum(smoothed / max(smoothed.sum(), 1.0), _LEAST))
        scores[:] = prior
        for i in range(n):
            s, told = scores[item[i]], logs[who[i], :, value[i]]
            for c in range(k):
                s[c] += told[c]
        bound = _granted(prior, logs, one_coin, smoothing) if smoothing > 0.0 else 0.0
        for i in range(len(posterior)):
            if turn > 0 and seen[i]:
                for c in range(k):
                    p = posterior[i, c]
                    if p > 0.0:
                        bound += p * (scores[i, c] - log_posterior[i, c])
        if turn > 0 and n > 0:
            if bound / n - before < tolerance:
                break
            before = bound / n
        for i in range(len(posterior)):
            if known[i] < 0 and seen[i]:
                highest, total = scores[i, 0], 0.0
                for c in range(1, k):
                    highest = max(highest, scores[i, c])
                for c in range(k):
                    log_posterior[i, c] = scores[i, c] - highest
                    posterior[i, c] = 1.0 if scores[i, c] == highest else np.exp(log_posterior[i, c])
                    total += posterior[i, c]
                log_total = np.log(total)
                for c in range(k):
                    log_posterior[i, c] -= log_total
                    posterior[i, c] /= total
    return classes


def dawid_skene(
    item: Ints,
    who: Ints,
    value: Ints,
    *,
    items: int,
    annotators: int,
    classes: int,
    known: Ints | None = None,
    one_coin: bool = False,
    smoothing: float = 0.0,
    passes: int = PASSES,
    tolerance: float = TOLERANCE,
) -> Estimate:
    """The estimate from n answers: numbers of item, annotator and class of each (each (n,), from 0).

    `known` (items; −1 not known) holds classes that are certain: of reviewed items and gold questions. An item without
    answers that is not known has a posterior of 0. The result is a function of the answers in the order given: sums
    are rounded, so whoever wants a function of the set sorts it.
    """
    posterior, counts = np.zeros((items, classes)), np.zeros((annotators, classes, classes))
    certain = np.full(items, -1, np.int64) if known is None else known
    par = np.array([float(one_coin), smoothing, tolerance])
    # Compiled code looks at the sign of a signed index before it uses it.
    i, a, x = (part.astype(np.uint64) for part in (item, who, value))
    found = _em(i, a, x, certain, posterior, counts, par, passes)
    return Estimate(posterior, counts, found)

"""Confident learning: which given labels are probably wrong, from out-of-sample probabilities.

Source: Northcutt, Jiang and Chuang, *Confident learning: estimating uncertainty in dataset labels*, JAIR 70, 2021.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.errors import ConfigError

Float = NDArray[np.float64]
Ints = NDArray[np.int64]
Rank = Literal["self_confidence", "normalised_margin"]


class Doubts(NamedTuple):
    """Rows whose label is doubtful, the most doubtful first; of every row its `quality` in [0, 1] (the lowest is the
    most doubtful) and its likeliest class; and the estimated joint distribution of given label and true class (K × K).
    """

    rows: Ints
    quality: Float
    likeliest: Ints
    joint: Float


def thresholds(P: Float, labels: Ints) -> Float:
    """Of each class the mean probability of it over the rows labelled so, $t_j$; infinite for a class without rows."""
    k = P.shape[1]
    count = np.bincount(labels, minlength=k)
    sums = np.bincount(labels, weights=P[np.arange(len(labels)), labels], minlength=k)
    return np.where(count > 0, sums / np.maximum(count, 1), np.inf)


def confident_joint(P: Float, labels: Ints) -> tuple[Ints, Ints]:
    """$C_{ij}$: how many rows labelled $i$ are confidently $j$, that is $j = \\arg\\max \\{p_l : p_l \\ge t_l\\}$; and
    that class of each row, −1 where no class reaches its threshold."""
    k = P.shape[1]
    above = thresholds(P, labels)[None, :] - 1e-12 <= P
    confident = np.where(above.any(axis=1), np.where(above, P, -1.0).argmax(axis=1), -1)
    C = np.zeros((k, k), np.int64)
    sure = confident >= 0
    np.add.at(C, (labels[sure], confident[sure]), 1)
    return C, confident


def joint(C: Ints, labels: Ints) -> Float:
    """The joint distribution of given label and true class: the rows of `C` scaled to the counts of the labels (a class
    of which nothing is confident is taken as right), and all to 1."""
    count = np.bincount(labels, minlength=len(C)).astype(np.float64)
    rows = C.astype(np.float64)
    empty = rows.sum(axis=1) == 0
    rows[empty, np.flatnonzero(empty)] = 1.0
    Q = rows / rows.sum(axis=1, keepdims=True) * count[:, None]
    return np.asarray(Q / max(Q.sum(), 1.0))


def qualities(P: Float, labels: Ints, rank: Rank) -> Float:
    """Of each row how likely its label is right, in [0, 1]: `self_confidence` $p_y$, or `normalised_margin`
    $(p_y - \\max_{j \\ne y} p_j + 1) / 2$."""
    at = np.arange(len(labels))
    own = P[at, labels]
    if rank == "self_confidence":
        return own.copy()
    if rank != "normalised_margin":
        raise ConfigError("no such ranking", wanted="self_confidence or normalised_margin", got=repr(rank))
    rest = P.copy()
    rest[at, labels] = -np.inf
    return np.asarray((own - rest.max(axis=1) + 1.0) / 2.0)


def doubtful(P: Float, labels: Ints, *, rank: Rank = "self_confidence") -> Doubts:
    """Find doubtful labels: of given label $i$ and each other class $j$, the $n Q_{ij}$ rows with the largest
    $p_j - p_i$ (pruning by noise rate; rounded so that each label keeps its count, by largest remainders), without
    those whose label is the most probable class, ranked by quality.

    `P` is n × K, of a model that did not learn these labels; `labels` are class numbers (n,). Raises `ConfigError`
    where they do not fit.
    """
    P, labels = np.asarray(P, np.float64), np.asarray(labels, np.int64)
    if P.ndim != 2 or labels.shape != (len(P),):
        raise ConfigError("lengths differ", wanted="n × K probabilities and n labels", got=f"{P.shape}, {labels.shape}")
    k = P.shape[1]
    if len(labels) and not 0 <= labels.min() <= labels.max() < k:
        raise ConfigError("a label is no class", wanted=f"0 to {k - 1}", got=f"{labels.min()} to {labels.max()}")
    quality = qualities(P, labels, rank)
    likeliest = P.argmax(axis=1) if len(P) else np.zeros(0, np.int64)
    C, _ = confident_joint(P, labels)
    Q = joint(C, labels)
    found = np.zeros(len(P), dtype=np.bool_)
    wanted = _whole(Q * len(P))
    for i in range(k):
        mine = np.flatnonzero(labels == i)
        for j in range(k):
            if j != i and wanted[i, j]:
                gap = P[mine, j] - P[mine, i]
                found[mine[np.argsort(-gap, kind="stable")[: wanted[i, j]]]] = True
    found &= likeliest != labels
    rows = np.flatnonzero(found)
    return Doubts(rows[np.argsort(quality[rows], kind="stable")], quality, likeliest, Q)


def _whole(rows: Float) -> Ints:
    """The rows in whole numbers, each of the same sum, by largest remainders."""
    out = np.floor(rows + 1e-9).astype(np.int64)
    for row, exact in zip(out, rows, strict=True):
        left = round(float(exact.sum())) - int(row.sum())
        if left > 0:
            row[np.argsort(row - exact, kind="stable")[:left]] += 1
    return out

"""Votes: each item takes the class that most annotators gave it, all alike or by how often they agree.

    majority:   T_i[k] = share of the answers of item i that say k
    weighted:   T_i[k] ∝ Σ of the skills of those who say k,   skill_a = share of a's answers that agree with majority

The second is crowd-kit's `Wawa` (worker agreement with aggregate). Of equal shares the first class wins.
"""

from __future__ import annotations

import numpy as np

from streams.labelling.dawid_skene import Estimate, Ints


def majority(
    item: Ints, who: Ints, value: Ints, *, items: int, annotators: int, classes: int, known: Ints | None = None
) -> Estimate:
    """The shares of votes of n answers; arguments are those of `dawid_skene`. `counts` hold every annotator's answers
    by the class that the majority (or what is known) gave the item."""
    votes = np.zeros((items, classes))
    np.add.at(votes, (item, value), 1.0)
    total = votes.sum(1)
    posterior = votes / np.maximum(total, 1.0)[:, None]
    found = posterior.argmax(1)
    if known is not None:
        certain = np.flatnonzero(known >= 0)
        found[certain] = known[certain]
        posterior[certain] = 0.0
        posterior[certain, known[certain]] = 1.0
        total[certain] += 1.0
    counts = np.zeros((annotators, classes, classes))
    np.add.at(counts, (who, found[item], value), 1.0)
    return Estimate(posterior, counts, np.bincount(found[total > 0], minlength=classes).astype(float))


def weighted_majority(
    item: Ints, who: Ints, value: Ints, *, items: int, annotators: int, classes: int, known: Ints | None = None
) -> Estimate:
    """The shares of skill of n answers; arguments and `counts` are those of `majority`."""
    plain = majority(item, who, value, items=items, annotators=annotators, classes=classes, known=known)
    given = plain.counts.sum((1, 2))
    skill = np.einsum("akk->a", plain.counts) / np.maximum(given, 1.0)
    votes = np.zeros((items, classes))
    np.add.at(votes, (item, value), skill[who])
    total = votes.sum(1)
    posterior = np.where((total > 0)[:, None], votes / np.where(total > 0, total, 1.0)[:, None], plain.posterior)
    if known is not None:
        certain = known >= 0
        posterior[certain] = plain.posterior[certain]
    return Estimate(posterior, plain.counts, plain.classes)

"""When an item is asked no more: the stopping rule of dynamic overlap.

    settled  ⇔  reviewed,  or  n ≥ most,  or  n ≥ least and posterior ≥ sure        (n ≥ 1 answers)

It depends on nothing but the answers that stand, so whoever knows them agrees on it. So that labels do not flap while
posteriors move a little, what is settled already stays so, in between exact estimations, down to `sure − SLACK`.
"""

from __future__ import annotations

SLACK = 0.05


def is_settled(
    confidence: float, answers: int, overlap: tuple[int, int], sure: float, *, reviewed: bool = False
) -> bool:
    """Whether an item whose most probable value has posterior `confidence` after `answers` answers is settled."""
    least, most = overlap
    return reviewed or answers >= max(most, 1) or (answers >= max(least, 1) and confidence >= sure)

"""Ratings of several annotators become one: the weighted median, each annotator's own bias taken off.

    rating = the weighted median of (answer − bias of its annotator), to the next whole number in the range

The confidence is the share of weight of annotators whose rating, without their bias, rounds to the one found. An
annotator's bias is the mean of what their ratings differ from those found, drawn towards 0 as by `SHRINK` ratings
without any; the skill falls with the rest of the error, 1 − |error| / (width of the range).
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.labelling.boxes import Merged

SHRINK = 5.0


def merge_ratings(
    answers: Sequence[int], weights: Sequence[float], biases: Sequence[float], low: int, high: int
) -> Merged:
    """One rating in [low, high] from those of several annotators, with weights > 0 and their biases."""
    levels = [min(max(round(answer - bias), low), high) for answer, bias in zip(answers, biases, strict=True)]
    by: dict[int, float] = {}
    for level, weight in zip(levels, weights, strict=True):
        by[level] = by.get(level, 0.0) + weight
    total, reached, found = sum(weights), 0.0, low
    for level in sorted(by):
        reached += by[level]
        if reached >= total / 2:
            found = level
            break
    posterior = {str(level): round(by[level] / total, 6) for level in sorted(by, key=lambda v: (-by[v], v))}
    agreement = [(1.0 - abs(level - found) / (high - low), 1.0) for level in levels]
    return Merged(found, by[found] / total, posterior, agreement)


def bias_of(error: float, ratings: float) -> float:
    """An annotator's bias from the sum of what `ratings` ratings differ from those found."""
    return error / (ratings + SHRINK)

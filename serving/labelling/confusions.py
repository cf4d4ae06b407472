"""What annotators mistake for what: matrices of counts by what is true and what was answered, as the kind has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.labelling.agreement import confusion
from serving.labelling.values import paired

NOTHING = ""
"""The class of no box: a row of it are boxes too many, a column of it boxes that were missed."""

MOST_BOXED = 500
"""Answers in boxes that are matched, the newest: whoever asks for figures waits for it."""

Matrix = list[list[int]]


def axes(kind: str, classes: Sequence[str]) -> list[str]:
    """The classes by which a matrix has its rows and columns."""
    return [*classes, NOTHING] if kind == "boxes" else list(classes)


def matrices(kind: str, pairs: Sequence[tuple[Any, Any]], classes: Sequence[str]) -> Matrix | dict[str, Matrix] | None:
    """Of pairs of what is true and what was answered: for a single class and for boxes one matrix by `axes`; for sets
    of classes one for each class, by whether it holds, no before yes; None for what has no classes."""
    if kind == "single":
        return confusion(pairs, classes)
    if kind == "multi":
        return _holding(pairs, classes)
    if kind == "boxes":
        said = [pair for true, given in pairs[-MOST_BOXED:] for pair in _boxes(true, given)]
        return confusion(said, axes(kind, classes))
    return None


def _holding(pairs: Sequence[tuple[Any, Any]], classes: Sequence[str]) -> dict[str, Matrix]:
    """What neither names is counted once for all: there may be a thousand classes."""
    tables = {one: [[len(pairs), 0], [0, 0]] for one in classes}
    for true, said in ((set(true or ()), set(said or ())) for true, said in pairs):
        for one in (true | said) & tables.keys():
            tables[one][0][0] -= 1
            tables[one][one in true][one in said] += 1
    return tables


def _boxes(true: list[Any], said: list[Any]) -> list[tuple[str, str]]:
    """The class of each true box and of the one that was drawn there, whichever class that has."""
    places = [[["", *box[1:]] for box in boxes] for boxes in (true or [], said or [])]
    found = paired(*places)
    left = {i for i, _ in found}, {j for _, j in found}
    return (
        [(true[i][0], said[j][0]) for i, j in found]
        + [(box[0], NOTHING) for i, box in enumerate(true or []) if i not in left[0]]
        + [(NOTHING, box[0]) for j, box in enumerate(said or []) if j not in left[1]]
    )

"""What of an event's fields a graph can use: which rows are no id, no feature, no weight, no time, no verdict."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from graph.checking import BOUND
from graph.nodes import is_id
from graph.verdicts import VERDICTS
from tidemill.block import Block, Column
from tidemill.errors import BadEvent, NotFiniteError, WrongTypeError

LONGEST = 256
"""Characters of a barrier's name."""


def no_ids(column: Column, null: bool = False) -> NDArray[np.int64]:
    """The rows that name no node; `null` where none need be named."""
    if column.dtype.kind == "i":
        return np.empty(0, np.int64)
    if column.dtype.kind == "u":
        return np.flatnonzero(column > np.iinfo(np.int64).max)
    if column.dtype.kind != "O":
        return np.arange(len(column))
    return np.flatnonzero([not (is_id(value) or (null and value is None)) for value in column.tolist()])


def no_times(column: Column) -> NDArray[np.int64]:
    if column.dtype.kind == "i":
        return np.flatnonzero((column <= -BOUND) | (column >= BOUND))
    values = column.tolist()
    return np.flatnonzero([type(value) is not int or not -BOUND < value < BOUND for value in values])


def got(block: Block, name: str, i: int) -> str:
    return repr(block.columns[name][i : i + 1].tolist()[0])[:80]


def no_weights(column: Column) -> NDArray[np.int64]:
    given = floats(column)
    return np.flatnonzero(~((given > 0.0) & (given < np.inf)))


def floats(column: Column) -> NDArray[np.float64]:
    """Numbers; NaN for what is none."""
    if column.dtype.kind == "O":
        plain = column.tolist()
        return np.array([v if isinstance(v, int | float) and not isinstance(v, bool) else np.nan for v in plain], float)
    return column.astype(np.float64)


def not_finite(column: Column) -> NDArray[np.int64]:
    largest = np.finfo(np.float32).max
    return np.flatnonzero(~(np.abs(floats(column)) <= largest))


def no_names(column: Column) -> NDArray[np.int64]:
    """The rows that name no barrier."""
    values = column.tolist()
    return np.flatnonzero([not (isinstance(value, str) and 0 < len(value) <= LONGEST) for value in values])


def no_verdicts(block: Block, field: str, weight: str | None) -> Iterator[tuple[int, BadEvent]]:
    """The rows that say no verdict in `field`, or give no weight in `weight` where they should."""
    verdicts = block.columns[field].tolist()
    wanted = ", ".join(VERDICTS if weight else [name for name in VERDICTS if name != "weight"])
    for i, verdict in enumerate(verdicts):
        if not isinstance(verdict, str) or verdict not in wanted.split(", "):
            yield i, WrongTypeError("no verdict", field=field, wanted=wanted, got=repr(verdict)[:80])
        elif verdict == "weight" and weight:
            given = block.columns[weight][i]
            number = isinstance(given, int | float | np.number) and not isinstance(given, bool)
            if not number or not 0 <= given <= sys.float_info.max:
                wanted_weight = "a finite number, not below 0"
                yield i, NotFiniteError("no weight", field=weight, wanted=wanted_weight, got=got(block, weight, i))

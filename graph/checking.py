"""What is asked of a graph or put into it is looked at first: nothing is half-done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import MIN_TIME, Int
from graph.edges import Edges
from graph.relation import Relation
from graph.selection import RECENT, UNIFORM, WEIGHTED
from tidemill.errors import NotFiniteError, UserError, WrongTypeError

STRATEGIES = {"recent": RECENT, "uniform": UNIFORM, "weighted": WEIGHTED}
BOUND = 1 << 61
"""Times are smaller than this in size, so that sums of two cannot overflow: in microseconds, 73,000 years."""


T = TypeVar("T")


def lookup(held: Mapping[str, T], what: str, name: str) -> T:
    """What is held under that name. Raises `UserError` where nothing is."""
    if name not in held:
        raise UserError(f"no such {what}", where="graph", wanted=f"one of {', '.join(held)}", got=repr(name))
    return held[name]


def times_of(where: str, time: Sequence[int] | Int, *lengths: int) -> Int:
    times = np.asarray(time)
    if times.ndim != 1 or any(n != len(times) for n in lengths):
        got = f"{', '.join(map(str, lengths))} ids and times of shape {times.shape}"
        raise UserError("lengths differ", where=where, wanted="one time for each", got=got)
    if len(times) and times.dtype.kind not in "iu":
        raise WrongTypeError("not times", where=where, wanted="whole microseconds", got=str(times.dtype))
    if len(times) and not (int(times.min()) > -BOUND and int(times.max()) < BOUND):
        raise UserError("a time out of range", where=where, wanted="microseconds below 2^61 in size")
    return np.ascontiguousarray(times, np.int64)


def check_query(
    edges: Edges, nodes: Int, before: Int, k: int, direction: str, strategy: str, seed: int, tau: float | None
) -> None:
    where = f"relation {edges.relation.name}"
    if len(before) not in (1, len(nodes)):
        raise UserError("lengths differ", where=where, wanted=f"one `before`, or {len(nodes)}", got=str(len(before)))
    if k < 1:
        raise UserError("k out of range", where=where, wanted="at least 1", got=str(k))
    if direction not in ("out", "in"):
        raise UserError("no such direction", where=where, wanted="out or in", got=repr(direction))
    if not 0 <= seed < 1 << 62:
        raise UserError("a seed out of range", where=where, wanted="0 to 2^62 - 1", got=str(seed))
    if strategy not in STRATEGIES:
        raise UserError("no such strategy", where=where, wanted=", ".join(STRATEGIES), got=repr(strategy))
    if (strategy == "weighted") != (tau is not None) or (tau is not None and not 0 < tau < float("inf")):
        raise UserError("tau goes with strategy weighted", where=where, wanted="microseconds above 0", got=str(tau))


def check_lost(edges: Edges, ttl: int | None, before: Int) -> None:
    if ttl is None or edges.lost == MIN_TIME or not len(before):
        return
    if int(before.min()) - ttl <= edges.lost:
        raise UserError(
            "that long ago is no longer known",
            where=f"relation {edges.relation.name}",
            wanted=f"before above {edges.lost + ttl}",
            got=str(int(before.min())),
            fix="Ask as of a later time, or give the graph a longer time to live.",
        )


def features_of(where: str, features: Any | None, rows: int, width: int) -> NDArray[np.float32] | None:
    if width == 0 and features is None:
        return None
    given = np.asarray([] if features is None else features, np.float32)
    if given.shape != (rows, width):
        if given.size == 0 and rows == 0:
            return np.empty((0, width), np.float32)
        raise UserError("features do not fit", where=where, wanted=f"shape {(rows, width)}", got=str(given.shape))
    if not np.isfinite(given).all():
        raise NotFiniteError("features that are not finite", where=where, wanted="finite numbers")
    return given


def weights_of(relation: Relation, weights: Any | None, rows: int) -> NDArray[np.float64] | None:
    """The weights of `rows` edges: 1 each where none are given, None along a relation without. Raises `UserError`."""
    where = f"relation {relation.name}"
    if not relation.weighted:
        if weights is None:
            return None
        raise UserError("weights along a relation without", where=where, wanted="none, or Relation(..., weighted=True)")
    if weights is None:
        return np.ones(rows)
    given = np.asarray(weights)
    if given.shape != (rows,) or given.dtype.kind not in "iuf":
        got = f"{given.dtype} of shape {given.shape}"
        raise UserError("weights do not fit", where=where, wanted=f"{rows} numbers", got=got)
    given = given.astype(np.float64)
    wrong = given[~((given > 0.0) & (given < np.inf))]
    if len(wrong):
        raise UserError("a weight out of range", where=where, wanted="finite, above 0", got=str(wrong[0]))
    return given


def numbers_of(what: str, given: Any) -> Int:
    """Node numbers or moments as an array. Raises `WrongTypeError` for what is not whole, `UserError` beyond 2^61."""
    numbers = np.atleast_1d(np.asarray(given))
    if len(numbers) and numbers.dtype.kind not in "iu":
        raise WrongTypeError(
            "not whole numbers", where=what, wanted="numbers, or whole microseconds", got=str(numbers.dtype)
        )
    if len(numbers) and not (int(numbers.min()) >= -BOUND and int(numbers.max()) <= BOUND):
        raise UserError("a number out of range", where=what, wanted="below 2^61 in size")
    return np.ascontiguousarray(numbers, np.int64)

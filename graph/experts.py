"""What experts change in the scores of possible edges: the same model's before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.link_model import LinkModel
from graph.store import TemporalGraph
from tidemill.errors import UserError


class Effect(msgspec.Struct, frozen=True):
    """One candidate: its score without and with experts (`after` null: forbidden, or of weight 0), its rank among the
    candidates (1 is best) each time, and its weight."""

    node: Any
    before: float
    after: float | None
    rank_before: int
    rank_after: int
    weight: float


def effect(
    model: LinkModel,
    graph: TemporalGraph,
    relation: str,
    source: Any,
    candidates: Sequence[Any],
    at: int,
    *,
    top: int | None = None,
) -> list[Effect]:
    """How `model` scores the edges of `relation` from node `source` to `candidates` (ids) as of `at` (µs), without and
    with all that experts said before: the best `top` of either ranking, in the order of that with experts.

    The model's weights stay; its past is made of the edges that stand. A score is a logit of a choice among
    candidates, so an expert's weight w adds log w. The model is one of `links`: trained on those node numbers.
    Raises `UserError` for a node that is not there.
    """
    start, end = graph.ends(relation, "out")
    numbers = graph.numbers(end, candidates)
    asked = graph.numbers(start, [source])
    if min(int(asked[0]), int(numbers.min(initial=0))) < 0:
        named = [id for id, n in zip([source, *candidates], [*asked, *numbers], strict=True) if n < 0]
        raise UserError("no such node", where=f"relation {relation}", got=", ".join(map(repr, named[:5])))
    named_as = numbers if start == end else -1 - numbers
    plain, told = (
        _replayed(model, graph, relation, at, experts).score(asked, named_as[None, :], [at / 1e6])[0].astype(float)
        for experts in (False, True)
    )
    hidden, weights = graph.said(relation, np.repeat(asked, len(numbers)), numbers, at)
    with np.errstate(divide="ignore"):
        told = np.where(hidden, -np.inf, told + np.log(weights))
    first, then = _ranks(plain), _ranks(told)
    out = []
    for i in np.lexsort((first, then)).tolist():
        if top is None or min(first[i], then[i]) <= top:
            after = float(told[i]) if np.isfinite(told[i]) else None
            ranks = int(first[i]), int(then[i])
            out.append(Effect(candidates[i], float(plain[i]), after, *ranks, weight=float(weights[i])))
    return out


def links(graph: TemporalGraph, relation: str, before: int, *, experts: bool = True) -> tuple[Int, Int, NDArray[Any]]:
    """The edges that stand as of `before` as a `LinkModel` takes them, in the order of time: sources, targets (−1 −
    number where they are of another type than sources) and seconds."""
    source, target, time, _ = graph.edges(relation, graph.standing(relation, before, experts=experts))
    start, end = graph.ends(relation, "out")
    order = np.argsort(time, kind="stable")
    target = target if start == end else -1 - target
    return source[order], target[order], time[order] / 1e6


def _replayed(model: LinkModel, graph: TemporalGraph, relation: str, at: int, experts: bool) -> LinkModel:
    """A model of the same weights whose past is the edges that stand."""
    out = LinkModel(**model.params())
    out.load_state(model.state())
    out.past.reset()
    out.past.update(*links(graph, relation, at, experts=experts))
    return out


def _ranks(scores: NDArray[Any]) -> Int:
    """1 for the largest; of equal ones, the first first."""
    ranks = np.empty(len(scores), np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks

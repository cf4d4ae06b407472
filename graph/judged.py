"""What experts say to a graph, and what of it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.checking import check_lost, features_of, numbers_of, times_of
from graph.edges import Edges
from graph.lock import ReadWriteLock
from graph.verdicts import VERDICTS
from tidemill.errors import UserError


class Judged:
    """The part of a `TemporalGraph` that takes verdicts on edges, as of moments as everything else.

    Of a pair of nodes as of `before` all verdicts of time < `before` count, in the order of (time, coming), however
    late they came:

    - `assert` adds an edge of the verdict's time, which only a `revoke` ends, and ends an earlier `forbid`;
    - `forbid` hides all edges between the two, those that come later too;
    - `weight` gives them all a weight (1 where none is given) beside their own: a factor of `weights`, and of
      `weighted` draws;
    - `revoke` takes all of that back.
    """

    if TYPE_CHECKING:
        ttl: int | None
        _lock: ReadWriteLock

        def _relation(self, name: str) -> Edges: ...
        def _intern(self, relation: Any, source: Any, target: Any) -> tuple[Int, Int]: ...
        def _grow(self) -> None: ...
        def _advance(self, time: int) -> None: ...

    def judge(
        self, relation: str, source: Any, target: Any, at: int, verdict: str, weight: float = 1.0, features: Any = None
    ) -> None:
        """An expert's verdict on the edges from node `source` to node `target` (ids; made where they are new) from `at`
        on. `features`, 1 × the relation's, are those of an edge that is asserted. Raises `UserError`, and nothing is
        done, for an unknown verdict, a weight below 0 or not finite, or features that do not fit."""
        edges, where = self._relation(relation), f"relation {relation}"
        if verdict not in VERDICTS:
            raise UserError("no such verdict", where=where, wanted=", ".join(VERDICTS), got=repr(verdict))
        if not 0.0 <= weight < float("inf"):
            raise UserError("a weight out of range", where=where, wanted="finite, not below 0", got=str(weight))
        time = int(times_of(where, [at])[0])
        rows = features_of(where, features, 1, len(edges.relation.features)) if verdict == "assert" else None
        with self._lock.writing():
            (start,), (end,) = self._intern(edges.relation, [source], [target])
            self._grow()
            edges.judge(int(start), int(end), time, VERDICTS[verdict], float(weight), rows)
            self._advance(time)

    def weights(self, relation: str, numbers: Int, before: int | Int, *, experts: bool = True) -> NDArray[np.float64]:
        """The weights of edges by their numbers as of `before` (one, or one each): their own (1 along a relation
        without), times those of experts."""
        edges = self._relation(relation)
        with self._lock.reading():
            at = edges.rows(np.asarray(numbers, np.int64))
            source, target = (column.array[at].astype(np.int64) for column in (edges.source, edges.target))
            own = np.ones(len(at)) if edges.weight is None else edges.weight.array[at]
        return own * self.said(relation, source, target, before)[1] if experts else own

    def said(
        self, relation: str, sources: Int, targets: Int, before: int | Int
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Of pairs of nodes (numbers) as of `before` (one, or one each): whether edges are forbidden, and their
        weights."""
        edges, moments = self._relation(relation), numbers_of("before", before)
        pairs = numbers_of("nodes", sources), numbers_of("nodes", targets)
        if len(pairs[0]) != len(pairs[1]) or len(moments) not in (1, len(pairs[0])):
            got = f"{len(pairs[0])}, {len(pairs[1])}, {len(moments)}"
            raise UserError("lengths differ", where=f"relation {relation}", wanted="pairs, one moment or each", got=got)
        with self._lock.reading():
            return edges.verdicts.of_pairs(*pairs, moments)

    def standing(self, relation: str, before: int, *, experts: bool = True) -> Int:
        """The numbers of all edges that are seen as of `before`; without `experts` as if they had said nothing."""
        edges = self._relation(relation)
        with self._lock.reading():
            check_lost(edges, self.ttl, np.array([before]))
            return edges.standing(before, self.ttl or 0, experts)

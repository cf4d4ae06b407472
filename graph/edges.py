"""The edges of one relation: their columns in the order of coming, and the neighbours of both ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graph.adjacency import (
    FOREVER,
    LENGTH,
    MAX_EDGES,
    MIN_TIME,
    Adjacency,
    Int,
    find_standing,
    mark_retracted,
)
from graph.columns import Column
from graph.reach import Marks, mark, reach_once
from graph.relation import Relation
from graph.selection import count_visible, select
from graph.verdicts import ASSERT, REVOKE, Verdicts, count_judged, merged, select_judged
from tidemill.errors import UserError
from tidemill.hashing import xxh64

MakeColumn = Callable[[str, Any, int], Column]

_COLUMNS = ("source", "target", "time", "features", "weight")
_ALIKE = np.empty(0)
_FEWEST_DROPPED = 4096


@njit(cache=True, nogil=True)
def _expired(times: Int, at: int, count: int, horizon: int, lost: int) -> tuple[int, int]:
    while at < count and times[at] < horizon:
        lost = max(lost, times[at])
        at += 1
    return at, lost


class Edges:
    """Edges `base` to `base + count` − 1 by number, which is the order in which they came.

    With a time to live, the longest run of oldest numbers that is wholly older than the horizon is *expired*: it counts
    for nothing any more, and is dropped when it has become the larger part. `lost` is the newest time in it.
    """

    def __init__(self, relation: Relation, column: MakeColumn) -> None:
        self.relation = relation
        self._column = column
        width = len(relation.features)
        self.source, self.target = column("source", np.int32, 0), column("target", np.int32, 0)
        self.time = column("time", np.int64, 0)
        self.features = column("features", np.float32, width) if width else None
        self.weight = column("weight", np.float64, 0) if relation.weighted else None
        self._heaviest = 0.0
        self._until = column("until", np.int64, 0)
        self._salt = xxh64(relation.name.encode())
        self.verdicts = Verdicts(relation.directed, lambda name, *kind: column(f"verdicts.{name}", *kind))
        self._retracted = False
        self.base = self.count = self.expired = 0
        self.lost = MIN_TIME
        self.sources, self.targets = 0, 0
        self._make_planes()

    def _make_planes(self) -> None:
        def plane(name: str) -> Adjacency:
            return Adjacency(lambda part, dtype, width: self._column(f"{name}.{part}", dtype, width))

        self.out = plane("out")
        self.into = plane("into") if self.relation.directed else self.out

    @property
    def next(self) -> int:
        """The number that the next edge will have."""
        return self.base + self.count

    def grow_nodes(self, sources: int, targets: int) -> None:
        """There are so many nodes of either type."""
        self.sources, self.targets = sources, targets
        self.out.nodes(sources)
        self.into.nodes(targets)
        self.verdicts.grow_nodes(sources, targets)

    def add(
        self,
        source: Int,
        target: Int,
        time: Int,
        features: NDArray[np.float32] | None,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        """Append edges between nodes that are there; each weighs 1 where no `weights` are given."""
        count, new = self.count, len(time)
        self.room(new)
        for column, values in ((self.source, source), (self.target, target), (self.time, time)):
            column.array[count : count + new] = values
        if self.weight is not None and new:
            self.weight.array[count : count + new] = 1.0 if weights is None else weights
            self._heaviest = max(self._heaviest, log(self.weight.array[count : count + new].max()))
        self._count_in(new, features)
        self._enter(source, target, time, count)

    def room(self, new: int) -> None:
        """Make room for `new` edges more. Raises `UserError` where there are no numbers for them."""
        total = self.count + new
        if total > MAX_EDGES:
            raise UserError(
                "too many edges",
                where=f"relation {self.relation.name}",
                wanted=f"at most {MAX_EDGES:,} that live at a time",
                fix="Give the graph a time to live.",
            )
        for column in (self.source, self.target, self.time, self.features, self.weight):
            if column is not None:
                column.room(total)
        if self._retracted:
            self._until.room(total, fill=FOREVER)

    def appended(self, new: int, features: NDArray[np.float32] | None, done: tuple[int, int]) -> None:
        """`new` edges stand behind the others in the columns, but for `features`; `done` of their entries are made in
        either plane."""
        first = self.count
        self._count_in(new, features)
        if done != ((new, new) if self.relation.directed else (2 * new, 0)):
            source, target = (c.array[first : self.count].astype(np.int64) for c in (self.source, self.target))
            self._enter(source, target, self.time.array[first : self.count], first, done)

    def _count_in(self, new: int, features: NDArray[np.float32] | None) -> None:
        if self.features is not None:
            self.features.array[self.count : self.count + new] = features
        self.count += new

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Source, target, time and until, with what there is room for."""
        return self.source.array, self.target.array, self.time.array, self._until.array

    def _enter(self, source: Int, target: Int, time: Int, first: int, done: tuple[int, int] = (0, 0)) -> None:
        self.out.insert(source, target, time, first, both=not self.relation.directed, done=done[0])
        if self.relation.directed:
            self.into.insert(target, source, time, first, done=done[1])

    def retract(self, source: int, target: int, at: int, occurred: int | None) -> int:
        """End the edges from `source` to `target` that stand at `at`; how many there were."""
        heads, pool = self.out.heads.array, self.out.pool.array
        when, anytime, either = occurred or 0, occurred is None, not self.relation.directed
        found = np.empty(16, np.int64)
        while True:
            n = find_standing(heads, pool, self._until.array, source, target, at, when, anytime, either, found)
            if n <= len(found):
                break
            found = np.empty(n, np.int64)
        found = found[:n]
        if self.verdicts.count:  # what an expert asserted stands until it is revoked
            found = found[~self.verdicts.among(self.base + found, source)]
        for edge in found.tolist():
            self._end(edge, at)
        return len(found)

    def judge(
        self, source: int, target: int, at: int, kind: int, weight: float, features: NDArray[np.float32] | None
    ) -> None:
        """Keep a verdict on the edges from `source` to `target`, whatever others came before it."""
        edge = self.next if kind == ASSERT else -1
        said = self.verdicts.on(source, target)
        if kind == ASSERT:
            one, other, time = (np.array([x], np.int64) for x in (source, target, at))
            self.add(one, other, time, features)
            later = said["time"][(said["kind"] == REVOKE) & (said["time"] > at)]
            if len(later):
                self._end(self.count - 1, int(later[0]))
        elif kind == REVOKE:
            for row in (said["edge"][(said["kind"] == ASSERT) & (said["time"] <= at)] - self.base).tolist():
                if row >= 0 and not (self._retracted and self._until.array[row] <= at):
                    self._end(row, at)
        self.verdicts.put(source, target, at, kind, weight, edge)

    def _end(self, edge: int, at: int) -> None:
        if not self._retracted:
            self._retracted = True
            self._until.room(max(self.count, 1), fill=FOREVER)
        self._until.array[edge] = at
        time = self.time.array[edge]
        for plane, node in ((self.out, self.source.array[edge]), (self.into, self.target.array[edge])):
            mark_retracted(plane.heads.array, plane.pool.array, node, time, edge)

    def expire(self, horizon: int) -> None:
        """What is older than `horizon` counts no more."""
        self.expired, self.lost = _expired(self.time.array, self.expired, self.count, horizon, self.lost)
        if self.expired >= _FEWEST_DROPPED and 2 * self.expired > self.count:
            self._drop()

    def _drop(self) -> None:
        kept = self._rows(self.expired)
        self.base += self.expired
        self._load(kept)

    def select(
        self,
        direction: str,
        nodes: Int,
        before: Int,
        k: int,
        ttl: int,
        strategy: int,
        seed: int,
        tau: float,
        experts: bool = True,
    ) -> tuple[Int, Int, Int, Int]:
        """See `selection.select`; of nodes on which there are verdicts, see `verdicts.select_judged`."""
        forward, plane, size = self._along(direction)
        fading = self._fading(tau)
        there = nodes[(nodes >= 0) & (nodes < size)]
        k = min(k, int(plane.heads.array[there, LENGTH].max(initial=1)))  # room is made for no more than there can be
        _, seed = self.way(direction, seed)
        arrays = plane.heads.array, plane.pool.array, self._until.array
        judged = self.verdicts.judged(nodes, forward, size) if self.verdicts.count else None
        if judged is None or not judged.any():
            found: tuple[Int, Int, Int, Int] = select(
                *arrays, size, self.base, nodes, before, k, ttl, strategy, seed, fading
            )
            return found
        found = select(*arrays, size, self.base, np.where(judged, -1, nodes), before, k, ttl, strategy, seed, fading)
        told = self.verdicts.told(self.verdicts.plane(forward))
        base = self.base
        other = select_judged(*arrays, size, base, told, nodes, before, k, ttl, strategy, seed, fading, experts)
        return merged(found, other)

    def _fading(self, tau: float) -> tuple[float, float, NDArray[np.float64]]:
        """What a weighted draw goes by: see `selection.choose`."""
        return tau, self._heaviest, _ALIKE if self.weight is None else self.weight.array

    def reach(
        self,
        direction: str,
        nodes: Int,
        before: int,
        k: int,
        ttl: int,
        strategy: int,
        seed: int,
        tau: float,
        marks: Marks,
        experts: bool = True,
    ) -> tuple[Int, Int]:
        """Row in `nodes`, row of the neighbour by `marks`, time and number of each edge, 4 × edges; and who was not
        marked yet, in turn."""
        given, (inward, seed) = seed, self.way(direction, seed)
        _, plane, size = self._along(direction)
        marks.room(self.sources if inward else self.targets)
        kept = marks.array, marks.origin, marks.count
        if self.verdicts.count:
            args = np.array([before]), k, ttl, strategy, given, tau, experts
            rows, others, times, numbers = self.select(direction, nodes, *args)
            sources, new = mark(others, *kept)
            marks.count += len(new)
            return np.stack([rows, sources, times, numbers]), new
        arrays = plane.heads.array, plane.pool.array, self._until.array
        by = strategy, seed, self._fading(tau)
        columns, new = reach_once(*arrays, size, self.base, nodes, before, k, ttl, *by, *kept)
        marks.count += len(new)
        return columns, new

    def degrees(self, direction: str, before: int, ttl: int) -> Int:
        """Of every node the edges that are seen as of `before`."""
        forward, plane, size = self._along(direction)
        arrays = plane.heads.array, plane.pool.array, self._until.array
        counted: Int = count_visible(*arrays, size, before, ttl)
        if self.verdicts.count:
            told = self.verdicts.told(self.verdicts.plane(forward))
            count_judged(*arrays, size, self.base, told, before, ttl, counted)
        return counted

    def standing(self, before: int, ttl: int, experts: bool) -> Int:
        """The numbers of all edges that are seen as of `before`."""
        time, rows = self.time.array[: self.count], np.arange(self.count)
        seen = (time < before) & ((time >= before - ttl) | (ttl == 0))
        if self._retracted:
            seen &= self._until.array[: self.count] >= before
        if self.verdicts.count and experts:
            source, target = (column.array[: self.count].astype(np.int64) for column in (self.source, self.target))
            seen &= ~self.verdicts.of_pairs(source, target, np.array([before]))[0]
        elif self.verdicts.count:
            seen &= ~np.isin(rows + self.base, self.verdicts.columns["edge"].array[: self.verdicts.count])
        return rows[seen] + self.base

    def way(self, direction: str, seed: int) -> tuple[bool, int]:
        """Whether it is along `into`, and the seed of its draws."""
        forward = direction == "out" or not self.relation.directed
        return not forward, (self._salt ^ (seed * 2 + forward)) & ((1 << 63) - 1)

    def _along(self, direction: str) -> tuple[bool, Adjacency, int]:
        forward = direction == "out" or not self.relation.directed
        return (True, self.out, self.sources) if forward else (False, self.into, self.targets)

    def rows(self, numbers: Int) -> Int:
        """The places of edge numbers in the columns. Raises `UserError` for one that is not there."""
        places = numbers - self.base
        if len(places) and (places.min() < 0 or places.max() >= self.count):
            wrong = numbers[(places < 0) | (places >= self.count)][0]
            wanted = f"{self.base:,} to {self.next - 1:,}"
            raise UserError("no such edge", where=f"relation {self.relation.name}", wanted=wanted, got=str(wrong))
        return places

    def _rows(self, first: int) -> dict[str, Any]:
        """The columns from place `first` on, copied, and the retractions among them."""
        rows: dict[str, Any] = {}
        for name in _COLUMNS:
            column: Column | None = getattr(self, name)
            if column is not None:
                rows[name] = column.array[first : self.count].copy()
        until = self._until.array[first : self.count] if self._retracted else np.empty(0, np.int64)
        rows["ended"] = np.flatnonzero(until != FOREVER)
        rows["until"] = until[rows["ended"]]
        return rows

    def _load(self, rows: Mapping[str, Any]) -> None:
        """Hold these rows and no others."""
        self.count = len(rows["time"])
        for name in _COLUMNS:
            column: Column | None = getattr(self, name)
            if column is not None:
                column.replace(rows[name])
        self._weigh()
        self.expired = 0
        self._retracted = bool(len(rows["ended"]))
        self._until.replace(np.empty(0, np.int64))
        if self._retracted:
            self._until.room(self.count, fill=FOREVER)
        self._make_planes()
        self.grow_nodes(self.sources, self.targets)
        source, target = rows["source"].astype(np.int64), rows["target"].astype(np.int64)
        self._enter(source, target, np.ascontiguousarray(rows["time"]), 0)
        for edge, at in zip(rows["ended"].tolist(), rows["until"].tolist(), strict=True):
            self._end(edge, at)

    def _weigh(self) -> None:
        if self.weight is not None:
            self._heaviest = log(self.weight.array[: self.count].max(initial=5e-324))

    def save(self) -> dict[str, Any]:
        """What counts, as arrays: the same bytes however the edges came in blocks."""
        said = {"verdicts": self.verdicts.save()} if self.verdicts.count else {}
        return {**self._rows(self.expired), "base": self.base + self.expired, "lost": self.lost, **said}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over, with the nodes there, what `save` gave."""
        self.base, self.lost = int(saved["base"]), int(saved["lost"])
        self._load(saved)
        if "verdicts" in saved:
            self.verdicts.load(saved["verdicts"])

    def parts(self) -> dict[str, NDArray[Any]]:
        """Everything as it lies in memory, so that it can be taken up again without work."""
        out: dict[str, NDArray[Any]] = {}
        for name in _COLUMNS:
            column: Column | None = getattr(self, name)
            if column is not None:
                out[name] = column.array[: self.count]
        out["until"] = self._until.array[: self.count] if self._retracted else np.empty(0, np.int64)
        counts = [self.base, self.count, self.expired, self.lost, self.sources, self.targets, self._retracted]
        out["counts"] = np.array(counts, np.int64)
        for name, plane in self._planes():
            out |= {f"{name}.{part}": array for part, array in plane.parts().items()}
        return out | {f"verdicts.{name}": array for name, array in self.verdicts.parts().items()}

    def take(self, parts: Mapping[str, NDArray[Any]]) -> None:
        """Take up what `parts` gave; nothing is copied before it is changed."""
        self.base, self.count, self.expired, self.lost, self.sources, self.targets, gone = parts["counts"].tolist()
        self._retracted = bool(gone)
        for name in _COLUMNS:
            column: Column | None = getattr(self, name)
            if column is not None:
                column.take(parts[name])
        self._weigh()
        self._until.take(parts["until"])
        for name, plane in self._planes():
            plane.take({part: parts[f"{name}.{part}"] for part in plane.parts()})
        said = {name.removeprefix("verdicts."): a for name, a in parts.items() if name.startswith("verdicts.")}
        self.verdicts.take(said)
        self.grow_nodes(self.sources, self.targets)

    def _planes(self) -> list[tuple[str, Adjacency]]:
        return [("out", self.out), *([("into", self.into)] if self.into is not self.out else [])]

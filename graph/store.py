"""The temporal graph: it grows with the stream, and is asked as of any moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import FOREVER, MIN_TIME, Int
from graph.barrier import Barrier
from graph.checking import (
    BOUND,
    STRATEGIES,
    check_lost,
    check_query,
    features_of,
    lookup,
    numbers_of,
    times_of,
    weights_of,
)
from graph.columns import Column, own_folder
from graph.edges import Edges
from graph.judged import Judged
from graph.kept import Kept
from graph.lock import ReadWriteLock
from graph.nodes import Id, Ids, NodeIds
from graph.reach import Marks
from graph.relation import NodeType, Relation, declared
from graph.selection import Direction, Found, Neighbours, Strategy, padded
from graph.versions import Versions
from tidemill.errors import UserError

Floats = NDArray[np.float32]


class TemporalGraph(Judged, Kept):
    """Nodes of `nodes`, edges of `relations`, each with its time (µs), and node features versioned by time.

    **As of a moment.** Every query is as of `before` and sees what happened strictly earlier: an edge of time t is seen
    where before − `ttl` ≤ t < before, and not where it was retracted before that; of a node's features, the newest
    version earlier than `before`. What comes late is put where its time is: a query after that sees it, one before did
    not; so a sample is a function of the query and of what had come, which `offsets` names.

    **Order.** Neighbours are in the order of (time, coming); edges of equal time stand in the order in which they came.
    Numbers of nodes and edges count in the order of coming. Everything is a function of what came in which order, and
    never of how it was cut into blocks.

    **Threads.** Any number may query while one adds: a query sees a block whole or not at all.

    **Memory.** With `ttl` (µs), edges that are older than `clock` − `ttl`, `clock` being the newest time seen, are
    dropped; a query as of a time that would have seen one of them is refused. With `folder` all arrays lie in files
    there, which the system pages out; they go with the graph.
    """

    def __init__(
        self,
        nodes: Sequence[NodeType | str | Mapping[str, Any]],
        relations: Sequence[Relation | Mapping[str, Any]],
        *,
        ttl: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.node_types, self.relations = declared(nodes, relations)
        types, edges = self.node_types.values(), self.relations.values()
        if ttl is not None and not 0 < ttl < BOUND:
            raise UserError("time to live out of range", where="graph", wanted="microseconds above 0", got=str(ttl))
        self.ttl = ttl
        self.clock = MIN_TIME
        self._barrier = Barrier()
        self._folder = None if folder is None else own_folder(folder, self)
        self._lock = ReadWriteLock()
        self._marks: list[Marks] = []
        self.nodes = {t.name: NodeIds(t.name, self._columns(f"nodes.{t.name}")) for t in types}
        self._edges = {r.name: Edges(r, self._columns(f"edges.{r.name}")) for r in edges}
        self._versions = {t.name: Versions(t, self._columns(f"versions.{t.name}")) for t in types if t.features}

    def _columns(self, part: str) -> Any:
        folder = self._folder

        def make(name: str, dtype: Any, width: int) -> Column:
            return Column(dtype, width, file=folder and folder / f"{part}.{name}")

        return make

    def add(
        self,
        relation: str,
        source: Ids,
        target: Ids,
        time: Sequence[int] | Int,
        features: Any | None = None,
        weights: Any | None = None,
    ) -> int:
        """Add edges in the order given; the number of the first, the others follow it. Nodes that are new are made.

        `features` is n × the relation's features; `weights` (n), along a relation that is weighted, are finite and
        above 0, and 1 where none are given. Equal edges are so many edges. Raises `UserError` where lengths or types do
        not fit, and then nothing is added.
        """
        edges, where = self._relation(relation), f"relation {relation}"
        times = times_of(where, time, len(source), len(target))
        rows = features_of(where, features, len(times), len(edges.relation.features))
        heavy = weights_of(edges.relation, weights, len(times))
        with self._lock.writing():
            ends = self._intern(edges.relation, source, target)
            first = edges.next
            self._grow()
            edges.add(*ends, times, rows, heavy)
            self._advance(int(times.max(initial=MIN_TIME)))
        return first

    def retract(self, relation: str, source: Any, target: Any, at: int, *, occurred: int | None = None) -> int:
        """End the edges from node `source` to node `target` that stand at `at`: those of time `occurred`, or all. A
        query as of a time after `at` does not see them, one up to `at` does. How many there were.

        It ends what is there: an edge that comes later, with whatever time, is not ended.
        """
        edges = self._relation(relation)
        at, occurred = int(at), None if occurred is None else int(occurred)
        times_of(f"relation {relation}", [at, *([] if occurred is None else [occurred])])
        with self._lock.writing():
            start = int(self.nodes[edges.relation.source].numbers([source])[0])
            end = int(self.nodes[edges.relation.target].numbers([target])[0])
            done = edges.retract(start, end, at, occurred) if min(start, end) >= 0 else 0
            self._advance(at)
        return done

    def make(self, node_type: str, ids: Ids) -> Int:
        """The numbers of nodes, which are made where they are new."""
        known = self._ids(node_type)
        with self._lock.writing():
            numbers = known.intern(ids)
            self._grow()
        return numbers

    def put(self, node_type: str, ids: Ids, time: Sequence[int] | Int, features: Any) -> None:
        """Give nodes their features from `time` on; nodes that are new are made. Of two versions of one time, the one
        that came later counts."""
        where = f"node type {node_type}"
        versions = self._versioned(node_type)
        times = times_of(where, time, len(ids), len(ids))
        rows = features_of(where, features, len(times), len(self.node_types[node_type].features))
        with self._lock.writing():
            numbers = self.nodes[node_type].intern(ids)
            self._grow()
            versions.put(numbers, times, rows)
            self._advance(int(times.max(initial=MIN_TIME)))

    def advance(self, time: int, offsets: Mapping[str, int] | None = None, *, barrier: str = "") -> None:
        """Everything earlier than `time` has come, and before these `offsets` (by `topic/partition`), and before the
        `barrier` of that name: it can be sampled from now on."""
        times_of("advance", [time], 1)
        with self._lock.writing():
            self._advance(int(time))
        self._barrier.passed(offsets or {}, barrier)

    @property
    def offsets(self) -> dict[str, int]:
        """By partition of the log, before which everything can be sampled."""
        return self._barrier.offsets

    @property
    def barriers(self) -> list[str]:
        """The names of the barriers that were passed, up to 10,000, the newest last."""
        return self._barrier.names

    def reached(self, what: Mapping[str, int] | str, timeout: float = 0.0) -> bool:
        """Whether everything before these offsets, or the barrier of that name, can be sampled; waits up to `timeout`
        seconds for it."""
        return self._barrier.reached(what, timeout)

    def numbers(self, node_type: str, ids: Ids) -> Int:
        """The numbers of nodes, −1 for those not seen yet, which have no neighbours."""
        with self._lock.reading():
            return self._ids(node_type).numbers(ids)

    def ids(self, node_type: str, numbers: Sequence[int] | Int | None = None) -> list[Id]:
        """The ids of nodes, or of all."""
        with self._lock.reading():
            return self._ids(node_type).ids(numbers)

    def neighbours(
        self,
        relation: str,
        nodes: Int,
        before: int | Int,
        k: int,
        *,
        direction: Direction = "out",
        strategy: Strategy = "recent",
        seed: int = 0,
        tau: float | None = None,
        experts: bool = True,
    ) -> Neighbours:
        """Up to `k` edges of each of `nodes` (numbers) as of `before` (µs, one or one each): the most `recent`; or
        drawn without replacement, `uniform`, or `weighted` by weight · exp(−age / `tau`) in turn (Efraimidis and
        Spirakis, 2006), the weight being the edge's own times an expert's.

        Along `out` the nodes are sources and their neighbours targets; along `in` the other way; of a relation that is
        not directed both are the same. A draw is a function of `seed`, the node, `before`, relation and direction:
        the same alone as among others, and at any later time, as long as no late edge comes. With `experts=False` as if
        no expert had said anything.
        """
        query = {"direction": direction, "strategy": strategy, "seed": seed, "tau": tau, "experts": experts}
        return padded(self.found(relation, nodes, before, k, **query), len(np.atleast_1d(nodes)), k)  # type: ignore[arg-type]

    def found(
        self,
        relation: str,
        nodes: Int,
        before: int | Int,
        k: int,
        *,
        direction: Direction = "out",
        strategy: Strategy = "recent",
        seed: int = 0,
        tau: float | None = None,
        experts: bool = True,
    ) -> Found:
        """What `neighbours` gives, one after another."""
        edges = self._relation(relation)
        nodes, moments = numbers_of("nodes", nodes), numbers_of("before", before)
        check_query(edges, nodes, moments, k, direction, strategy, seed, tau)
        with self._lock.reading():
            check_lost(edges, self.ttl, moments)
            args = k, self.ttl or 0, STRATEGIES[strategy], seed, float(tau or 1.0), experts
            return Found(*edges.select(direction, nodes, moments, *args))

    def reach(
        self,
        relation: str,
        nodes: Int,
        before: int,
        k: int,
        marks: Marks,
        *,
        direction: Direction,
        strategy: Strategy,
        seed: int,
        tau: float | None,
        experts: bool = True,
    ) -> tuple[Int, Int]:
        """What `found` gives of nodes that are there or −1, with `marks`' rows in place of neighbours, and of these
        those that were not marked; see `reach.reach`."""
        edges, moment = self._relation(relation), np.array([before])
        check_query(edges, nodes, moment, k, direction, strategy, seed, tau)
        with self._lock.reading():
            check_lost(edges, self.ttl, moment)
            args = k, self.ttl or 0, STRATEGIES[strategy], seed, float(tau or 1.0)
            return edges.reach(direction, nodes, before, *args, marks, experts)

    @contextmanager
    def marks(self) -> Iterator[Marks]:
        """Marks of nobody, which nobody else uses meanwhile."""
        try:
            mine = self._marks.pop()
        except IndexError:
            mine = Marks()
        mine.begin()
        yield mine
        self._marks.append(mine)

    def ends(self, relation: str, direction: Direction) -> tuple[str, str]:
        """The types of the nodes that are asked about along a relation, and of their neighbours."""
        it = self._relation(relation).relation
        return (it.source, it.target) if direction == "out" else (it.target, it.source)

    def degrees(self, relation: str, before: int, *, direction: Direction = "out") -> Int:
        """How many edges each node has as of `before`, in the order of their numbers."""
        edges = self._relation(relation)
        with self._lock.reading():
            check_lost(edges, self.ttl, np.array([before]))
            return edges.degrees(direction, before, self.ttl or 0)

    def first_seen(self, node_type: str) -> Int:
        """When each node was first seen, in the order of their numbers: the earliest time of an edge, a version of its
        features or a verdict that names it. `MIN_TIME` where nothing that is still there tells: its edges were dropped,
        or it was made without a time."""
        known = self._ids(node_type)
        with self._lock.reading():
            first = np.full(len(known), FOREVER)
            for edges in self._edges.values():
                said, verdicts = edges.verdicts.columns, edges.verdicts.count
                told = [(edges.relation.source, edges.source, said["source"])]
                told += [(edges.relation.target, edges.target, said["target"])]
                for _, ends, judged in (one for one in told if one[0] == node_type):
                    np.minimum.at(first, ends.array[: edges.count], edges.time.array[: edges.count])
                    np.minimum.at(first, judged.array[:verdicts], said["time"].array[:verdicts])
            if versions := self._versions.get(node_type):
                np.minimum.at(first, versions.node.array[: versions.count], versions.time.array[: versions.count])
        first[first == FOREVER] = MIN_TIME
        return first

    def features(self, node_type: str, nodes: Int, before: int | Int) -> Floats:
        """The features of nodes (numbers) as of `before`, n × features; NaN where there are none."""
        versions = self._versioned(node_type)
        nodes, moments = numbers_of("nodes", nodes), numbers_of("before", before)
        if len(moments) not in (1, len(nodes)):
            raise UserError("lengths differ", where=f"node type {node_type}", got=f"{len(nodes)}, {len(moments)}")
        with self._lock.reading():
            return versions.get(nodes, moments)

    def edges(self, relation: str, numbers: Int) -> tuple[Int, Int, Int, Floats]:
        """Source, target (numbers), time and features of edges by their numbers."""
        edges = self._relation(relation)
        with self._lock.reading():
            at = edges.rows(np.asarray(numbers, np.int64))
            features = np.empty((len(at), 0), np.float32) if edges.features is None else edges.features.array[at]
            source, target = edges.source.array[at], edges.target.array[at]
            return source.astype(np.int64), target.astype(np.int64), edges.time.array[at], features

    def times(self, relation: str) -> Int:
        """The times of all edges that are not dropped, in the order of coming."""
        edges = self._relation(relation)
        with self._lock.reading():
            return edges.time.array[: edges.count].copy()

    def count(self, relation: str) -> int:
        """The edges that have ever come, dropped ones too: the number that the next will have."""
        return self._relation(relation).next

    def living(self, relation: str) -> int:
        """Of these, the edges that are not dropped and not to be dropped."""
        edges = self._relation(relation)
        return edges.count - edges.expired

    def _relation(self, name: str) -> Edges:
        return lookup(self._edges, "relation", name)

    def _ids(self, node_type: str) -> NodeIds:
        return lookup(self.nodes, "node type", node_type)

    def _versioned(self, node_type: str) -> Versions:
        self._ids(node_type)
        if node_type not in self._versions:
            raise UserError("a node type without features", where=f"node type {node_type}")
        return self._versions[node_type]

    def _intern(self, relation: Relation, source: Ids, target: Ids) -> tuple[Int, Int]:
        """The numbers of both ends. Where both are of one type they are numbered edge by edge, source first."""
        if relation.source != relation.target:
            sources, targets = self.nodes[relation.source], self.nodes[relation.target]
            sources.check(source)
            targets.check(target)  # both, before one is taken up
            return sources.intern(source), targets.intern(target)
        return self.nodes[relation.source].intern_ends(source, target)

    def _grow(self) -> None:
        for edges in self._edges.values():
            r = edges.relation
            edges.grow_nodes(len(self.nodes[r.source]), len(self.nodes[r.target]))
        for name, versions in self._versions.items():
            versions.grow_nodes(len(self.nodes[name]))

    def _advance(self, time: int) -> None:
        if time > self.clock:
            self.clock = time
        if self.ttl is not None and self.clock > MIN_TIME:
            for edges in self._edges.values():
                edges.expire(self.clock - self.ttl)

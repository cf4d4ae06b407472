"""From the events of declared streams to nodes and edges."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.nodes import listed
from graph.relation import NodeType, Relation
from graph.store import TemporalGraph
from graph.usable import LONGEST, got, no_ids, no_names, no_times, no_verdicts, no_weights, not_finite
from tidemill.block import Block
from tidemill.errors import BadEvent, NotFiniteError, SubmissionError, WrongTypeError
from tidemill.job import DeadRow, Input
from tidemill.order import Batch

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class EdgeFrom:
    """Every event of `stream` is an edge of `relation`, from the node that the field `source` names to the one that
    `target` names, at the event's time. The relation's features are fields of the event of the same names; where it is
    weighted, the field `weight` says how much the edge weighs (1 without one). With `optional`, an event in which an
    end is null is none, and follows its other rules."""

    relation: str
    stream: str
    source: str
    target: str
    optional: bool = False
    weight: str | None = None


@dataclass(frozen=True)
class RetractionFrom:
    """Every event of `stream` ends the edges of `relation` from `source` to `target` that stand at its time: all, or
    those that happened at the time in the field `occurred`."""

    relation: str
    stream: str
    source: str
    target: str
    occurred: str | None = None


@dataclass(frozen=True)
class NodeFrom:
    """Every event of `stream` says what the node that the field `id` names is like from its time on. The node type's
    features are fields of the event of the same names."""

    node_type: str
    stream: str
    id: str


@dataclass(frozen=True)
class ExpertFrom:
    """Every event of `stream` is an expert's verdict, from its time on, on the edges of `relation` from the node in the
    field `source` to the one in `target`. The field `verdict` says `assert`, `forbid`, `weight` (as much as the field
    `weight` says) or `revoke`: see `graph.judged.Judged`. An asserted edge's features are fields of the same names,
    which may be null in other verdicts."""

    relation: str
    stream: str
    source: str
    target: str
    verdict: str
    weight: str | None = None


@dataclass(frozen=True)
class BarrierFrom:
    """Every event of `stream` passes the barrier that the field `name` names (a text): what comes before it, in the
    job's order, can be sampled from then on (`graph.reached(name)`)."""

    stream: str
    name: str


Rule = EdgeFrom | RetractionFrom | NodeFrom | ExpertFrom | BarrierFrom


@dataclass(frozen=True)
class GraphSpec:
    """A graph and what it is made from; a job's definition of it.

        GraphSpec(
            nodes=["trader"],
            relations=[Relation("trusts", "trader", "trader", features=("rating",))],
            rules=[EdgeFrom("trusts", "ratings", source="rater", target="rated")],
        )

    An event of a stream follows all rules that name the stream, in their order. One that a rule cannot use (an end that
    is null or is no id, a feature that is null or not finite, a weight that is not above 0) is dead-lettered, and
    follows none.

    `ttl` is in seconds of event time. Raises `SubmissionError` where a rule does not fit.
    """

    nodes: Sequence[NodeType | str]
    relations: Sequence[Relation]
    rules: Sequence[Rule]
    ttl: float | None = None
    _types: dict[str, NodeType] = field(init=False, repr=False, compare=False)
    _relations: dict[str, Relation] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        types = [NodeType(n) if isinstance(n, str) else n for n in self.nodes]
        object.__setattr__(self, "_types", {t.name: t for t in types})
        object.__setattr__(self, "_relations", {r.name: r for r in self.relations})
        self.graph()  # whatever does not fit together is said at once
        for rule in self.rules:
            if isinstance(rule, BarrierFrom):
                continue
            known, name = (
                (self._types, rule.node_type) if isinstance(rule, NodeFrom) else (self._relations, rule.relation)
            )
            if name not in known:
                raise SubmissionError(
                    "a rule for what is not there", where=str(rule), wanted=", ".join(known), got=name
                )
            if isinstance(rule, EdgeFrom) and rule.weight and not self._relations[name].weighted:
                wanted = "Relation(..., weighted=True)"
                raise SubmissionError("a weight for edges that have none", where=str(rule), wanted=wanted, got=name)
            if isinstance(rule, NodeFrom) and not self._types[name].features:
                raise SubmissionError("a rule for a node type without features", where=str(rule), got=name)
        if not self.rules:
            raise SubmissionError("a graph of nothing", wanted="at least one rule")

    def graph(self) -> TemporalGraph:
        """A new graph, to which nothing has come."""
        ttl = None if self.ttl is None else round(self.ttl * 1e6)
        return TemporalGraph(list(self.nodes), list(self.relations), ttl=ttl)

    @property
    def reads(self) -> tuple[Input, ...]:
        """What a job reads for it."""
        out = []
        for stream in dict.fromkeys(rule.stream for rule in self.rules):
            mine = [rule for rule in self.rules if rule.stream == stream]
            asked = [(name, f"rule {number}") for number, rule in enumerate(mine) for name in self._fields(rule)]
            numbers = [(name, "number") for rule in mine for name in self._features(rule)]
            numbers += [(weight, "number") for rule in mine if (weight := _weight(rule))]
            out.append(Input(stream, fields=tuple(asked), types=tuple(dict.fromkeys(numbers))))  # type: ignore[arg-type]
        return tuple(out)

    def take(
        self, graph: TemporalGraph, batch: Batch, added: Callable[[EdgeFrom, Block], None] = lambda rule, block: None
    ) -> list[DeadRow]:
        """Put a batch into the graph, in its order; the events that cannot be used. `added` is told of edges that were
        added: by which rule, and their events."""
        dead: list[DeadRow] = []
        for stream, rows in _runs(batch):
            mine = [rule for rule in self.rules if rule.stream == stream]
            if not mine:
                continue
            block = batch.blocks[stream].take(rows)
            good, bad = self._judged(block, mine)
            dead += bad
            block = block if good.all() else block.take(good)
            if len(block):
                self._put(graph, block, mine, added)
        return dead

    def taken(
        self, graph: TemporalGraph, batch: Batch, relation: str
    ) -> tuple[list[DeadRow], list[tuple[Block, Int, Int]]]:
        """As `take`; and of the edges of one relation, in their order, the events and the numbers of both ends."""
        told: list[tuple[EdgeFrom, Block]] = []
        dead = self.take(graph, batch, lambda rule, block: told.append((rule, block)))
        it, edges = graph.relations[relation], []
        for rule, block in told:
            if rule.relation == relation:
                source, target = ends_of(block, rule)
                edges.append((block, graph.numbers(it.source, source), graph.numbers(it.target, target)))
        return dead, edges

    def rule_of(self, relation: str, where: str) -> EdgeFrom:
        """The first rule that makes edges of the relation. Raises `SubmissionError` where there is none."""
        made = [rule for rule in self.rules if isinstance(rule, EdgeFrom)]
        for rule in made:
            if rule.relation == relation:
                return rule
        wanted = ", ".join(rule.relation for rule in made)
        raise SubmissionError("no rule makes edges of the relation", where=where, wanted=wanted, got=relation)

    def _put(
        self, graph: TemporalGraph, whole: Block, rules: Sequence[Rule], added: Callable[[EdgeFrom, Block], None]
    ) -> None:
        """In blocks where the order of events within a relation stays what it is, else event by event. Nodes are made
        first, event by event, so that their numbers do not hang on how events are cut into blocks."""
        touched = [_touched(rule) for rule in rules]
        if len(rules) > 1 and len(whole) > 1:
            if len(set(touched)) < len(touched):
                for i in range(len(whole)):
                    self._put(graph, whole.take(slice(i, i + 1)), rules, added)
                return
            self._make_nodes(graph, whole, rules)
        for rule in rules:
            block = _with_ends(whole, rule) if isinstance(rule, EdgeFrom) and rule.optional else whole
            if isinstance(rule, NodeFrom):
                graph.put(rule.node_type, _ids(block, rule.id), block.time, self._rows(block, rule))
            elif isinstance(rule, EdgeFrom):
                graph.add(
                    rule.relation, *ends_of(block, rule), block.time, self._rows(block, rule), _weights(block, rule)
                )
                added(rule, block)
            elif isinstance(rule, ExpertFrom):
                self._judge(graph, block, rule)
            elif isinstance(rule, BarrierFrom):
                for time, name in zip(block.time.tolist(), block.columns[rule.name].tolist(), strict=True):
                    graph.advance(time, barrier=name)
            else:
                self._retract(graph, block, rule)

    def _make_nodes(self, graph: TemporalGraph, block: Block, rules: Sequence[Rule]) -> None:
        columns: dict[str, list[Any]] = {}
        for rule in rules:
            if isinstance(rule, RetractionFrom | BarrierFrom):
                continue
            ends = self._ends(rule)
            rows: list[tuple[Any, ...]] = list(zip(*(listed(_ids(block, name)) for _, name in ends), strict=True))
            # An optional edge that is none makes neither of its nodes.
            none: tuple[Any, ...] = (None,) * len(ends)
            rows = [none if None in row else row for row in rows]
            for (node_type, _), column in zip(ends, zip(*rows, strict=True), strict=True):
                columns.setdefault(node_type, []).append(column)
        for node_type, ids in columns.items():
            graph.make(node_type, [id for row in zip(*ids, strict=True) for id in row if id is not None])

    @staticmethod
    def _retract(graph: TemporalGraph, block: Block, rule: RetractionFrom) -> None:
        occurred = [None] * len(block) if rule.occurred is None else block.columns[rule.occurred].tolist()
        ends = listed(_ids(block, rule.source)), listed(_ids(block, rule.target))
        for source, target, at, when in zip(*ends, block.time.tolist(), occurred, strict=True):
            graph.retract(rule.relation, source, target, at, occurred=when)

    def _judge(self, graph: TemporalGraph, block: Block, rule: ExpertFrom) -> None:
        names = self._features(rule)
        columns = [block.columns[name].tolist() for name in names]
        features = list(zip(*columns, strict=True)) if names else [None] * len(block)
        verdicts = block.columns[rule.verdict].tolist()
        weights = [1.0] * len(block) if rule.weight is None else block.columns[rule.weight].tolist()
        ends = listed(_ids(block, rule.source)), listed(_ids(block, rule.target))
        rows = zip(*ends, block.time.tolist(), verdicts, weights, features, strict=True)
        for source, target, at, verdict, weight, row in rows:
            graph.judge(
                rule.relation,
                source,
                target,
                at,
                verdict,
                weight if verdict == "weight" else 1.0,
                [row] if row is not None and verdict == "assert" else None,
            )

    def _judged(self, block: Block, rules: Sequence[Rule]) -> tuple[Mask, list[DeadRow]]:
        """Which events every rule can use; the others, each with the first reason."""
        why: dict[int, BadEvent] = {}
        for rule in rules:
            for _, name in self._ends(rule):
                for i in no_ids(block.columns[name], isinstance(rule, EdgeFrom) and rule.optional).tolist():
                    wanted, given = "a whole number or a text", got(block, name, i)
                    why.setdefault(i, WrongTypeError("names no node", field=name, wanted=wanted, got=given))
            asked = np.ones(len(block), np.bool_)
            if isinstance(rule, EdgeFrom) and rule.weight:
                for i in no_weights(block.columns[rule.weight]).tolist():
                    wanted, given = "a finite number above 0", got(block, rule.weight, i)
                    why.setdefault(i, NotFiniteError("no weight", field=rule.weight, wanted=wanted, got=given))
            if isinstance(rule, ExpertFrom):
                for i, error in no_verdicts(block, rule.verdict, rule.weight):
                    why.setdefault(i, error)
                asked = np.array([verdict == "assert" for verdict in block.columns[rule.verdict].tolist()], np.bool_)
            for name in self._features(rule):
                for i in np.flatnonzero(asked)[not_finite(block.columns[name][asked])].tolist():
                    wanted, given = "a finite number", got(block, name, i)
                    why.setdefault(i, NotFiniteError("no feature", field=name, wanted=wanted, got=given))
            if isinstance(rule, RetractionFrom) and rule.occurred is not None:
                for i in no_times(block.columns[rule.occurred]).tolist():
                    wanted = "the time of the edge"
                    why.setdefault(i, WrongTypeError("says no time", field=rule.occurred, wanted=wanted))
            if isinstance(rule, BarrierFrom):
                for i in no_names(block.columns[rule.name]).tolist():
                    wanted, given = f"a text of 1 to {LONGEST} characters", got(block, rule.name, i)
                    why.setdefault(i, WrongTypeError("names no barrier", field=rule.name, wanted=wanted, got=given))
        good = np.ones(len(block), np.bool_)
        good[list(why)] = False
        return good, [DeadRow(block.place(i), error) for i, error in sorted(why.items())]

    def _rows(self, block: Block, rule: Rule) -> NDArray[np.float32] | None:
        names = self._features(rule)
        if not names:
            return None
        return np.stack([np.asarray(block.columns[name], np.float32) for name in names], axis=1)

    def _features(self, rule: Rule) -> tuple[str, ...]:
        if isinstance(rule, NodeFrom):
            return self._types[rule.node_type].features
        return () if isinstance(rule, RetractionFrom | BarrierFrom) else self._relations[rule.relation].features

    def _ends(self, rule: Rule) -> list[tuple[str, str]]:
        """The node types that a rule touches, and the field that names each."""
        if isinstance(rule, NodeFrom):
            return [(rule.node_type, rule.id)]
        if isinstance(rule, BarrierFrom):
            return []
        relation = self._relations[rule.relation]
        return [(relation.source, rule.source), (relation.target, rule.target)]

    def _fields(self, rule: Rule) -> list[str]:
        names = [name for _, name in self._ends(rule)] + list(self._features(rule))
        names += [rule.verdict] if isinstance(rule, ExpertFrom) else []
        names += [rule.name] if isinstance(rule, BarrierFrom) else []
        names += [weight] if (weight := _weight(rule)) else []
        return names + ([rule.occurred] if isinstance(rule, RetractionFrom) and rule.occurred else [])


def _runs(batch: Batch) -> Iterator[tuple[str, slice]]:
    """Stretches of one stream's events, in the batch's order: the stream, and the rows of its block."""
    if not len(batch):
        return
    edges = [0, *(np.flatnonzero(np.diff(batch.kind)) + 1).tolist(), len(batch)]
    for first, end in itertools.pairwise(edges):
        start = int(batch.row[first])
        yield batch.streams[batch.kind[first]], slice(start, start + end - first)


def _ids(block: Block, name: str) -> Any:
    column = block.columns[name]
    return column if column.dtype.kind in "iu" else column.tolist()


def ends_of(block: Block, rule: EdgeFrom) -> tuple[Any, Any]:
    """The ids of both ends of every event's edge."""
    return _ids(block, rule.source), _ids(block, rule.target)


def _with_ends(block: Block, rule: EdgeFrom) -> Block:
    columns = [block.columns[name] for name in (rule.source, rule.target)]
    null = [[value is None for value in column.tolist()] for column in columns if column.dtype.kind == "O"]
    gone = np.any(null, axis=0) if null else np.zeros(len(block), np.bool_)
    return block.take(~gone) if gone.any() else block


def _touched(rule: Rule) -> str:
    """What must stay in the order of events: a relation, the features of a node type, or barriers."""
    if isinstance(rule, BarrierFrom):
        return ""
    return rule.node_type if isinstance(rule, NodeFrom) else rule.relation


def _weight(rule: Rule) -> str | None:
    return rule.weight if isinstance(rule, EdgeFrom | ExpertFrom) else None


def _weights(block: Block, rule: EdgeFrom) -> NDArray[np.float64] | None:
    return None if rule.weight is None else np.asarray(block.columns[rule.weight], np.float64)

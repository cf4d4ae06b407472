"""A stream played into a graph block by block: the neighbourhoods of a block's nodes, then the block itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.checking import STRATEGIES, check_lost, check_query, features_of, times_of, weights_of
from graph.nodes import Ids, listed
from graph.reach import Marks
from graph.sampling import Block, Frontier, Hop, Sample, sample
from graph.store import TemporalGraph
from graph.turn import BEFORE, EDGE, END, FIELDS, HOPS, INTO, NODES, ORIGIN, OUT, SEEDS, START, turns
from tidemill.errors import UserError

_ARENA = 1 << 18
"""Words of memory that samples are cut from, two megabytes in all: it goes when the last of them goes."""


class Played(NamedTuple):
    """`first`: the number of the block's first edge. `before`: the earliest time in the block. `sources`, `targets`: of
    each edge's ends, the row in `sample.frontiers[0]`. `sample`: the neighbourhoods of the ends as of `before`, as the
    graph was before the block came."""

    first: int
    before: int
    sources: Int
    targets: Int
    sample: Sample


def replay(
    graph: TemporalGraph,
    relation: str,
    source: Ids,
    target: Ids,
    time: Sequence[int] | Int,
    hops: Sequence[Hop | Sequence[Hop]],
    *,
    block: int = 200,
    ahead: int = 1,
    features: Any | None = None,
    weights: Any | None = None,
    seed: int = 0,
) -> Iterator[Played]:
    """Put edges in by blocks of `block`, each looked at before it is there: what training on history does.

    Of every block the same as `graph.make` of its ends, edge by edge and source first, `sample` of them as of the
    earliest time in the block, and `graph.add`; a block is put in before it is given out. Where ids are whole numbers
    and all hops go along `relation`, one at a time, that is one step of native code; with `ahead`, up to so many blocks
    are one step (without a time to live): what is given out is the same, but the graph is ahead of it. A relation with
    weights goes step by step.

    Raises `UserError` where lengths or types do not fit, and for a relation between two types of nodes; then nothing is
    put in.
    """
    it = graph.relations.get(relation)
    if it is None or it.source != it.target:
        loops = [r.name for r in graph.relations.values() if r.source == r.target]
        wanted = f"a relation within one type of nodes: {', '.join(loops) or 'there is none'}"
        raise UserError("not to be replayed", where="replay", wanted=wanted, got=repr(relation), fix="Sample and add.")
    for name, number in (("block", block), ("ahead", ahead)):
        if number < 1:
            raise UserError(f"{name} out of range", where="replay", wanted="at least 1", got=str(number))
    times = times_of(f"relation {relation}", time, len(source), len(target))
    rows = features_of(f"relation {relation}", features, len(times), len(it.features))
    heavy = weights_of(it, weights, len(times))
    for ids in (source, target):
        graph.nodes[it.source].check(ids)
    stream = _Stream(relation, it.source, source, target, times, rows, heavy)
    steps = [hop for step in hops for hop in ([step] if isinstance(step, Hop) else step)]
    whole = [graph.nodes[it.source].whole(ids) for ids in (source, target)]
    simple = len(steps) == len(hops) and all(h.relation == relation for h in steps) and not it.weighted
    if not simple or whole[0] is None or whole[1] is None:
        return _in_steps(graph, stream, hops, block, seed)
    native = _Native(graph, stream._replace(source=whole[0], target=whole[1]), steps, seed)
    return native.play(block, ahead if graph.ttl is None else 1)


class _Stream(NamedTuple):
    relation: str
    node_type: str
    source: Ids
    target: Ids
    times: Int
    features: NDArray[np.float32] | None
    weights: NDArray[np.float64] | None

    def part(self, first: int, last: int) -> _Stream:
        features = None if self.features is None else self.features[first:last]
        weights = None if self.weights is None else self.weights[first:last]
        return self._replace(
            source=self.source[first:last],
            target=self.target[first:last],
            times=self.times[first:last],
            features=features,
            weights=weights,
        )


def _in_steps(
    graph: TemporalGraph, stream: _Stream, hops: Sequence[Hop | Sequence[Hop]], block: int, seed: int
) -> Iterator[Played]:
    for at in range(0, len(stream.times), block):
        yield _step(graph, stream.part(at, at + block), hops, seed)


def _step(graph: TemporalGraph, part: _Stream, hops: Sequence[Hop | Sequence[Hop]], seed: int) -> Played:
    """The block of `part`, by what it is said to equal."""
    both = [end for pair in zip(listed(part.source), listed(part.target), strict=True) for end in pair]
    ends, before = graph.make(part.node_type, both), int(part.times.min())
    around = sample(graph, part.node_type, ends, before, hops, seed=seed)
    seeds = around.frontiers[0][part.node_type].nodes
    order = np.argsort(seeds)
    rows = order[np.searchsorted(seeds, ends, sorter=order)]
    first = graph.add(part.relation, part.source, part.target, part.times, part.features, part.weights)
    return Played(first, before, rows[0::2], rows[1::2], around)


class _Native:
    """Block after block in native code: what stays from one to the next. It is of one room with the graph: it takes
    the graph's lock, and puts into its arrays what `TemporalGraph.add` would."""

    def __init__(self, graph: TemporalGraph, stream: _Stream, hops: Sequence[Hop], seed: int) -> None:
        self.graph, self.stream, self.hops, self.seed = graph, stream, hops, seed
        self.edges, self.ids = graph._relation(stream.relation), graph.nodes[stream.node_type]
        nobody = np.empty(0, np.int64)
        for hop in hops:
            check_query(self.edges, nobody, nobody, hop.k, hop.direction, hop.strategy, seed, hop.tau)
        ways = [self.edges.way(hop.direction, seed) for hop in hops]
        kinds = [(h.k, inward, STRATEGIES[h.strategy], key) for h, (inward, key) in zip(hops, ways, strict=True)]
        self.kinds = np.array(kinds, np.int64).reshape(-1, 4)
        self.taus = np.array([float(hop.tau or 1.0) for hop in hops])
        self.marks, self.arena, self.at, self.largest = Marks(), np.empty(_ARENA, np.int64), 0, 0

    def play(self, block: int, ahead: int) -> Iterator[Played]:
        """The whole stream, up to `ahead` blocks a step."""
        first, count = 0, len(self.stream.times)
        while first < count:
            last = min(first + block * ahead, count)
            with self.graph._lock.writing():
                # On what experts said `turns` does not look.
                ids = None if self.edges.verdicts.count else self.ids.table(2 * (last - first))
                done = [] if ids is None else self._turns(ids, first, last, block)
            if ids is None:  # or ids came meanwhile that are no whole numbers
                yield _step(self.graph, self.stream.part(first, first + block), self.hops, self.seed)
                first += block
            for told in done:
                yield self._played(told, min(block, count - first))
                first += block

    def _turns(self, ids: tuple[Int, Int, int], first: int, last: int, block: int) -> list[list[int]]:
        """What `turns` tells of as many blocks as get done at once, at least one."""
        graph, edges, stream, known = self.graph, self.edges, self.stream.part(first, last), ids[2]
        if graph.ttl is not None and self.hops:
            check_lost(edges, graph.ttl, stream.times)
        most = known + 2 * (last - first)
        edges.room(last - first)
        for plane in (edges.out, edges.into):
            plane.heads.room(most, fill=0)
        self.marks.room(most)
        spans = np.empty((-(-(last - first) // block), HOPS + FIELDS * len(self.hops)), np.int64)
        place = edges.count, edges.base, graph.ttl or 0, not edges.relation.directed
        planes = edges.out.arrays(), edges.into.arrays()
        if self.at + self.largest > len(self.arena):  # the next would be begun in vain
            self.arena, self.at = np.empty(max(_ARENA, 2 * self.largest), np.int64), 0
        given = ids[:2], planes, edges.columns(), place, stream[2:5], block, self.kinds, self.taus, self.marks.array
        spans[0, [NODES, ORIGIN, START]] = known, self.marks.origin, self.at
        while True:
            done, nodes, self.marks.origin = turns(*given, self.arena, spans)
            if done:
                break
            self.arena = np.empty(max(_ARENA, 2 * int(spans[0, END] - spans[0, START])), np.int64)
            spans[0, START] = 0
        self.ids.counted(nodes)
        if nodes > known:
            graph._grow()
        told: list[list[int]] = spans[:done].tolist()
        self.at = told[-1][END]
        self.largest = (self.at - told[-1][START]) * 5 // 4
        new, before = min(done * block, last - first), (done - 1) * block
        features = None if stream.features is None else stream.features[:new]
        directed = edges.relation.directed
        out, into = before * (1 if directed else 2) + told[-1][OUT], before * directed + told[-1][INTO]
        edges.appended(new, features, (out, into))
        graph._advance(int(stream.times[:new].max()))
        return told

    def _played(self, told: list[int], n: int) -> Played:
        """What was told, cut from the arena."""
        name, arena, start, field = self.stream.node_type, self.arena, told[START], HOPS
        rows, at, last = start + n, start + 2 * n, start + 2 * n + told[SEEDS]
        frontiers = [{name: Frontier(arena[at:last], arena[last : last + told[SEEDS]])}]
        blocks = []
        for hop in self.hops:
            a, bound, found, reached = told[field : field + FIELDS]
            b, c, d, behind = a + bound, a + 2 * bound, a + 3 * bound, a + 4 * bound
            columns = arena[a : a + found], arena[b : b + found], arena[c : c + found], arena[d : d + found]
            blocks.append([Block(hop, *columns)])
            middle = behind + reached
            frontiers.append({name: Frontier(arena[behind:middle], arena[middle : middle + reached])})
            field += FIELDS
        around = Sample(frontiers, blocks)
        return Played(told[EDGE], told[BEFORE], arena[start:rows], arena[rows : rows + n], around)

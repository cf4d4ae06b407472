"""Neighbourhoods of several hops, as blocks for message passing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from graph.adjacency import Int
from graph.checking import BOUND
from graph.reach import first_rows
from graph.selection import Direction, Strategy
from graph.store import TemporalGraph
from tidemill.errors import UserError


@dataclass(frozen=True)
class Hop:
    """Along one relation, up to `k` neighbours of each node; see `TemporalGraph.neighbours`. With `experts=False` as if
    no expert had said anything."""

    relation: str
    k: int
    direction: Direction = "out"
    strategy: Strategy = "recent"
    tau: float | None = None
    experts: bool = True

    def options(self, seed: int) -> dict[str, Any]:
        """What a query along it says besides nodes, moment and `k`."""
        way = {"direction": self.direction, "strategy": self.strategy, "tau": self.tau, "experts": self.experts}
        return way | {"seed": seed}


class Frontier(NamedTuple):
    """Nodes (numbers) and the moment as of which each is looked at; every pair once, in the order of first coming."""

    nodes: Int
    before: Int


class Block(NamedTuple):
    """The edges found along one hop: from row `sources[i]` of the next frontier to row `targets[i]` of the one before,
    at `times[i]`, with number `edges[i]`; targets in turn, of each the newest edge first."""

    hop: Hop
    targets: Int
    sources: Int
    times: Int
    edges: Int


class Sample(NamedTuple):
    """`frontiers[0]` are the seeds by node type, `frontiers[i + 1]` what hop i reached; `blocks[i]` joins the two."""

    frontiers: list[dict[str, Frontier]]
    blocks: list[list[Block]]


def sample(
    graph: TemporalGraph,
    node_type: str,
    nodes: Int,
    before: int | Int,
    hops: Sequence[Hop | Sequence[Hop]],
    *,
    seed: int = 0,
    decreasing: bool = False,
) -> Sample:
    """The neighbourhood of `nodes` as of `before` (µs): one hop, or several along different relations, a step.

    All of it is as of the seed's own moment. With `decreasing`, a neighbour is looked at as of the time of the edge
    that led to it, so that every path goes back in time (as TGAT does: Xu et al., *Inductive representation learning on
    temporal graphs*, ICLR 2020). Equal pairs of node and moment are looked at once.

    Raises `UserError` where no node of a hop's type can have been reached.
    """
    once = None if decreasing else _once(graph, node_type, nodes, before)
    if once is None:
        moments = np.broadcast_to(np.asarray(before, np.int64), (len(nodes),))
        once = _distinct(np.ascontiguousarray(nodes, np.int64), np.ascontiguousarray(moments))[0], None
    start, moment = once
    frontier = {node_type: start}
    out = Sample([frontier], [])
    for number, step in enumerate(hops):
        along = []
        for hop in [step] if isinstance(step, Hop) else step:
            near, far = graph.ends(hop.relation, hop.direction)
            if near not in frontier:
                raise UserError(
                    f"hop {number} starts from nodes that are not reached",
                    where=f"relation {hop.relation}, direction {hop.direction}",
                    wanted=f"one of {', '.join(frontier)}",
                    got=near,
                )
            along.append((hop, near, far))
        if moment is None:
            blocks, frontier = _by_pairs(graph, along, frontier, seed, decreasing)
        else:
            blocks, frontier = _by_marks(graph, along, frontier, seed, moment)
        out.frontiers.append(frontier)
        out.blocks.append(blocks)
    return out


_Way = tuple[Hop, str, str]
"""A hop, the type of the nodes that it starts from and of those that it reaches."""


def _once(graph: TemporalGraph, node_type: str, nodes: Int, before: int | Int) -> tuple[Frontier, int | None] | None:
    """The seeds and the moment, where there is only one moment; None where there are more, or numbers of no node."""
    known = graph.nodes.get(node_type)
    if known is None or not isinstance(before, int | np.integer) or not -BOUND <= before <= BOUND:
        return None
    given = np.ascontiguousarray(nodes, np.int64)
    with graph.marks() as marks:
        marks.room(len(known))
        first, rows = first_rows(given, marks.array, marks.origin)
        # Where it broke off there may be marks of all that are given.
        marks.count = len(given)
    return None if len(rows) < len(given) else (Frontier(first, np.full(len(first), before)), int(before))


def _by_marks(
    graph: TemporalGraph, along: list[_Way], frontier: Mapping[str, Frontier], seed: int, moment: int
) -> tuple[list[Block], dict[str, Frontier]]:
    """A step where all is as of one moment: who is reached is marked as it is found."""
    blocks: dict[str, list[Block]] = {far: [] for _, _, far in along}
    reached: dict[str, list[Int]] = {far: [] for far in blocks}
    with ExitStack() as stack:
        marks = {far: stack.enter_context(graph.marks()) for far in blocks}
        for hop, near, far in along:
            nodes = frontier[near].nodes
            columns, new = graph.reach(hop.relation, nodes, moment, hop.k, marks[far], **hop.options(seed))
            blocks[far].append(Block(hop, *columns))
            reached[far].append(new)
    following = {}
    for far, parts in reached.items():
        nodes = parts[0] if len(parts) == 1 else np.concatenate(parts)
        following[far] = Frontier(nodes, np.full(len(nodes), moment))
    return [block for parts in blocks.values() for block in parts], following


def _by_pairs(
    graph: TemporalGraph, along: list[_Way], frontier: Mapping[str, Frontier], seed: int, decreasing: bool
) -> tuple[list[Block], dict[str, Frontier]]:
    """A step where moments differ: a table of who is reached as of when."""
    found: dict[str, list[tuple[Hop, Int, Int, Int, Int, Int]]] = {}
    for hop, near, far in along:
        found.setdefault(far, []).append((hop, *_along(graph, hop, frontier[near], seed, decreasing)))
    blocks, following = [], {}
    for far, parts in found.items():
        every = [np.concatenate(column) for column in zip(*(part[1:3] for part in parts), strict=True)]
        following[far], rows = _distinct(*every)
        at = 0
        for hop, others, _, targets, times, edges in parts:
            blocks.append(Block(hop, targets, rows[at : at + len(others)], times, edges))
            at += len(others)
    return blocks, following


def _along(
    graph: TemporalGraph, hop: Hop, frontier: Frontier, seed: int, decreasing: bool
) -> tuple[Int, Int, Int, Int, Int]:
    """Nodes, moments, rows of the frontier, times and edges found."""
    found = graph.found(hop.relation, *frontier, hop.k, **hop.options(seed))
    moments = found.times if decreasing else frontier.before[found.rows]
    return found.nodes, moments, found.rows, found.times, found.edges


def _distinct(nodes: Int, before: Int) -> tuple[Frontier, Int]:
    """Every pair once, in the order of first coming, and the row of each."""
    first, rows = _first_rows(nodes, before)
    return Frontier(nodes[first], before[first]), rows


@njit(cache=True, nogil=True)
def _first_rows(nodes: Int, before: Int) -> tuple[Int, Int]:
    bits = 4
    while 1 << bits < 2 * len(nodes):
        bits += 1
    mask, shift = np.uint64((1 << bits) - 1), np.uint64(64 - bits)
    table = np.full(1 << bits, -1, np.int64)
    first = np.empty(len(nodes), np.int64)
    rows = np.empty(len(nodes), np.int64)
    count = 0
    for i in range(len(nodes)):
        # The high bits of a product by an odd number near the golden ratio (Knuth, TAOCP 3, 6.4) spread well.
        product = (np.uint64(nodes[i]) ^ np.uint64(before[i]) * np.uint64(0xC2B2AE3D27D4EB4F)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        at = product >> shift
        while table[at] >= 0 and (nodes[first[table[at]]] != nodes[i] or before[first[table[at]]] != before[i]):
            at = (at + np.uint64(1)) & mask
        if table[at] < 0:
            first[count] = i
            table[at] = count
            count += 1
        rows[i] = table[at]
    return first[:count].copy(), rows

"""Neighbourhoods of the temporal graph as messages for networks, over as many types and relations as were sampled.

A network of L layers over L hops: each node that is within i hops of a seed gets, in each layer that still needs it,
the messages of the same neighbours, so a seed's output is a function of its own neighbourhood and not of its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.nn.backend import Edges
from graph.nn.hgt import HeteroEdges, Relation
from graph.sampling import Block, Frontier, Hop, Sample, sample
from graph.store import TemporalGraph
from tidemill.errors import UserError

_SECOND = 1e6


class Messages(NamedTuple):
    """What a network of `len(layers)` layers needs. `nodes` and `before`: of each type of node that comes up the rows,
    numbers (−1: one never seen) and the moment (µs) as of which each is looked at. `seeds`: of each node asked about
    its row, among the first of its type: equal ones share one. `layers`: the outermost first, each one's targets are
    the next one's rows."""

    nodes: dict[str, Int]
    before: dict[str, Int]
    seeds: Int
    layers: list[HeteroEdges]

    def to(self, device: torch.device | str) -> Messages:
        """With layers on another device; what numbers and moments are looked up by stays here."""
        return self._replace(layers=[layer.to(device) for layer in self.layers])

    def of(self, relation: Relation) -> list[Edges]:
        """The layers of one relation within one type of node, as `GraphSAGE` and `GATv2` take them.

        Raises `UserError` for a relation between two types, or that not every layer has."""
        everywhere = set.intersection(*(set(layer.relations) for layer in self.layers)) if self.layers else set()
        alone = {r for r in everywhere if r[0] == r[2]}
        if relation not in alone:
            raise UserError(
                "no relation to pass messages along alone",
                where="Messages.of",
                wanted=f"one within one type of node that every layer has: {sorted(alone) or 'there is none'}",
                got=str(relation),
            )
        return [layer.relations[relation] for layer in self.layers]


def messages(
    graph: TemporalGraph,
    node_type: str,
    nodes: Int,
    before: int | Int,
    hops: Sequence[Hop | Sequence[Hop]],
    *,
    seed: int = 0,
    decreasing: bool = False,
    features: bool = True,
) -> Messages:
    """`graph.sampling.sample` as layers of messages from who was reached to who was asked about.

    The relation of a message is (its source's type, name, its target's type): along a hop of direction `in` an edge's
    own name, as the message goes the edge's way; along `out`, against it, `rev_` and the name; of a relation that is
    not directed the name. With `features`, `Edges.features` of a message are its edge's features, log(1 + weight),
    experts' included, and log(1 + age), the age in seconds as of the target's moment. Who is reached by two hops has a
    row of each, and an edge found by two hops of one step is a message of each.

    Raises `UserError` as `sample` does; where two relations would have one name; and with a time to live, where an edge
    was dropped between sampling and looking at its features: sample again then.
    """
    around = sample(graph, node_type, nodes, before, hops, seed=seed, decreasing=decreasing)
    types = [t for t in graph.node_types if any(t in frontier for frontier in around.frontiers)]
    names: dict[Relation, str] = {}
    starts = [dict.fromkeys(types, 0)]
    for frontier in around.frontiers:
        at = starts[-1]
        starts.append({t: at[t] + (len(frontier[t].nodes) if t in frontier else 0) for t in types})
    found = []
    for i, blocks in enumerate(around.blocks):
        found.append([(relation_of(graph, b.hop), _placed(graph, around, i, b, starts, features)) for b in blocks])
        for block in blocks:
            relation = relation_of(graph, block.hop)
            if names.setdefault(relation, block.hop.relation) != block.hop.relation:
                raise UserError(
                    "messages of two relations would have one name",
                    where=f"relations {names[relation]} and {block.hop.relation}",
                    got=str(relation),
                    fix="Name one of them otherwise.",
                )
    layers = [_layer(found[: i + 1], starts[i + 2], starts[i + 1]) for i in reversed(range(len(found)))]
    seeds = _rows_of(around.frontiers[0][node_type], nodes, before)
    return Messages(_rows(types, around, 0), _rows(types, around, 1), seeds, layers)


def _rows_of(frontier: Frontier, nodes: Int, before: int | Int) -> Int:
    """The row of each (node, moment); the rows are in the order of first coming."""
    asked = np.stack(np.broadcast_arrays(np.asarray(nodes, np.int64), np.asarray(before, np.int64)))
    _, first, which = np.unique(asked, axis=1, return_index=True, return_inverse=True)
    rows = np.empty(len(frontier.nodes), np.int64)
    rows[np.argsort(first)] = np.arange(len(first))
    return rows[which.reshape(-1)]


def _rows(types: list[str], around: Sample, column: int) -> dict[str, Int]:
    """By type, a column of all frontiers, one behind another."""
    parts = {t: [frontier[t][column] for frontier in around.frontiers if t in frontier] for t in types}
    return {t: np.concatenate(p) for t, p in parts.items()}


def relation_of(graph: TemporalGraph, hop: Hop) -> Relation:
    """What messages along a hop are called; see `messages`."""
    near, far = graph.ends(hop.relation, hop.direction)
    against = hop.direction == "out" and graph.relations[hop.relation].directed
    return far, f"rev_{hop.relation}" if against else hop.relation, near


_Placed = tuple[Int, Int, NDArray[np.float32] | None]
"""Rows of sources and of targets, and features."""


def _placed(
    graph: TemporalGraph, around: Sample, i: int, block: Block, starts: list[dict[str, int]], features: bool
) -> _Placed:
    """The messages of one block, by rows of all that were reached so far."""
    far, _, near = relation_of(graph, block.hop)
    told = None
    if features:
        name, moments = block.hop.relation, around.frontiers[i][near].before[block.targets]
        own = graph.edges(name, block.edges)[3]
        weights = graph.weights(name, block.edges, moments, experts=block.hop.experts)
        ages = (moments - block.times) / _SECOND
        told = np.column_stack((own, np.log1p(weights), np.log1p(ages))).astype(np.float32)
    return block.sources + starts[i + 1][far], block.targets + starts[i][near], told


def _layer(
    found: list[list[tuple[Relation, _Placed]]], sources: dict[str, int], targets: dict[str, int]
) -> HeteroEdges:
    """All messages to whoever is a target still."""
    parts: dict[Relation, list[_Placed]] = {}
    for step in found:
        for relation, placed in step:
            parts.setdefault(relation, []).append(placed)
    edges = {}
    for relation, placed_ in parts.items():
        from_, to = (torch.from_numpy(np.concatenate([one[i] for one in placed_])) for i in range(2))
        told = [one[2] for one in placed_ if one[2] is not None]
        more = torch.from_numpy(np.concatenate(told)) if told else None
        edges[relation] = Edges(from_, to, sources[relation[0]], targets[relation[2]], more)
    return HeteroEdges(edges, targets)

"""Neighbourhoods of the temporal graph as messages for networks, over as many types and relations as were sampled.

A network of L layers over L hops: each node that is within i hops of a seed gets, in each layer that still needs it,
the messages of the same neighbours, so a seed's output is a function of its own neighbourhood and not of its batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from graph.adjacency import Int
from graph.nn.backend import Edges
from graph.nn.hgt import HeteroEdges, Relation
from graph.sampling import Block, Hop, Sample
from graph.store import TemporalGraph
from tidemill.errors import UserError

_SECOND = 1e6


class Messages(NamedTuple):
    """What a network of `len(layers)` layers needs. `nodes` and `before`: of each type of node the rows, numbers and
    the moment (µs) as of which each is looked at; the seeds are the first rows of their type, in the order of
    `sample.frontiers[0]`. `layers`: the outermost first, each one's targets are the next one's rows."""

    nodes: dict[str, Int]
    before: dict[str, Int]
    layers: list[HeteroEdges]

    def of(self, relation: Relation) -> list[Edges]:
        """The layers of one relation within one type of node, as `GraphSAGE` and `GATv2` take them."""
        source, _, target = relation
        if source != target or any(relation not in layer.relations for layer in self.layers):
            raise UserError(
                "no relation to pass messages along alone",
                where="Messages.of",
                wanted=f"of one type of node, one of {sorted({r for a in self.layers for r in a.relations})}",
                got=str(relation),
            )
        return [layer.relations[relation] for layer in self.layers]


def messages(graph: TemporalGraph, sample: Sample) -> Messages:
    """A sample (`graph.sampling.sample`) as layers of messages from who was reached to who was asked about.

    The relation of a message is (its source's type, name, its target's type): along a hop of direction `in` an edge's
    own name, as the message goes the edge's way; along `out`, against it, `rev_` and the name; of a relation that is
    not directed the name. `Edges.features` of a message: its edge's features, log(1 + weight), experts' included, and
    log(1 + age), the age in seconds as of the target's moment. Who is reached by two hops has a row of each.
    """
    types = list(graph.node_types)
    starts = [dict.fromkeys(types, 0)]
    for frontier in sample.frontiers:
        at = starts[-1]
        starts.append({t: at[t] + (len(frontier[t].nodes) if t in frontier else 0) for t in types})
    found = [
        [(relation_of(graph, block.hop), _placed(graph, sample, i, block, starts)) for block in blocks]
        for i, blocks in enumerate(sample.blocks)
    ]
    layers = [_layer(found[: i + 1], starts[i + 2], starts[i + 1]) for i in reversed(range(len(found)))]
    return Messages(_rows(types, sample, 0), _rows(types, sample, 1), layers)


def _rows(types: list[str], sample: Sample, column: int) -> dict[str, Int]:
    """By type, a column of all frontiers, one behind another."""
    parts = {t: [frontier[t][column] for frontier in sample.frontiers if t in frontier] for t in types}
    return {t: np.concatenate(p) if p else np.empty(0, np.int64) for t, p in parts.items()}


def relation_of(graph: TemporalGraph, hop: Hop) -> Relation:
    """What messages along a hop are called; see `messages`."""
    near, far = graph.ends(hop.relation, hop.direction)
    against = hop.direction == "out" and graph.relations[hop.relation].directed
    return far, f"rev_{hop.relation}" if against else hop.relation, near


_Placed = tuple[Int, Int, NDArray[np.float32]]
"""Rows of sources and of targets, and features."""


def _placed(graph: TemporalGraph, sample: Sample, i: int, block: Block, starts: list[dict[str, int]]) -> _Placed:
    """The messages of one block, by rows of all that were reached so far."""
    far, _, near = relation_of(graph, block.hop)
    name, moments = block.hop.relation, sample.frontiers[i][near].before[block.targets]
    features = graph.edges(name, block.edges)[3]
    weights = graph.weights(name, block.edges, moments, experts=block.hop.experts)
    ages = (moments - block.times) / _SECOND
    return (
        block.sources + starts[i + 1][far],
        block.targets + starts[i][near],
        np.column_stack((features, np.log1p(weights), np.log1p(ages))).astype(np.float32),
    )


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
        columns = [torch.from_numpy(np.concatenate(column)) for column in zip(*placed_, strict=True)]
        edges[relation] = Edges(columns[0], columns[1], sources[relation[0]], targets[relation[2]], columns[2])
    return HeteroEdges(edges, targets)

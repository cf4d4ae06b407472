"""A graph that stands still, by rows, and its sampler: for node classification in batches, without torch.

The temporal graph has its own (`graph.sampling`); a snapshot of one relation becomes a `CSRGraph` by `from_edges`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from graph.adjacency import Int
from graph.draws import draw_distinct, mix
from tidemill.errors import UserError

ALL = -1
"""As a fanout: every neighbour."""


class Block(NamedTuple):
    """Messages of one layer: from row `sources[i]` to row `targets[i]`; of each target in turn, its neighbours by
    number. The targets are the first `n_targets` of the `n_sources` rows."""

    sources: Int
    targets: Int
    n_sources: int
    n_targets: int


class Batch(NamedTuple):
    """What a network of `len(blocks)` layers needs for the first `blocks[-1].n_targets` of `nodes`, as NumPy arrays:
    the features of `nodes` are the first layer's rows, and each block's targets the next one's rows."""

    nodes: Int
    blocks: list[Block]


@dataclass(frozen=True)
class CSRGraph:
    """`neighbours[offsets[v]:offsets[v + 1]]` are the neighbours of node v, whose messages it gets, by number."""

    offsets: Int
    neighbours: Int

    @classmethod
    def from_edges(cls, sources: Int, targets: Int, n_nodes: int, *, undirected: bool = False) -> CSRGraph:
        """Edges from source to target, each once, loops left out; with `undirected`, both ways.

        Raises `UserError` for a node outside [0, n_nodes).
        """
        sources, targets = np.asarray(sources, np.int64), np.asarray(targets, np.int64)
        for ends in (sources, targets):
            if len(ends) and not (ends.min() >= 0 and ends.max() < n_nodes):
                raise UserError(
                    "an edge ends at a node that is not there",
                    where="CSRGraph.from_edges",
                    wanted=f"numbers from 0 to {n_nodes - 1}",
                    got=f"{ends.min()} to {ends.max()}",
                )
        if undirected:
            sources, targets = np.concatenate((sources, targets)), np.concatenate((targets, sources))
        keys = np.unique((targets * n_nodes + sources)[sources != targets])
        rows, neighbours = np.divmod(keys, max(n_nodes, 1))
        offsets = np.zeros(n_nodes + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=n_nodes), out=offsets[1:])
        return cls(offsets, neighbours)

    @property
    def n_nodes(self) -> int:
        return len(self.offsets) - 1

    def whole(self, layers: int) -> Batch:
        """Every node, with all its neighbours, in each of `layers` layers."""
        targets = np.repeat(np.arange(self.n_nodes), np.diff(self.offsets))
        block = Block(self.neighbours, targets, self.n_nodes, self.n_nodes)
        return Batch(np.arange(self.n_nodes), [block] * layers)

    def sample(self, nodes: Int, fanouts: Sequence[int], *, seed: int) -> Batch:
        """The neighbourhood of `nodes` (each once): `fanouts[0]` neighbours of each for the last layer, and so on
        outwards.

        Neighbours are drawn uniformly without replacement; each set is as likely as any other (Hamilton, Ying and
        Leskovec, *Inductive representation learning on large graphs*, NeurIPS 2017, draw with replacement). What is
        drawn for a node is a function of seed, node and layer: the same alone as in any batch.

        Raises `UserError` for a node that is not there or comes twice.
        """
        rows = np.ascontiguousarray(nodes, np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.n_nodes and len(np.unique(rows)) == len(rows)):
            raise UserError(
                "these nodes cannot be sampled for",
                where="CSRGraph.sample",
                wanted=f"numbers from 0 to {self.n_nodes - 1}, each once",
                got=f"{len(rows)} numbers, {len(np.unique(rows))} different, {rows.min()} to {rows.max()}",
            )
        place = np.full(self.n_nodes, -1, np.int64)
        blocks: list[Block] = []
        for layer, fanout in enumerate(fanouts):
            n_targets = len(rows)
            key = mix(np.uint64(seed & 0xFFFFFFFFFFFFFFFF) ^ mix(np.uint64(layer)))
            found, targets = _drawn(self.offsets, self.neighbours, rows, fanout, np.uint64(key))
            rows, sources = _placed(rows, found, place)
            blocks.insert(0, Block(sources, targets, len(rows), n_targets))
        return Batch(rows, blocks)


@njit(cache=True, nogil=True)
def _drawn(offsets: Int, neighbours: Int, rows: Int, fanout: int, key: np.uint64) -> tuple[Int, Int]:
    """The neighbours drawn for each of `rows`, and the row each is for."""
    total = 0
    for node in rows:
        there = offsets[node + 1] - offsets[node]
        total += there if fanout < 0 else min(there, fanout)
    found, targets = np.empty(total, np.int64), np.empty(total, np.int64)
    at = 0
    for row in range(len(rows)):
        low, there = offsets[rows[row]], offsets[rows[row] + 1] - offsets[rows[row]]
        count = there if fanout < 0 else min(there, fanout)
        chosen = found[at : at + count]
        if count == there:
            chosen[:] = np.arange(there)
        else:
            draw_distinct(mix(key ^ mix(np.uint64(rows[row]))), there, chosen)
        for i in range(count):
            chosen[i] = neighbours[low + chosen[i]]
            targets[at + i] = row
        at += count
    return found, targets


@njit(cache=True, nogil=True)
def _placed(rows: Int, found: Int, place: Int) -> tuple[Int, Int]:
    """`rows` and after them what is new in `found`, in the order of coming; and the row of each found. `place` is -1
    everywhere, and is so again afterwards."""
    every = np.empty(len(rows) + len(found), np.int64)
    every[: len(rows)] = rows
    for row in range(len(rows)):
        place[rows[row]] = row
    count, sources = len(rows), np.empty(len(found), np.int64)
    for i in range(len(found)):
        if place[found[i]] < 0:
            place[found[i]] = count
            every[count] = found[i]
            count += 1
        sources[i] = place[found[i]]
    for row in range(count):
        place[every[row]] = -1
    return every[:count].copy(), sources

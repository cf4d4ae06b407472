"""The peer of `benchmarks/graph_frozen.py`: DGL's samplers on a graph that stands still, on one thread.

Reads `{"edges": FILE.npz, "block": n, "size": k, "hops": h, "blocks": b, "way": "recent" or "uniform", "keep": n}` on
standard input. The edges, both ways, are one graph; then, for each of the last `blocks` blocks of `block` edges, the
neighbours of its nodes, `hops` far, as blocks for message passing. `recent`: the `size` newest edges of a node, by
`dgl.sampling.select_topk`; `uniform`: `dgl.dataloading.NeighborSampler`. Writes the seconds that took without making
the graph, and what was found for the first `keep` blocks: of each hop, the pairs (node, neighbour, edge), sorted.
"""

import json
import os
import sys
import time
import types
import warnings

import numpy as np
import torch

os.environ.setdefault("DGLBACKEND", "pytorch")
# Its second way of sampling, GraphBolt, is compiled for torch 2.2 at most, and would end the import.
sys.modules.setdefault("dgl.graphbolt", types.ModuleType("dgl.graphbolt"))
warnings.simplefilter("ignore")
import dgl  # noqa: E402


def made(source: torch.Tensor, target: torch.Tensor) -> dgl.DGLGraph:
    """Both ways, except that a loop is one edge; `number` counts in the order of coming."""
    number = torch.arange(len(source))
    back = source != target
    ends = torch.cat([source, target[back]]), torch.cat([target, source[back]])
    graph = dgl.graph(ends, num_nodes=int(max(source.max(), target.max())) + 1)
    graph.edata["number"] = torch.cat([number, number[back]])
    return graph.formats("csc")


class Recent(dgl.dataloading.BlockSampler):
    """As `NeighborSampler`, with the newest edges."""

    def __init__(self, size: int, hops: int) -> None:
        super().__init__()
        self.size, self.hops = size, hops

    def sample_blocks(self, g, seed_nodes, exclude_eids=None):
        reached, blocks = seed_nodes, []
        for _ in range(self.hops):
            found = dgl.sampling.select_topk(g, self.size, "number", reached, copy_ndata=False)
            block = dgl.to_block(found, reached)
            block.edata[dgl.EID] = found.edata[dgl.EID]
            reached = block.srcdata[dgl.NID]
            blocks.insert(0, block)
        return reached, seed_nodes, blocks


def pairs(graph: dgl.DGLGraph, block) -> list[list[int]]:
    source, target = block.edges()
    near, far = block.dstdata[dgl.NID][target], block.srcdata[dgl.NID][source]
    number = graph.edata["number"][block.edata[dgl.EID]]
    return sorted(torch.stack([near, far, number], dim=1).tolist())


def main() -> None:
    asked = json.load(sys.stdin)
    torch.set_num_threads(1)
    edges = np.load(asked["edges"])
    source, target = torch.from_numpy(edges["source"]), torch.from_numpy(edges["target"])
    graph = made(source, target)
    size, hops, block = asked["size"], asked["hops"], asked["block"]
    sampler = Recent(size, hops) if asked["way"] == "recent" else dgl.dataloading.NeighborSampler([size] * hops)
    firsts = range(0, len(source), block)[-asked["blocks"] :]
    seeds = [torch.cat([source[f : f + block], target[f : f + block]]).unique() for f in firsts]
    sampler.sample_blocks(graph, seeds[0])
    began = time.perf_counter()
    for nodes in seeds:
        sampler.sample_blocks(graph, nodes)
    seconds = time.perf_counter() - began
    kept = [[pairs(graph, b) for b in reversed(sampler.sample_blocks(graph, s)[2])] for s in seeds[: asked["keep"]]]
    json.dump({"seconds": seconds, "kept": kept}, sys.stdout)


main()

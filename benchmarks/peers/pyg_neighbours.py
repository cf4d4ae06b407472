"""The peer of `benchmarks/graph_store.py`: PyG's `LastNeighborLoader`, as in its TGN example, on one thread.

Reads `{"edges": FILE.npz, "block": n, "size": k, "hops": h}` on standard input: block by block, the last `size`
neighbours of the block's nodes, `hops` far, then the block is put in. Writes the seconds that took, and the last
neighbours of every node in the end.
"""

import json
import sys
import time

import numpy as np
import torch
from torch_geometric.nn.models.tgn import LastNeighborLoader


def main() -> None:
    asked = json.load(sys.stdin)
    torch.set_num_threads(1)
    edges = np.load(asked["edges"])
    source, target = torch.from_numpy(edges["source"]), torch.from_numpy(edges["target"])
    nodes = int(max(source.max(), target.max())) + 1
    loader = LastNeighborLoader(nodes, size=asked["size"])
    began = time.perf_counter()
    for first in range(0, len(source), asked["block"]):
        s, t = source[first : first + asked["block"]], target[first : first + asked["block"]]
        reached = torch.cat([s, t]).unique()
        for _ in range(asked["hops"]):
            reached, _, _ = loader(reached)
        loader.insert(s, t)
    seconds = time.perf_counter() - began
    last = [loader.neighbors[node][loader.e_id[node] >= 0].sort().values.tolist() for node in range(nodes)]
    json.dump({"seconds": seconds, "last": last}, sys.stdout)


main()

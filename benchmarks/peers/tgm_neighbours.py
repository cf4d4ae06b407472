"""The peer of `benchmarks/graph_store.py`: TGM's `RecencyNeighborHook`, as in its TGN and TGAT examples, on one thread.

Reads `{"edges": FILE.npz, "block": n, "size": k, "hops": h, "keep": n}` on standard input: its loader goes block by
block, and its hook gives the last `size` neighbours of the ends of every edge as of that edge's time, `hops` far, and
then puts the block in. Writes the seconds that took, and the first hop of the first `keep` blocks: of every end, the
pairs (neighbour, time), the newest first.
"""

import json
import sys
import time
import warnings

import numpy as np
import torch

warnings.simplefilter("ignore")
from tgm import DGraph  # noqa: E402
from tgm.data import DGData, DGDataLoader  # noqa: E402
from tgm.hooks import HookManager, RecencyNeighborHook  # noqa: E402


def near(batch) -> list[list[list[int]]]:
    return [
        [[n, t] for n, t in zip(ids, times, strict=True) if n >= 0][::-1]
        for ids, times in zip(batch.nbr_nids[0].tolist(), batch.nbr_edge_time[0].tolist(), strict=True)
    ]


def main() -> None:
    asked = json.load(sys.stdin)
    torch.set_num_threads(1)
    edges = np.load(asked["edges"])
    ends = torch.from_numpy(np.stack([edges["source"], edges["target"]], axis=1).astype(np.int32))
    graph = DGraph(DGData.from_raw(torch.from_numpy(edges["time"]), ends))

    def loader() -> DGDataLoader:
        hooks = HookManager(keys=["all"])
        ways = ["edge_src", "edge_dst"], ["edge_time", "edge_time"]
        hooks.register("all", RecencyNeighborHook(int(ends.max()) + 1, [asked["size"]] * asked["hops"], *ways))
        hooks.set_active_hooks("all")
        return DGDataLoader(graph, asked["block"], hook_manager=hooks)

    kept = [near(batch) for batch, _ in zip(loader(), range(asked["keep"]), strict=False)]
    began = time.perf_counter()
    for _batch in loader():
        pass
    json.dump({"seconds": time.perf_counter() - began, "kept": kept}, sys.stdout)


main()

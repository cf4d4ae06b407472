"""The temporal graph against its peers: PyG's and TGM's stores of last neighbours, DGL's samplers; ten million edges.

*A stream*: `college_msg` repeated to `TIDEMILL_BENCH_EDGES` edges (5,000,000) on one core, block by block: the last 10
neighbours of the block's nodes two hops far, each node once, then the block is put in. Ours, by `replay` and by
`sample` and `add`, keeps every edge, with its time, and answers as of any moment, times and all; PyG keeps the last 10
of a node without times, and looks at the seeds again with who was reached. Both hold the same last neighbours in the
end. Ours numbers nodes of any ids as they come; PyG is told how many there are. `replay` is let do some blocks a step.

TGM asks as of every edge's own time, and of a neighbour as of the time of the edge that led there: so does ours there,
with `decreasing`. Its sort keys, node × newest time, are of 32 bits, so it gets the first 1,000,000 edges at most, with
their places as times. It gives every end its neighbours, ours every (node, moment) once.

*A graph that stands still*: all edges are in; two hops for the nodes of the last blocks, as of the end: the 10 newest,
against DGL's `select_topk`, and 10 drawn ones, against its `NeighborSampler`.

*Ten million edges*: power-law ends, in order of time. *Mixed load*: one thread puts in 20,000 edges a second in blocks
of 200, another asks for two hops of 10 × 10 neighbours of one node at a time.
"""

from __future__ import annotations

import gc
import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.harness import compare, measure
from benchmarks.peers.environment import environment
from graph.relation import Relation
from graph.replay import replay
from graph.sampling import Hop, sample
from graph.store import Strategy, TemporalGraph

EDGES = int(os.environ.get("TIDEMILL_BENCH_EDGES", "5000000"))
LARGE = int(os.environ.get("TIDEMILL_BENCH_LARGE", "10000000"))
RUNS = int(os.environ.get("TIDEMILL_BENCH_RUNS", "1"))
SECONDS = float(os.environ.get("TIDEMILL_BENCH_SECONDS", "10"))
DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
SIZE = 10
PACE, BLOCK = 20_000, 200
AHEAD = 16
BLOCKS, CHECKED = 500, 20_000
KEYED = 1_000_000
SECOND = 1_000_000


def repeated() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`college_msg` again and again, each time later: sources, targets, times in µs."""
    with gzip.open(DATA / "college_msg" / "CollegeMsg.txt.gz") as file:
        rows = np.loadtxt(file, dtype=np.int64)
    times = -(-EDGES // len(rows))
    span = rows[-1, 2] - rows[0, 2] + 1
    stamps = (rows[None, :, 2] + np.arange(times)[:, None] * span).ravel()[:EDGES] * SECOND
    return np.tile(rows[:, 0], times)[:EDGES], np.tile(rows[:, 1], times)[:EDGES], stamps


def empty() -> TemporalGraph:
    return TemporalGraph(["node"], [Relation("met", "node", "node", directed=False)])


Edges = tuple[np.ndarray, np.ndarray, np.ndarray]


def part(edges: Edges, first: int, last: int) -> Edges:
    source, target, times = edges
    return source[first:last], target[first:last], times[first:last]


def replayed(edges: Edges, block: int, hops: int) -> tuple[float, TemporalGraph]:
    """The seconds it took, and the graph."""
    graph = empty()
    began = time.perf_counter()
    for _played in replay(graph, "met", *edges, [Hop("met", SIZE)] * hops, block=block, ahead=AHEAD):
        pass
    return time.perf_counter() - began, graph


def by_calls(edges: Edges, block: int, hops: int, own: bool = False) -> float:
    """The seconds it took by `sample` and `add`; with `own`, every end as of its edge's time, and back from there."""
    graph, way = empty(), [Hop("met", SIZE)] * hops
    began = time.perf_counter()
    for first in range(0, len(edges[0]), block):
        s, t, at = part(edges, first, first + block)
        nodes = graph.numbers("node", np.concatenate([s, t]))
        sample(graph, "node", nodes, np.concatenate([at, at]) if own else int(at[0]), way, decreasing=own)
        graph.add("met", s, t, at)
    return time.perf_counter() - began


def theirs(script: str, edges: Edges, **asked: Any) -> dict[str, Any]:
    """What a peer said."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "edges.npz"
        np.savez(file, source=edges[0], target=edges[1], time=edges[2])
        question = json.dumps({"edges": str(file), "size": SIZE, **asked})
        program = [environment("graph"), Path(__file__).parent / "peers" / f"{script}_neighbours.py"]
        done = subprocess.run(program, input=question, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


def against_pyg(edges: Edges) -> None:
    """Insertion and queries in turn, for two sizes of blocks and both numbers of hops."""

    def same() -> None:
        # Of more entries of one node in a block than it keeps, the peer keeps any.
        few = part(edges, 0, CHECKED)
        _, graph = replayed(few, 4, 1)
        last = theirs("pyg", few, block=4, hops=1)["last"]
        ids = graph.nodes["node"].ids()
        found = graph.neighbours("met", np.arange(len(ids)), int(few[2][-1]) + 1, SIZE)
        for number, id in enumerate(ids):
            mine = sorted(ids[n] for n in found.nodes[number, : found.counts[number]].tolist())
            if mine != last[id]:
                raise RuntimeError(f"node {id}: ours {mine}, theirs {last[id]}")

    count = len(edges[0])
    ahead = f"replay, {AHEAD} blocks a step"
    ways = {ahead: lambda *asked: replayed(*asked)[0], "sample and add": by_calls}
    for hops, block, way, aim in (
        (2, 200, ahead, 30),
        (2, 200, "sample and add", None),
        (2, 1_000, ahead, None),
        (1, 200, ahead, None),
    ):
        compare(
            f"graph_insert_query_{hops}",
            ours=lambda h=hops, b=block, w=way: count / ways[w](edges, b, h),  # type: ignore[misc]
            theirs=lambda h=hops, b=block: count / theirs("pyg", edges, block=b, hops=h)["seconds"],  # type: ignore[misc]
            check=same,
            peer="PyG 2.8.1, LastNeighborLoader",
            unit="edges/s",
            workload=f"college_msg to {count:,} edges, last {SIZE} neighbours, {hops} hops, block {block}, by {way}",
            aim=aim,
            runs=RUNS,
            warmup=0,
        )


def against_tgm(edges: Edges) -> None:
    """The same, as of each edge's own time."""
    count = min(len(edges[0]), KEYED)
    source, target, _ = part(edges, 0, count)
    numbered = source, target, np.arange(count)

    def same() -> None:
        few = part(numbered, 0, CHECKED)
        kept = theirs("tgm", few, block=BLOCK, hops=1, keep=-(-CHECKED // BLOCK))["kept"]
        graph = empty()
        for number, wanted in enumerate(kept):
            s, t, at = part(few, number * BLOCK, (number + 1) * BLOCK)
            nodes, ids = graph.numbers("node", np.concatenate([s, t])), graph.nodes["node"]
            found = graph.neighbours("met", nodes, np.concatenate([at, at]), SIZE)
            for end, theirs_ in enumerate(wanted):
                n = int(found.counts[end])
                mine = [
                    list(pair)
                    for pair in zip(ids.ids(found.nodes[end, :n]), found.times[end, :n].tolist(), strict=True)
                ]
                if mine != theirs_:
                    raise RuntimeError(f"block {number}, end {end}: ours {mine}, theirs {theirs_}")
            graph.add("met", s, t, at)

    compare(
        "graph_insert_query_own_times",
        ours=lambda: count / by_calls(numbered, BLOCK, 2, own=True),
        theirs=lambda: count / theirs("tgm", numbered, block=BLOCK, hops=2, keep=0)["seconds"],
        check=same,
        peer="TGM 0.1.0b1, RecencyNeighborHook",
        unit="edges/s",
        workload=f"college_msg to {count:,} edges, last {SIZE} neighbours as of each edge, 2 hops, block {BLOCK}",
        aim=3,
        runs=RUNS,
        warmup=0,
    )


def against_dgl(edges: Edges) -> None:
    """Queries of a graph that stands still."""
    graph = empty()
    graph.add("met", *edges)
    ids, end = graph.nodes["node"], int(edges[2][-1]) + 1
    blocks = min(BLOCKS, len(edges[0]) // BLOCK)
    asked = {"block": BLOCK, "hops": 2}

    def seeds(edges: Edges, graph: TemporalGraph) -> list[np.ndarray]:
        firsts = range(0, len(edges[0]), BLOCK)[-blocks:]
        return [graph.numbers("node", np.unique(np.concatenate(part(edges, f, f + BLOCK)[:2]))) for f in firsts]

    def same(strategy: Strategy) -> None:
        kept = theirs("dgl", edges, blocks=blocks, way=strategy, keep=2, **asked)["kept"]
        for nodes, wanted in zip(seeds(edges, graph), kept, strict=False):
            got = sample(graph, "node", nodes, end, [Hop("met", SIZE, strategy=strategy)] * 2)
            for hop, (block,) in enumerate(got.blocks):
                near, far = got.frontiers[hop]["node"].nodes, got.frontiers[hop + 1]["node"].nodes
                pair = ids.ids(near[block.targets]), ids.ids(far[block.sources])
                mine = sorted(zip(*pair, block.edges.tolist(), strict=True))
                looked = set(ids.ids(near))  # the peer looks at the seeds again
                other = [tuple(row) for row in wanted[hop] if row[0] in looked]
                if strategy == "uniform":  # drawn otherwise, so many of each; of whom, differs from there on
                    if [row[0] for row in mine] != [row[0] for row in other]:
                        raise RuntimeError(f"ours {mine[:20]}, theirs {other[:20]}")
                    break
                if mine != other:
                    raise RuntimeError(f"hop {hop}: ours {mine[:20]}, theirs {other[:20]}")

    def ours(strategy: Strategy) -> float:
        asked, way = seeds(edges, graph), [Hop("met", SIZE, strategy=strategy)] * 2
        began = time.perf_counter()
        for nodes in asked:
            sample(graph, "node", nodes, end, way)
        return blocks / (time.perf_counter() - began)

    for strategy, peer in (("recent", "sampling.select_topk"), ("uniform", "dataloading.NeighborSampler")):
        compare(
            f"graph_frozen_{strategy}",
            ours=lambda s=strategy: ours(s),  # type: ignore[misc]
            theirs=lambda s=strategy: blocks / theirs("dgl", edges, blocks=blocks, way=s, keep=0, **asked)["seconds"],  # type: ignore[misc]
            check=lambda s=strategy: same(s),  # type: ignore[misc]
            peer=f"DGL 2.1.0, {peer}",
            unit="blocks/s",
            workload=f"college_msg to {len(edges[0]):,} edges, the nodes of {BLOCK} edges, {SIZE} × {SIZE} neighbours",
            aim=3,
            runs=RUNS,
            warmup=0,
        )


def large() -> None:
    """Memory, speed and queries of a large graph, and both at once."""
    random = np.random.default_rng(5)
    source = (random.pareto(1.2, LARGE) * 1_000).astype(np.int64) % 1_000_000
    target = (random.pareto(1.2, LARGE) * 1_000).astype(np.int64) % 1_000_000
    times = np.arange(LARGE, dtype=np.int64) * 1_000
    before = psutil.Process().memory_info().rss
    graph = empty()
    warm(graph)
    graph = empty()
    began = time.perf_counter()
    for first in range(0, LARGE, 10_000):
        part = slice(first, first + 10_000)
        graph.add("met", source[part], target[part], times[part])
    seconds = time.perf_counter() - began
    gc.collect()
    size = (psutil.Process().memory_info().rss - before) / LARGE
    workload = f"{LARGE:,} edges between {len(graph.nodes['node']):,} nodes"
    measure("graph_insert", lambda: LARGE / seconds, unit="edges/s", workload=workload + ", blocks of 10,000")
    measure("graph_memory", lambda: size, unit="bytes/edge", workload=workload, better="lower")
    asked = random.integers(0, LARGE, 20_000)
    alone = [_ask(graph, int(source[i]), LARGE * 1_000) for i in asked]
    for at in (50, 99):
        measure(
            f"graph_query_p{at}",
            lambda at=at: float(np.percentile(alone, at)) * 1e3,  # type: ignore[misc]
            unit="ms",
            workload=f"{workload}, two hops of 10 × 10 of one node",
            better="lower",
        )
    mixed(graph, source, target, workload)


def _ask(graph: TemporalGraph, node: int, before: int) -> float:
    began = time.perf_counter()
    sample(graph, "node", graph.numbers("node", np.array([node])), before, [Hop("met", SIZE)] * 2)
    return time.perf_counter() - began


def mixed(graph: TemporalGraph, source: np.ndarray, target: np.ndarray, workload: str) -> None:
    """Queries while edges come at a steady pace; and when an edge is seen that was handed over."""
    stop, seen = threading.Event(), []
    start = time.perf_counter()

    def write() -> None:
        number = 0
        while not stop.is_set():
            due = start + number * BLOCK / PACE
            time.sleep(max(0.0, due - time.perf_counter()))
            part = slice(number * BLOCK % len(source), number * BLOCK % len(source) + BLOCK)
            handed = time.perf_counter()
            at = LARGE * 1_000 + number
            graph.add("met", source[part], target[part], np.full(len(source[part]), at))
            seen.append(time.perf_counter() - handed)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    took = []
    random = np.random.default_rng(6)
    while time.perf_counter() - start < SECONDS:
        took.append(_ask(graph, int(source[random.integers(len(source))]), 1 << 60))
    stop.set()
    writer.join()
    for name, values, aim in (("graph_mixed_query_p99", took, 5.0), ("graph_mixed_visible_p99", seen, 50.0)):
        measure(
            name,
            lambda v=values: float(np.percentile(v, 99)) * 1e3,  # type: ignore[misc]
            unit="ms",
            workload=f"{workload}, {PACE:,} edges/s put in, {len(took) / SECONDS:,.0f} queries/s of 10 × 10",
            aim=aim,
            better="lower",
        )


def warm(graph: TemporalGraph) -> None:
    """Compile, or load, what is measured."""
    nobody = np.zeros(2, np.int64)
    list(replay(empty(), "met", nobody, nobody, nobody, [Hop("met", SIZE)] * 2))
    graph.add("met", np.zeros(2, np.int64), np.ones(2, np.int64), np.zeros(2, np.int64))
    _ask(graph, 0, 1)


def main() -> None:
    """Against the peers, where the data set is there; then the large graph."""
    warm(empty())
    if (DATA / "college_msg").is_dir():
        edges = repeated()
        against_pyg(edges)
        against_tgm(edges)
        against_dgl(edges)
    else:
        print(f"graph_store: no college_msg in {DATA}", file=sys.stderr)
    large()


if __name__ == "__main__":
    main()

"""The temporal graph: edges put in and asked for at once, against PyG's store of last neighbours; ten million edges.

Both read `college_msg` repeated to `TIDEMILL_BENCH_EDGES` edges (5,000,000) on one core, block by block: the last 10
neighbours of the block's nodes two hops far, each node once, then the block is put in. Ours keeps every edge, with its
time, and answers as of any moment; the peer keeps the last 10 of a node. Both hold the same last neighbours in the end.

Ten million edges: power-law ends, in order of time. *Mixed load*: one thread puts in 20,000 edges a second in blocks of
200, another asks for two hops of 10 × 10 neighbours of one node at a time.
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

import numpy as np
import psutil

from benchmarks.harness import compare, measure
from benchmarks.peers.environment import environment
from graph.relation import Relation
from graph.sampling import Hop, sample
from graph.store import TemporalGraph

EDGES = int(os.environ.get("TIDEMILL_BENCH_EDGES", "5000000"))
LARGE = int(os.environ.get("TIDEMILL_BENCH_LARGE", "10000000"))
RUNS = int(os.environ.get("TIDEMILL_BENCH_RUNS", "1"))
SECONDS = float(os.environ.get("TIDEMILL_BENCH_SECONDS", "10"))
DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
SIZE = 10
PACE, BLOCK = 20_000, 200
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


def ours(edges: tuple[np.ndarray, ...], block: int, hops: int) -> tuple[float, TemporalGraph]:
    """The seconds it took, and the graph."""
    source, _target, _times = edges
    graph = empty()
    way = [Hop("met", SIZE)] * hops
    began = time.perf_counter()
    for first in range(0, len(source), block):
        s, t, at = (column[first : first + block] for column in edges)
        nodes = graph.numbers("node", np.concatenate([s, t]))
        sample(graph, "node", nodes, int(at[0]), way)
        graph.add("met", s, t, at)
    return time.perf_counter() - began, graph


def theirs(file: Path, block: int, hops: int) -> dict:
    """What the peer said."""
    asked = json.dumps({"edges": str(file), "block": block, "size": SIZE, "hops": hops})
    script = Path(__file__).parent / "peers" / "pyg_neighbours.py"
    done = subprocess.run([environment("pyg"), script], input=asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


def against_pyg() -> None:
    """Insertion and queries in turn, for two sizes of blocks and both numbers of hops."""
    edges = repeated()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "edges.npz"
        np.savez(file, source=edges[0], target=edges[1])
        few = Path(folder) / "few.npz"
        np.savez(few, source=edges[0][:20_000], target=edges[1][:20_000])

        def same() -> None:
            # Of more entries of one node in a block than it keeps, the peer keeps any.
            _, graph = ours(tuple(column[:20_000] for column in edges), 4, 1)
            last = theirs(few, 4, 1)["last"]
            ids = graph.nodes["node"].ids()
            found = graph.neighbours("met", np.arange(len(ids)), int(edges[2][-1]) + 1, SIZE)
            for number, id in enumerate(ids):
                mine = sorted(ids[n] for n in found.nodes[number, : found.counts[number]].tolist())
                if mine != last[id]:
                    raise RuntimeError(f"node {id}: ours {mine}, theirs {last[id]}")

        for hops, block, aim in ((2, 200, 30), (2, 1_000, None), (1, 200, None)):
            compare(
                f"graph_insert_query_{hops}",
                ours=lambda h=hops, b=block: len(edges[0]) / ours(edges, b, h)[0],  # type: ignore[misc]
                theirs=lambda h=hops, b=block: len(edges[0]) / theirs(file, b, h)["seconds"],  # type: ignore[misc]
                check=same,
                peer="PyG 2.8.1, LastNeighborLoader",
                unit="edges/s",
                workload=f"college_msg to {len(edges[0]):,} edges, last {SIZE} neighbours, {hops} hops, block {block}",
                aim=aim,
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
    graph.add("met", np.zeros(2, np.int64), np.ones(2, np.int64), np.zeros(2, np.int64))
    _ask(graph, 0, 1)


def main() -> None:
    """Against PyG, where the data set is there; then the large graph."""
    warm(empty())
    if (DATA / "college_msg").is_dir():
        against_pyg()
    else:
        print(f"graph_store: no college_msg in {DATA}", file=sys.stderr)
    large()


if __name__ == "__main__":
    main()

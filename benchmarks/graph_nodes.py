"""Node classification on graphs that stand still, in sampled batches on one thread: `cora` and `tolokers`. Beside them
HGT on `cora` with its words as nodes of a second type, whole, and a logistic regression of the words alone.

Prints a table, then one line a figure: accuracy on `cora`'s public split, the mean over three seeds; mean ROC AUC over
the ten splits of `tolokers`. What is chosen by hand, and the epoch whose weights stay, was chosen on the validation
nodes (`TIDEMILL_BENCH_PART=validation` prints those alone); `TIDEMILL_BENCH_SET` runs one set alone.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import measure
from graph.csr import CSRGraph

FOLDER = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
PART = os.environ.get("TIDEMILL_BENCH_PART", "test")
BACKEND = os.environ.get("TIDEMILL_BENCH_BACKEND", "dgl")


class Task(NamedTuple):
    """A graph with features and classes, and for each run its training, validation and test nodes."""

    graph: CSRGraph
    x: Any
    y: Any
    runs: list[tuple[Any, Any, Any]]


def cora() -> Task:
    """Words divided by their sum, as usual."""
    with np.load(FOLDER / "cora" / "cora.npz") as data:
        y, edges, starts = data["labels"], data["edges"], data["feat_indptr"]
        x = np.zeros((len(y), int(data["num_features"])), np.float32)
        x[np.repeat(np.arange(len(y)), np.diff(starts)), data["feat_indices"]] = data["feat_data"]
        parts = tuple(np.flatnonzero(data[f"{name}_mask"]) for name in ("train", "val", "test"))
    x /= np.maximum(x.sum(1, keepdims=True), 1)
    return Task(CSRGraph.from_edges(*edges.T, len(y), undirected=True), x, y, [parts] * 3)


def tolokers() -> Task:
    """The features and the logarithm of the degree, standardised: what is known of every node without its label."""
    with np.load(FOLDER / "tolokers" / "tolokers.npz") as data:
        y, edges, x = data["node_labels"], data["edges"], data["node_features"]
        masks = [data[f"{name}_masks"] for name in ("train", "val", "test")]
    graph = CSRGraph.from_edges(*edges.T, len(y), undirected=True)
    x = np.column_stack((x, np.log1p(np.diff(graph.offsets))))
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    return Task(graph, x, y, [tuple(np.flatnonzero(mask[i]) for mask in masks) for i in range(10)])


def accuracy(y: Any, out: Any) -> float:
    return float((out.argmax(1) == y).mean())


def auc(y: Any, out: Any) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, out[:, 0]))


def runs(name: str, network: str, task: Task) -> Iterator[tuple[float, float, float]]:
    """Validation score, test score and seconds of every run."""
    import torch

    from graph.nn.gatv2 import GATv2
    from graph.nn.nodes import Training, fit, outputs
    from graph.nn.sage import GraphSAGE

    score: Callable[[Any, Any], float] = accuracy if name == "cora" else auc
    for seed, (train, validation, test) in enumerate(task.runs):
        torch.manual_seed(seed)
        kind: Any = {"GraphSAGE": GraphSAGE, "GATv2": GATv2}[network]
        if name == "cora":
            options = {"attention_dropout": 0.6} if network == "GATv2" else {}
            model = kind(task.x.shape[1], 64, 7, dropout=0.6, backend=BACKEND, **options)
            how = Training(200, 0.005, weight_decay=5e-4, decoupled=False, seed=seed)
        else:
            model = kind(task.x.shape[1], 64, 1, dropout=0.2, residual=True, backend=BACKEND)
            how = Training(30, 0.01, one_cycle=True, seed=seed)
        found = fit(model, task.graph, task.x, task.y, train, validation, score, how)
        tested = score(task.y[test], outputs(model, task.graph, task.x)[test]) if PART == "test" else float("nan")
        yield found.validation, tested, found.seconds


def words_as_nodes(task: Task) -> Iterator[tuple[float, float, float]]:
    """HGT on papers that cite papers and have words, whole: validation score, test score and seconds of every run. A
    word's own input says which it is."""
    import torch
    from torch.nn import functional as F

    from graph.nn.backend import Edges
    from graph.nn.hgt import HGT, HeteroEdges

    batch = task.graph.whole(1)
    paper, word = (torch.from_numpy(ends) for ends in np.nonzero(task.x))
    size = {"paper": len(task.x), "word": task.x.shape[1]}
    cites = batch.blocks[0]
    edges = {
        ("paper", "cites", "paper"): Edges.of(cites),
        ("word", "in", "paper"): Edges(word, paper, size["word"], size["paper"]),
        ("paper", "has", "word"): Edges(paper, word, size["paper"], size["word"]),
    }
    layers = [HeteroEdges(edges, size)] * 2
    # Whether a word is there: of shares as small as these an encoder learns slowly.
    x = {"paper": torch.from_numpy((task.x > 0).astype(np.float32)), "word": torch.eye(size["word"])}
    labels = torch.from_numpy(np.asarray(task.y, np.int64))
    for seed, (train, validation, test) in enumerate(task.runs):
        torch.manual_seed(seed)
        model = HGT({"paper": size["word"], "word": size["word"]}, list(edges), "paper", 32, 7, backend=BACKEND)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=5e-4)
        begun, best = time.perf_counter(), (-1.0, float("nan"))
        for _ in range(50):
            model.train()
            optimiser.zero_grad()
            out = model({kind: F.dropout(rows, 0.6) for kind, rows in x.items()}, layers)
            torch.autograd.backward(F.cross_entropy(out[train], labels[train]))
            optimiser.step()
            model.eval()
            with torch.no_grad():
                out = model(x, layers).numpy()
            now = accuracy(task.y[validation], out[validation])
            if now > best[0]:
                best = now, accuracy(task.y[test], out[test])
        yield best[0], best[1] if PART == "test" else float("nan"), time.perf_counter() - begun


def words_alone(task: Task) -> Iterator[tuple[float, float, float]]:
    """A logistic regression of a paper's words, without the graph; its strength is chosen on validation."""
    from sklearn.linear_model import LogisticRegression

    train, validation, test = task.runs[0]
    begun, best = time.perf_counter(), (-1.0, float("nan"))
    for strength in (1.0, 10.0, 100.0, 1_000.0):
        model = LogisticRegression(C=strength, max_iter=2_000).fit(task.x[train], task.y[train])
        now = float(model.score(task.x[validation], task.y[validation]))
        if now > best[0]:
            best = now, float(model.score(task.x[test], task.y[test]))
    yield best[0], best[1] if PART == "test" else float("nan"), time.perf_counter() - begun


def main() -> None:
    if not find_spec("torch"):
        print("graph_nodes: left out, torch is not installed. make torch", file=sys.stderr)
        return
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    lines, figures = [], []
    for name, load, unit, aim in (
        ("cora", cora, "accuracy", 0.81),
        ("tolokers", tolokers, "mean ROC AUC", 0.83),
    ):
        if os.environ.get("TIDEMILL_BENCH_SET", name) != name:
            continue
        task = load()
        every = [(network, runs(name, network, task)) for network in ("GATv2", "GraphSAGE")]
        if name == "cora":
            every += [("HGT, words", words_as_nodes(task)), ("words alone", words_alone(task))]
        for network, made in every:
            validation, test, seconds = zip(*made, strict=True)
            mean, spread = float(np.mean(test)), float(np.std(test, ddof=min(1, len(test) - 1)))
            lines.append(
                f"{name:10} {network:10} {statistics.mean(validation):.4f} {mean:.4f} ± {spread:.4f}"
                f" {statistics.mean(seconds):6.1f} s"
            )
            workload = f"{name}, {network}, {len(test)} runs, standard deviation {spread:.4f}, backend {BACKEND}"
            figures.append((f"graph_nodes_{name}", mean, unit, workload, aim if network == "GATv2" else None))
    print(f"{'set':10} {'network':10} validation, test, seconds a run", *lines, sep="\n", file=sys.stderr)
    for bench, value, unit, workload, aim in figures if PART == "test" else []:
        measure(bench, lambda value=value: value, unit=unit, workload=workload, aim=aim)  # type: ignore[misc]


if __name__ == "__main__":
    main()

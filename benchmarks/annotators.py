"""Poor annotators by the graph of their labels: on answers of four crowds, and banned workers of `tolokers`.

*Crowds.* Of every annotator with 10 or more answers that the truth judges: Spearman's correlation of each figure with
the share of right answers, and ROC AUC of who is in the poorest quarter. The truth is used for nothing else. `majority`
is agreement with the majority of all answers, `Dawid-Skene` the batch EM of 50 passes over all of them; ours reads each
answer once, as it comes (in the file's order; and the mean of five others). `STRENGTH` of `graph.annotators` was set
between two values whose figures on these sets had been seen, `DIAGONAL` without a look at another.

*Tolokers.* Mean ROC AUC over the ten splits of a logistic regression, and of boosted trees, on the ten features of a
worker alone, with means over neighbours (two hops), and with the labels known among them too (of the training part).
Six sets of columns had been looked at; the models' settings were never changed.
"""

from __future__ import annotations

import csv
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import measure
from graph.annotators import FEATURES, Annotators
from graph.csr import CSRGraph
from graph.neighbour_means import label_shares, means

FOLDER = Path(os.environ.get("TIDEMILL_DATA", "../shared/data"))
CROWDS = ("bluebirds", "faces", "products", "rte")


def answers(name: str) -> tuple[Any, Any, Any, Any]:
    """Annotator, task and label of each answer, and the truth of each task (−1: not known)."""
    with (FOLDER / "crowd" / f"{name}.answers.csv").open() as file:
        rows = [(r["worker"], r["task"], int(r["answer"])) for r in csv.DictReader(file)]
    with (FOLDER / "crowd" / f"{name}.truth.csv").open() as file:
        truth = {r["task"]: int(r["truth"]) for r in csv.DictReader(file)}
    ids = [{key: i for i, key in enumerate(dict.fromkeys(r[c] for r in rows))} for c in (0, 1)]
    a, t = (np.array([ids[c][r[c]] for r in rows]) for c in (0, 1))
    return a, t, np.array([r[2] for r in rows]), np.array([truth.get(key, -1) for key in ids[1]])


def dawid_skene(a: Any, t: Any, label: Any, classes: int, passes: int = 50) -> tuple[Any, Any]:
    """Expected accuracy of every annotator, and the class of every task, from the majority on."""
    p = np.zeros((t.max() + 1, classes))
    np.add.at(p, (t, label), 1.0)
    p /= p.sum(1, keepdims=True)
    counts = np.zeros((a.max() + 1, classes, classes))
    for _ in range(passes):
        counts[:] = 0.0
        for c in range(classes):
            np.add.at(counts, (a, c, label), p[t, c])
        rates = np.log((counts + 0.01) / (counts + 0.01).sum(2, keepdims=True))
        logs = np.tile(np.log(p.mean(0) + 1e-9), (len(p), 1))
        np.add.at(logs, t, rates[a, :, label])
        p = np.exp(logs - logs.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
    return np.einsum("akk->a", counts) / counts.sum((1, 2)), p.argmax(1)


def crowd(name: str) -> Iterator[tuple[str, float, float, float]]:
    """Of each figure: Spearman, ROC AUC, and the share of tasks whose class it finds (NaN: it finds none)."""
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score

    a, t, label, truth = answers(name)
    classes, judged = int(label.max()) + 1, truth[t] >= 0
    many = np.bincount(a, judged) >= 10
    right = np.bincount(a, judged & (label == truth[t])) / np.maximum(np.bincount(a, judged), 1)
    poor = right <= np.quantile(right[many], 0.25)

    def scored(what: str, good: Any, found: Any = None) -> tuple[str, float, float, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a figure that is the same for all has no correlation
            rank = float(spearmanr(good[many], right[many]).statistic)
        share = float("nan") if found is None else float((found == truth)[truth >= 0].mean())
        return what, rank, float(roc_auc_score(poor[many], -good[many])), share

    votes = np.zeros((len(truth), classes))
    np.add.at(votes, (t, label), 1.0)
    majority = votes.argmax(1)
    yield scored("majority", np.bincount(a, label == majority[t]) / np.bincount(a), majority)
    yield scored("Dawid-Skene", *dawid_skene(a, t, label, classes))
    model = Annotators(classes)
    model.learn(a, t, label)
    yield scored("ours", -model.poorness(), model.truth().argmax(1))
    shuffled = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(a))
        other = Annotators(classes)
        other.learn(a[order], t[order], label[order])
        shuffled.append(scored("", -other.poorness(), other.truth().argmax(1))[1:])
    rank, auc, share = np.mean(shuffled, axis=0).tolist()
    yield "ours, shuffled", rank, auc, share
    figures = model.features()
    for i, feature in enumerate(FEATURES[:-1]):
        yield scored(f"  {feature}", figures[:, i])


def tolokers() -> Iterator[tuple[str, str, list[float]]]:
    """Columns, model, and test ROC AUC of each split."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    with np.load(FOLDER / "tolokers" / "tolokers.npz") as data:
        x, y, edges = data["node_features"], data["node_labels"], data["edges"]
        parts = list(zip(data["train_masks"], data["test_masks"], strict=True))
    graph = CSRGraph.from_edges(*edges.T, len(y), undirected=True)
    around = means(graph, x)
    kinds: dict[str, Callable[[], Any]] = {
        "logistic regression": lambda: LogisticRegression(max_iter=2_000),
        "boosted trees": lambda: HistGradientBoostingClassifier(
            learning_rate=0.05, max_leaf_nodes=8, random_state=0, early_stopping=False
        ),
    }
    columns: dict[str, Callable[[Any], Any]] = {
        "features alone": lambda train: x,
        "with neighbours": lambda train: around,
        "and their labels": lambda train: np.hstack([around, label_shares(graph, y, train)]),
    }
    for kind, make in kinds.items():
        for what, of in columns.items():
            scores = []
            for train, test in parts:
                table = of(train)
                table = StandardScaler().fit(table[train]).transform(table)
                model = make().fit(table[train], y[train])
                scores.append(float(roc_auc_score(y[test], model.predict_proba(table[test])[:, 1])))
            yield what, kind, scores


def main() -> None:
    if not FOLDER.is_dir():
        print("annotators: left out, no data here: set TIDEMILL_DATA", file=sys.stderr)
        return
    print(f"{'set':10} {'figure':22} Spearman, ROC AUC of the poorest quarter, tasks found", file=sys.stderr)
    found: list[tuple[str, float, str, str, float | None]] = []
    for name in CROWDS:
        told = {what: figures for what, *figures in crowd(name)}
        for what, (rank, auc, share) in told.items():
            print(f"{name:10} {what:22} {rank:.3f} {auc:.3f} {share:.4f}", file=sys.stderr)
        workload = f"{name}, Spearman with true accuracy; majority {told['majority'][0]:.3f}, Dawid-Skene"
        found.append(
            ("annotators_" + name, told["ours"][0], "correlation", f"{workload} {told['Dawid-Skene'][0]:.3f}", None)
        )
    for what, kind, scores in tolokers():
        mean, spread = float(np.mean(scores)), float(np.std(scores, ddof=1))
        print(f"{'tolokers':10} {kind}, {what}: {mean:.4f} ± {spread:.4f}", file=sys.stderr)
        found.append(("annotators_tolokers", mean, "mean ROC AUC", f"{kind}, {what}, 10 splits", None))
    for bench, value, unit, workload, aim in found:
        measure(bench, lambda value=value: value, unit=unit, workload=workload, aim=aim)  # type: ignore[misc]
    a, t, label, _ = answers("products")

    def speed() -> float:
        model, start = Annotators(2), time.perf_counter()
        model.learn(a, t, label)
        return len(a) / (time.perf_counter() - start)

    measure("annotators_rate", speed, unit="labels/s", workload="products, 24,945 labels in one block")


if __name__ == "__main__":
    main()

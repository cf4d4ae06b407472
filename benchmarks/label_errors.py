"""Flipped labels found: 5 % of fashion_mnist's labels flipped, recall at equal budget beside cleanlab.

6,000 training images, 300 labels flipped to another class at random, three seeds. Both are given the very same
out-of-sample probabilities: five folds of the softmax head on features learned without labels, or what the head
predicted of each image before it learned its label, as it stands on the stream (`prequential`). Ours are the questions
that the job `streams.labelling.label_errors` asks; cleanlab's are `find_label_issues`, ranked by self-confidence and by
normalised margin, at its defaults. The budget is the number of flipped labels for both.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import measure
from benchmarks.patch_features import FOLDER, PatchFeatures, fashion_mnist
from benchmarks.peers.environment import environment
from streams.labelling.label_errors import label_errors
from streams.learners.softmax import Softmax
from tidemill.block import Block, column
from tidemill.order import Batch

COUNT, FLIPPED = 6_000, 300
CLASSES = [str(i) for i in range(10)]
CLEANLAB = """
import sys, numpy as np
from cleanlab.filter import find_label_issues
data = np.load(sys.argv[1])
for rank in ("self_confidence", "normalized_margin"):
    found = find_label_issues(data["labels"], data["P"], return_indices_ranked_by=rank)
    np.save(sys.argv[2] + rank + ".npy", found)
"""


def probabilities(X: Any, y: Any, seed: int) -> dict[str, Any]:
    """Out-of-sample probabilities of every image, made in two ways."""

    def head() -> Softmax:
        return Softmax([f"x{i}" for i in range(X.shape[1])], classes=CLASSES, replay=4, kept=4_096, seed=seed)

    folds = np.random.default_rng(seed).permutation(len(X)) % 5
    crossed = np.zeros((len(X), 10))
    for fold in range(5):
        model = head()
        model.learn_block(X[folds != fold], y[folds != fold].astype(np.float64))
        crossed[folds == fold] = model.probabilities(X[folds == fold])
    model, before = head(), np.zeros((len(X), 10))
    for i, x in enumerate(X):
        before[i] = model.probabilities(x[None])[0]
        model.learn_one(x, float(y[i]))
    return {"five folds": crossed, "prequential": before}


def ours(P: Any, labels: Any, rank: str) -> Any:
    """The images that the job asks about, in its order."""
    recipe = {"name": "doubts", "project": "pictures", "endpoint": "pictures", "classes": CLASSES}
    job = label_errors(**recipe, every=len(P), least=100, budget=FLIPPED, rank=rank, media=None, media_type=None)
    ids = [f"{i:05d}" for i in range(len(P))]

    def block(stream: str, at: int, **columns: Any) -> Block:
        n = len(ids)
        cells = {name: column(values, np.object_) for name, values in columns.items()}
        zeros, names = np.zeros(n, np.int32), column(ids, np.object_)
        sources = column([stream] * n, np.object_)
        return Block(stream, stream, np.full(n, at), names, sources, zeros, np.arange(n), zeros, cells)

    made = {"about": ids, "model": ["m"] * len(P), "version": ["1"] * len(P), "score": P[:, -1].tolist()}
    blocks = [
        block("pictures", 1, id=ids),
        block("predictions.pictures", 2, outputs=P.tolist(), **made),
        block("labels.pictures", 3, about=ids, value=[CLASSES[y] for y in labels]),
    ]
    effects = job.step(job.init(), Batch.of(blocks))
    return np.array([int(id) for rows in effects.emit for id in rows.columns["about"]])


def cleanlabs(P: Any, labels: Any) -> dict[str, Any]:
    """What cleanlab finds, ranked in two ways."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "given.npz", f"{folder}/"
        np.savez(given, P=P, labels=labels)
        subprocess.run([environment("labels"), "-c", CLEANLAB, given, out], check=True)
        names = ("self_confidence", "normalized_margin")
        return {name: np.load(f"{out}{name}.npy")[:FLIPPED] for name in names}


def main() -> None:
    if not FOLDER.is_dir():
        print("label_errors: left out, no data here: set TIDEMILL_DATA", file=sys.stderr)
        return
    images, truth = fashion_mnist("train")
    features = PatchFeatures(images[:2_000])
    found: dict[tuple[str, str], list[tuple[float, float, bool]]] = {}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        mine = rng.permutation(len(images))[:COUNT]
        X, labels = features.of(images[mine]), truth[mine].astype(np.int64)
        flipped = rng.choice(COUNT, FLIPPED, replace=False)
        labels[flipped] = (labels[flipped] + rng.integers(1, 10, FLIPPED)) % 10
        for how, P in probabilities(X, labels, seed).items():
            theirs = cleanlabs(P, labels)
            for rank, name in (("self_confidence", "self_confidence"), ("normalised_margin", "normalized_margin")):
                us, them = ours(P, labels, rank), theirs[name]
                recalls = [len(set(one.tolist()) & set(flipped.tolist())) / FLIPPED for one in (us, them)]
                found.setdefault((how, rank), []).append((recalls[0], recalls[1], us.tolist() == them.tolist()))
    for (how, rank), rows in found.items():
        mean = np.mean([row[:2] for row in rows], axis=0)
        same = sum(row[2] for row in rows)
        measure(
            f"label_errors_{rank}",
            lambda mean=mean: float(mean[0]),  # type: ignore[misc]
            unit=f"recall of {FLIPPED} flipped labels in {FLIPPED} questions",
            workload=f"fashion_mnist, {COUNT:,} images, 5 % flipped, {how}, 3 seeds; cleanlab {mean[1]:.4f}, "
            f"the same questions in the same order in {same} of {len(rows)}",
        )


if __name__ == "__main__":
    main()

"""What to label next: fashion_mnist, 600 labels, each strategy beside random choice, five seeds.

The model is the live head, `streams.learners.softmax.Softmax`, on features that were learned from images without a
label (`benchmarks/patch_features.py`), not a network trained anew: what is measured is the choice. 6,000 training
images are the pool, another draw for each seed; the first 50 labels are random in every run and the same for all
strategies; then rounds of 25, each chosen by `streams.labelling.choice.choose` from what the head then says of the
pool (`disagreement`: of what it said after each of the last rounds, as many as `ask_next` keeps). Accuracy is of 5,000
test images. The head's settings were chosen on random labels; no strategy was tuned. `drift` is not here: nothing of
this stream drifts.

Prints JSON lines, a table on standard error, and draws `docs/labelling-choice.png`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import measure
from benchmarks.patch_features import FOLDER, PatchFeatures, fashion_mnist
from streams.labelling.asking import VERSIONS
from streams.labelling.choice import Pool, choose
from streams.learners.softmax import Softmax

SEEDS, FIRST, ROUND, LAST = range(5), 50, 25, 600
MIXTURES: dict[str, dict[str, float]] = {
    "random": {"random": 1.0},
    "margin": {"margin": 1.0},
    "entropy": {"entropy": 1.0},
    "margin + clusters": {"margin": 0.5, "clusters": 0.5},
    "clusters": {"clusters": 1.0},
    "least_confidence": {"least_confidence": 1.0},
    "k_centre": {"k_centre": 1.0},
    "disagreement": {"disagreement": 1.0},
}
PICTURE = Path(__file__).parents[1] / "docs" / "labelling-choice.png"


def run(shares: dict[str, float], X: Any, y: Any, seed: int, test: tuple[Any, Any]) -> list[float]:
    """Accuracy after `FIRST`, `FIRST` + `ROUND`, ... labels."""
    head = Softmax([f"x{i}" for i in range(X.shape[1])], classes=[str(i) for i in range(10)], replay=32, seed=seed)
    open_ = np.ones(len(X), dtype=bool)
    picked = np.random.default_rng(seed).permutation(len(X))[:FIRST].tolist()
    taken: list[int] = []
    said: list[Any] = []
    curve = []
    while True:
        head.learn_block(X[picked], y[picked].astype(np.float64))
        taken += picked
        open_[picked] = False
        curve.append(float((head.probabilities(test[0]).argmax(axis=1) == test[1]).mean()))
        if len(taken) >= LAST:
            return curve
        left = np.flatnonzero(open_)
        ids = [f"{i:05d}" for i in left]
        said = [*said[1 - VERSIONS :], head.probabilities(X)]
        pool = Pool(ids, said[-1][left])
        if "disagreement" in shares:
            pool.versions = list(np.stack(said, axis=1)[left])
        if {"clusters", "k_centre"} & set(shares):
            pool.embeddings, pool.taken = X[left], X[taken]
        picked = [int(left[pick.at]) for pick in choose(pool, shares, ROUND, seed=seed * 1_000 + len(taken), among=5)]


def curves() -> dict[str, Any]:
    """Accuracy by strategy: seeds × points."""
    images, labels = fashion_mnist("train")
    features = PatchFeatures(images[:2_000])
    test_images, test_labels = fashion_mnist("t10k")
    test = features.of(test_images[:5_000]), test_labels[:5_000]
    found: dict[str, list[list[float]]] = {name: [] for name in MIXTURES}
    for seed in SEEDS:
        mine = np.random.default_rng(1_000 + seed).permutation(len(images))[:6_000]
        X, y = features.of(images[mine]), labels[mine]
        for name, shares in MIXTURES.items():
            found[name].append(run(shares, X, y, seed, test))
            print(f"seed {seed} {name}: {found[name][-1][-1]:.4f}", file=sys.stderr, flush=True)
    return {name: np.array(rows) for name, rows in found.items()}


def labels_for(mean: Any, wanted: float) -> float:
    """Labels after which the mean curve first reaches `wanted`; NaN where it never does."""
    reached = np.flatnonzero(mean >= wanted)
    return float(FIRST + ROUND * reached[0]) if len(reached) else float("nan")


def draw(found: dict[str, Any]) -> None:
    """The curves, with the spread of the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    at = np.arange(FIRST, LAST + 1, ROUND)
    colours = {"random": "#888888", "margin": "#d95f02", "entropy": "#7570b3", "margin + clusters": "#1b9e77"}
    colours |= {"clusters": "#0b6e99", "least_confidence": "#e6ab02", "k_centre": "#66a61e", "disagreement": "#a6761d"}
    for name, rows in found.items():
        mean, deviation = rows.mean(axis=0), rows.std(axis=0, ddof=1)
        axes.plot(at, mean, label=name, color=colours[name])
        axes.fill_between(at, mean - deviation, mean + deviation, color=colours[name], alpha=0.12, linewidth=0)
    axes.set_xlabel("labels")
    axes.set_ylabel("accuracy on 5,000 test images")
    axes.set_title("fashion_mnist, live head on unsupervised features: mean of five seeds ± one deviation", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.legend(frameon=False)
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    if not FOLDER.is_dir():
        print("active: left out, no data here: set TIDEMILL_DATA", file=sys.stderr)
        return
    found = curves()
    draw(found)
    random = found["random"]
    print(f"{'strategy':18} accuracy at 100, 200, 400, 600 labels; of 600 ± seeds; seeds won", file=sys.stderr)
    for name, rows in found.items():
        mean, points = rows.mean(axis=0), [(n - FIRST) // ROUND for n in (100, 200, 400, 600)]
        won = int((rows[:, -1] > random[:, -1]).sum())
        told = " ".join(f"{mean[i]:.4f}" for i in points)
        print(f"{name:18} {told} ± {rows[:, -1].std(ddof=1):.4f} {won}/{len(rows)}", file=sys.stderr)
        measure(
            "active_" + name.replace(" + ", "_"),
            lambda rows=rows: float(rows[:, -1].mean()),  # type: ignore[misc]
            unit="accuracy at 600 labels",
            workload=f"fashion_mnist, 5 seeds, random {random[:, -1].mean():.4f}, won in {won} of {len(rows)} seeds, "
            f"reaches random's 600 after {labels_for(mean, float(random[:, -1].mean())):g} labels",
        )


if __name__ == "__main__":
    main()

"""Native scaler and logistic regression ÷ River's same pipeline, in memory: test-then-train over a whole stream.

River predicts and learns row by row, as it must for this result (its mini-batches are another algorithm), with its
dicts made beforehand; ours takes the stream as one block, and once more in blocks of one row, where its call overhead
shows. One core each.
"""

from __future__ import annotations

import csv
import gzip
import os
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from river import linear_model, optim, preprocessing

from benchmarks.harness import compare, rate
from streams.learners.logistic import ScaledLogistic
from tidemill.learner import Float

ELEC2 = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "elec2" / "electricity.csv.gz"


def elec2() -> tuple[str, list[str], Float, Float] | None:
    """The electricity market stream, where it is at hand."""
    if not ELEC2.exists():
        return None
    with gzip.open(ELEC2, "rt") as lines:
        rows = list(csv.DictReader(lines))
    names = [name for name in rows[0] if name != "class"]
    X = np.array([[float(row[name]) for name in names] for row in rows])
    return "elec2", names, X, np.array([float(row["class"] == "UP") for row in rows])


def synthetic(n: int = 45_312, d: int = 24) -> tuple[str, list[str], Float, Float]:
    """As many features as the flights job has, and labels that depend on them."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-2, 3, size=d)
    logit = X / X.std(axis=0) @ rng.normal(size=d) + rng.logistic(size=n)
    return "synthetic", [f"x{j}" for j in range(d)], X, (logit > 0).astype(np.float64)


def bench(source: str, names: list[str], X: Float, y: Float) -> None:
    dicts = [dict(zip(names, row, strict=True)) for row in X.tolist()]
    labels = [bool(label) for label in y]

    def native() -> Float:
        return ScaledLogistic(names).learn_block(X, y)

    def single() -> Float:
        learner = ScaledLogistic(names)
        return np.concatenate([learner.learn_block(X[i : i + 1], y[i : i + 1]) for i in range(len(X))])

    def river() -> list[float]:
        model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optimizer=optim.SGD(0.01))
        scores = []
        for x, label in zip(dicts, labels, strict=True):
            scores.append(model.predict_proba_one(x)[True])
            model.learn_one(x, label)
        return scores

    want = np.array(river())
    peer = f"river {version('river')}"
    for form, work, aim in (("one block", native, 100), ("blocks of one row", single, None)):

        def same(work=work) -> None:
            difference = np.abs(work() - want).max()
            if not difference <= 1e-9:
                raise AssertionError(f"predictions differ from River's by {difference}")
            print(f"largest difference of predictions: {difference:.1e}", file=sys.stderr)

        compare(
            "learn_logistic",
            ours=rate(len(X), work),
            theirs=rate(len(X), river),
            check=same,
            peer=peer,
            unit="events/s",
            workload=f"{source}, {len(X):,} rows × {len(names)} features, {form}, one core",
            aim=aim,
        )


def main() -> None:
    for stream in (elec2(), synthetic()):
        if stream is not None:
            bench(*stream)


if __name__ == "__main__":
    main()

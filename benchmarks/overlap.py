"""Dynamic overlap: how many answers are saved by asking of each item only until its label is sure.

The recorded answers of `bluebirds` (39 of each item) and `rte` (10) are replayed, in another random order of annotators
for every seed. *Fixed*: the first n answers of every item, Dawid-Skene of them all. *Dynamic*: in rounds, one more
answer of every item that is not settled, by what the consensus job publishes (`streams.labelling.settling`); in the end
an estimation of the answers that were taken. The figure is the share of answers saved beside all of them, of settings
`SETTINGS` (least, sure) that were chosen on these two sets; the table and the plot `overlap.svg` (in `OUT`, by default
the folder for temporary files) show others too, and what as few answers without the rule give.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.consensus import FOLDER, crowd, events
from benchmarks.harness import measure
from streams.labelling.consensus import consensus
from tidemill.order import Batch

SEEDS = range(5)
SETTINGS = {"bluebirds": (15, 0.9999), "rte": (4, 0.99)}
OTHERS = {
    "bluebirds": [(5, 0.99), (10, 0.9999), (20, 0.9999)],
    "rte": [(3, 0.95), (3, 0.99), (5, 0.999)],
}
FIXED = {"bluebirds": [5, 10, 20, 30, 39], "rte": [3, 5, 7, 10]}
Queue = dict[str, list[tuple[str, str, str]]]


def queues(name: str, seed: int) -> Queue:
    """The recorded answers of each item, in the random order of this seed."""
    answers, _ = crowd(name)
    out: Queue = {}
    for i in np.random.default_rng(seed).permutation(len(answers)).tolist():
        out.setdefault(answers[i][0], []).append(answers[i])
    return out


def right(name: str, state: Any) -> float:
    """The share of items whose most probable class, as published last, is the truth."""
    found = {state.answers.items[i]: item.value for i, item in enumerate(state.items)}
    return float(np.mean([found.get(item) == value for item, value in crowd(name)[1].items()]))


def fixed(name: str, seed: int, n: int) -> tuple[float, int]:
    rows = [row for queue in queues(name, seed).values() for row in queue[:n]]
    job = consensus(project="crowd", every=1_000_000)
    return right(name, job.step(job.init(), events(name, rows)).state), len(rows)


def dynamic(name: str, seed: int, least: int, sure: float) -> tuple[float, int]:
    """Accuracy, and how many answers were taken."""
    queue, rng = queues(name, seed), np.random.default_rng(seed + 1_000)
    most = max(map(len, queue.values()))
    rules = {"overlap": [least, most], "sure": sure}
    job = consensus(project="crowd")
    state, used = job.step(job.init(), _only(events(name, [], asked=False, **rules), 0, 0)).state, 0
    taken, settled = dict.fromkeys(queue, 0), dict[str, Any]()
    while asked := [t for t in queue if settled.get(t) is None and taken[t] < len(queue[t])]:
        rng.shuffle(asked)
        rows = [queue[t][taken[t]] for t in asked]
        for t in asked:
            taken[t] += 1
        effects = job.step(state, _only(events(name, rows, asked=False), 1, used))
        state, used = effects.state, used + len(rows)
        for told in effects.emit:
            if told.output in ("settled", "revised"):
                settled.update(zip(told.columns["about"], told.columns["value"], strict=True))
    return right(name, job.step(state, _only(events(name, []), 1, used)).state), used


def _only(batch: Batch, first: int, after: int) -> Batch:
    """The events from number `first` on, as they come after so many answers."""
    part = batch.take(np.arange(first, len(batch)))
    for block in part.blocks.values():
        block.time[:] += after * 1_000_000
    part.time = next(iter(part.blocks.values())).time
    return part


def averaged(runs: list[tuple[float, int]]) -> tuple[float, float, float]:
    """Mean accuracy, its standard deviation over the seeds, and mean answers."""
    accuracy = [a for a, _ in runs]
    return float(np.mean(accuracy)), float(np.std(accuracy, ddof=1)), float(np.mean([n for _, n in runs]))


def curves(name: str) -> tuple[list[Any], list[Any]]:
    """Rows of fixed and of dynamic overlap: what it is, and its figures."""
    still = [(f"{n} answers", *averaged([fixed(name, seed, n) for seed in SEEDS])) for n in FIXED[name]]
    moving = [
        (f"≥ {least}, sure {sure}", *averaged([dynamic(name, seed, least, sure) for seed in SEEDS]))
        for least, sure in [SETTINGS[name], *OTHERS[name]]
    ]
    return still, moving


def plot(found: dict[str, tuple[list[Any], list[Any]]], path: Path) -> None:
    """Accuracy over answers, a panel for each crowd."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(found), figsize=(10, 4))
    for panel, (name, (still, moving)) in zip(panels, found.items(), strict=True):
        for label, rows, style in (("fixed", still, "o-"), ("until sure", moving, "s")):
            x, y, spread = ([row[i] for row in rows] for i in (3, 1, 2))
            panel.errorbar(x, y, yerr=spread, fmt=style, label=label, capsize=2)
        panel.set(title=name, xlabel="answers", ylabel=f"accuracy, mean of {len(SEEDS)} orders")
        panel.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def main() -> None:
    if not FOLDER.is_dir():
        print("overlap: left out, no data here: set TIDEMILL_DATA", file=sys.stderr)
        return
    found = {name: curves(name) for name in SETTINGS}
    for name, (still, moving) in found.items():
        all_ = still[-1]
        for kind, rows in (("fixed", still), ("until sure", moving)):
            for what, accuracy, spread, answers in rows:
                saved = 1 - answers / all_[3]
                line = f"{name:10} {kind:10} {what:22} {accuracy:.4f} ± {spread:.4f}"
                print(f"{line} {answers:8,.0f} answers, {saved:.0%} fewer", file=sys.stderr)
        what, accuracy, spread, answers = moving[0]
        few = np.interp(answers, [row[3] for row in still], [row[1] for row in still])
        workload = (
            f"{name}, {what}: accuracy {accuracy:.4f} ± {spread:.4f} beside {all_[1]:.4f} of all answers "
            f"and {few:.4f} of as many by a fixed overlap; {len(SEEDS)} orders"
        )
        value = 1 - answers / all_[3]
        measure(f"overlap_{name}", lambda v=value: v, unit="share of answers saved", workload=workload, aim=0.3)  # type: ignore[misc]
    path = Path(os.environ.get("OUT", tempfile.gettempdir())) / "overlap.svg"
    plot(found, path)
    print(f"plot: {path}", file=sys.stderr)


if __name__ == "__main__":
    main()

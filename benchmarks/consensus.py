"""Consensus on the answers of four crowds: how often it is right, and how fast answers become labels.

*Accuracy*: each method beside crowd-kit's of the same model and beside majority, on all answers. Ties of votes are
shared, for which class crowd-kit's `idxmax` takes depends on the order of pandas' columns; and crowd-kit's Dawid-Skene
is measured as it is and to its end (its stopping rule ends it after 2 passes on bluebirds). Equality is checked, and of
the job, fed in random order with repeats and asked to estimate, that it publishes what the batch method finds.

*Speed*: answers/s of the job's step, estimations and rows included, beside crowd-kit run again after every 100 answers
(its time on the first n answers, measured at five sizes, summed by interpolation).
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import compare
from benchmarks.peers.environment import environment
from streams.engines import collecting
from streams.labelling.consensus import consensus
from streams.labelling.dawid_skene import dawid_skene
from streams.labelling.voting import majority, weighted_majority
from tidemill.block import Block, column
from tidemill.order import Batch
from tidemill.stream import answer_stream

FOLDER = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "crowd"
CROWDS = ("bluebirds", "faces", "products", "rte")
PEERS = {
    "majority": ("MajorityVote",),
    "weighted": ("Wawa",),
    "one-coin": ("OneCoinDawidSkene",),
    "dawid-skene": ("DawidSkene to its end", "DawidSkene"),
}
SPEC = answer_stream("crowd")


@cache
def crowd(name: str) -> tuple[list[tuple[str, str, str]], dict[str, str]]:
    """Item, annotator and class of each answer, and the truth of items."""
    with (FOLDER / f"{name}.answers.csv").open() as file:
        answers = [(r["task"], r["worker"], r["answer"]) for r in csv.DictReader(file)]
    with (FOLDER / f"{name}.truth.csv").open() as file:
        return answers, {r["task"]: r["truth"] for r in csv.DictReader(file)}


def batch_posterior(name: str, method: str, smoothing: float = 0.0) -> tuple[list[str], list[str], Any]:
    """Items, classes, and the posterior (items × classes) of the batch method."""
    answers, _ = crowd(name)
    ids = [sorted({a[i] for a in answers}) for i in range(3)]
    numbers = [{one: i for i, one in enumerate(part)} for part in ids]
    coded = np.array(sorted(tuple(n[v] for n, v in zip(numbers, a, strict=True)) for a in answers), np.int64)
    sizes = dict(zip(("items", "annotators", "classes"), map(len, ids), strict=True))
    if method in ("majority", "weighted"):
        found = (majority if method == "majority" else weighted_majority)(*coded.T, **sizes)
    else:
        found = dawid_skene(*coded.T, **sizes, one_coin=method == "one-coin", smoothing=smoothing)
    return ids[0], ids[2], found.posterior


def shared_accuracy(name: str, items: list[str], classes: list[str], posterior: Any) -> float:
    best = np.isclose(posterior, posterior.max(1, keepdims=True), rtol=0, atol=1e-9)
    share = best / best.sum(1, keepdims=True)
    place, number = {i: n for n, i in enumerate(items)}, {c: n for n, c in enumerate(classes)}
    return float(np.mean([share[place[t], number[v]] for t, v in crowd(name)[1].items()]))


def events(name: str, rows: list[tuple[str, str, str]], asked: bool = True, **project: Any) -> Batch:
    """The answers, in this order, as the job reads them: a schema before, and an estimation asked for after."""
    classes = sorted({r[2] for r in crowd(name)[0]})
    schema = {"kind": "single", "medium": "image", "classes": [{"id": c, "name": c} for c in classes]}
    first = {"type": "project.changed.v1", "schema": schema, "overlap": [10_000, 10_000], "sure": 0.95} | project
    data: list[dict[str, Any]] = [first]
    data += [
        {"type": "answer.given.v1", "about": t, "by": w, "value": v, "schema": 1, "id": f"{t}/{w}/{i}"}
        for i, (t, w, v) in enumerate(rows)
    ]
    data += [{"type": "estimation.asked.v1"}] * asked
    n = len(data)
    columns: dict[str, Any] = {f.name: column([row.get(f.name) for row in data], np.object_) for f in SPEC.fields}
    columns["time"] = np.arange(n, dtype=np.int64) * 1_000_000
    columns["id"] = column([row.get("id", f"e{i}") for i, row in enumerate(data)], np.object_)
    for field in ("seconds", "cost", "sure"):
        columns[field] = column([row.get(field) for row in data], np.float64)
    sources, zeros = column([SPEC.source] * n, np.object_), np.zeros(n, np.int32)
    return Batch.of(
        [Block(SPEC.name, SPEC.topic, columns["time"], columns["id"], sources, zeros, np.arange(n), zeros, columns)]
    )


def estimates(effects: Any) -> dict[str, dict[str, float]]:
    """The newest posterior that was published of each item."""
    out: dict[str, dict[str, float]] = {}
    for rows in effects.emit:
        if rows.output == "estimated":
            out.update(zip(rows.columns["about"], rows.columns["posterior"], strict=True))
    return out


def streamed(name: str, method: str, seed: int, smoothing: float) -> dict[str, dict[str, float]]:
    answers, _ = crowd(name)
    rng = np.random.default_rng(seed)
    again = [answers[i] for i in rng.integers(0, len(answers), len(answers) // 10)]
    rows = [*answers, *again]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    job = consensus(project="crowd", method=method, smoothing=smoothing)
    return estimates(job.step(job.init(), events(name, rows)))


def check_streamed(name: str, method: str, smoothing: float) -> None:
    """What the job publishes last is what the batch method finds, to the digits that are published."""
    items, classes, posterior = batch_posterior(name, method, smoothing)
    for seed in (1, 2):
        found = streamed(name, method, seed, smoothing)
        table = np.array([[found[i][c] for c in classes] for i in items])
        if not np.allclose(table, posterior, atol=1e-6):
            raise AssertionError(f"{name}, {method}: the job's end is not the batch's")


def asked_peer(name: str, methods: list[str], counts: list[int]) -> dict[str, Any]:
    question = {"answers": f"{FOLDER}/{name}.answers.csv", "truth": f"{FOLDER}/{name}.truth.csv"}
    given = json.dumps(question | {"methods": methods, "counts": counts})
    script = str(Path(__file__).parent / "peers" / "crowd_labels.py")
    done = subprocess.run([environment("labels"), script], input=given, capture_output=True, text=True, check=True)
    out: dict[str, Any] = json.loads(done.stdout)
    return out


def accuracy() -> None:
    for name in CROWDS:
        told = asked_peer(name, [peer for peers in PEERS.values() for peer in peers], [])
        plain = shared_accuracy(name, *batch_posterior(name, "majority"))
        for method, peers in PEERS.items():
            ours = shared_accuracy(name, *batch_posterior(name, method))
            of_job = shared_accuracy(name, *batch_posterior(name, method, 1.0))
            check_streamed(name, method, 1.0)
            theirs = told[peers[0]]["shared"]
            words = ", ".join(f"{peer} {told[peer]['accuracy']:.4f} as it labels" for peer in peers)
            workload = f"{name}, {method}; majority {plain:.4f}, {words}, with the job's smoothing {of_job:.4f}"
            if abs(ours - theirs) > 0.005:
                raise AssertionError(f"{workload}: ours {ours:.4f}, theirs {theirs:.4f}")
            compare(
                f"consensus_accuracy_{name}",
                ours=lambda ours=ours: ours,
                theirs=lambda theirs=theirs: theirs,
                check=lambda: None,
                peer=f"crowd-kit 1.4.2 {peers[0]}",
                unit="accuracy",
                workload=workload,
                aim=1.0,
                runs=1,
                warmup=0,
            )


def speed() -> None:
    for name in CROWDS:
        answers, _ = crowd(name)
        sizes = [round(len(answers) * share) for share in (0.1, 0.25, 0.5, 0.75, 1.0)]
        seconds = asked_peer(name, ["DawidSkene"], sizes)["DawidSkene"]["seconds"]
        every = np.arange(100, len(answers) + 1, 100)
        theirs = len(answers) / float(np.interp(every, sizes, seconds).sum())
        order = np.random.default_rng(0).permutation(len(answers))
        given = events(name, [answers[i] for i in order.tolist()], asked=False, overlap=[3, 5])
        job = consensus(project="crowd")
        job.step(job.init(), given)

        def ours(job: Any = job, given: Any = given, n: int = len(answers)) -> float:
            with collecting.at_own_pace():  # as every engine runs a step; what a commit collects is counted
                began = time.perf_counter()
                job.step(job.init(), given)
                collecting.young()
                return n / (time.perf_counter() - began)

        compare(
            f"consensus_rate_{name}",
            ours=ours,
            theirs=lambda theirs=theirs: theirs,
            check=lambda: None,
            peer="crowd-kit 1.4.2 DawidSkene every 100 answers",
            unit="answers/s",
            workload=f"{name}, {len(answers):,} answers in random order, Dawid-Skene, one core; theirs interpolated",
            aim=100.0,
            runs=5,
        )


def main() -> None:
    if not FOLDER.is_dir():
        print("consensus: left out, no data here: set TIDEMILL_DATA", file=sys.stderr)
        return
    accuracy()
    speed()


if __name__ == "__main__":
    main()

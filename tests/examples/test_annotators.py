"""The annotators' graph holds every label as it came, and tells who is poor."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from graph.annotators import Annotators
from tests.examples.examples import example, file_of
from tidemill.block import Block, column
from tidemill.order import Batch
from tidemill.time import SECOND

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "crowd"


def test_the_job_is_short() -> None:
    assert len(file_of("annotators").read_text().split('"""')[2].splitlines()) <= 30


@pytest.mark.skipif(not DATA.is_dir(), reason="needs crowd in TIDEMILL_DATA")
def test_the_labels_are_its_edges_and_who_is_mostly_wrong_is_among_the_poorest() -> None:
    with (DATA / "rte.answers.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (DATA / "rte.truth.csv").open() as file:
        truth = {row["task"]: row["truth"] for row in csv.DictReader(file)}
    n = len(rows)
    columns = {
        "about": column([r["task"] for r in rows], np.object_),
        "by": column([r["worker"] for r in rows], np.object_),
    }
    columns["value"] = column([int(r["answer"]) for r in rows], np.object_)
    ids, zeros = column([f"l{i}" for i in range(n)], np.object_), np.zeros(n, np.int32)
    block = Block("labels.tasks", "labels.tasks", np.arange(n) * SECOND, ids, ids, zeros, np.arange(n), zeros, columns)
    job = example("annotators").job()
    state = job.step(job.init(), Batch.of([block])).state
    assert state.graph.count("gave") == n and len(state.graph.ids("task")) == len(truth)
    half, whole = (Annotators.of(state.graph, "gave", at * SECOND, classes=2) for at in (n // 2, n))
    names = np.array(state.graph.ids("annotator"))
    right = {w: [r["answer"] == truth[r["task"]] for r in rows if r["worker"] == w] for w in names}
    wrong = {w for w, marks in right.items() if len(marks) >= 20 and np.mean(marks) < 0.6}
    assert len(wrong) > 5
    assert wrong <= set(names[np.argsort(-whole.poorness())[: len(names) // 4]])
    assert half.features()[:, 0].sum() == n // 2

"""The elec2 job: at most 30 lines, learns what River learns, and is measured against repeating the last label."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidemill.block import Block, column
from tidemill.order import Batch
from tidemill.time import SECOND

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "examples" / "elec2" / "job.py"
DATA = Path(os.environ.get("TIDEMILL_DATA", ROOT.parent / "shared" / "data")) / "elec2" / "electricity.csv.gz"


def example() -> Any:
    spec = importlib.util.spec_from_file_location("elec2_example", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def market(names: list[str]) -> Block:
    with gzip.open(DATA, "rt") as lines:
        rows = list(csv.DictReader(lines))
    n = len(rows)
    columns = {name: np.array([float(r[name]) for r in rows]) for name in names}
    columns["class"] = column([r["class"] for r in rows], np.object_)
    ids = column([str(i) for i in range(n)], np.object_)
    sources = column(["/streams/elec2"] * n, np.object_)
    zeros = np.zeros(n, dtype=np.int32)
    return Block("elec2", "data.elec2", np.arange(n) * SECOND, ids, sources, zeros, np.arange(n), zeros, columns)


def test_the_job_is_short() -> None:
    assert len(FILE.read_text().splitlines()) <= 30


@pytest.mark.skipif(not DATA.exists(), reason="needs elec2 in TIDEMILL_DATA")
def test_it_learns_what_river_learns() -> None:
    from river import linear_model, optim, preprocessing

    module = example()
    block = market(module.FEATURES)
    job = module.job()
    state, scores = job.init(), []
    for piece in Batch.of([block]).cut(range(5_000, len(block), 5_000)):
        effects = job.step(state, piece)
        scores += [r.columns["score"] for r in effects.emit if r.output == "predictions"]
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.01))
    want = np.empty(len(block))
    for i, row in enumerate(block.rows()):
        y = row.pop("class") == "UP"
        want[i] = model.predict_proba_one(row)[True]
        model.learn_one(row, y)
    assert np.abs(np.concatenate(scores) - want).max() <= 1e-9
    report = state.board.overall.report()["overall"]
    assert report["roc_auc"] > 0.8 and report["no_change_accuracy"] > report["accuracy"]

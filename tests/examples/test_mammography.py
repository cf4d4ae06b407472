"""The detector finds the odd ones, far above chance, and in a handful of lines."""

import os

import numpy as np
import pytest

from tests.examples.examples import EXAMPLES, example, file_of
from tidemill.block import Block, column
from tidemill.order import Batch
from tidemill.time import SECOND

DATA = os.path.join(
    os.environ.get("TIDEMILL_DATA", EXAMPLES.parents[1] / "shared" / "data"), "mammography", "mammography.npz"
)


def test_the_job_is_short() -> None:
    assert len(file_of("mammography").read_text().splitlines()) <= 30


@pytest.mark.skipif(not os.path.exists(DATA), reason="needs mammography in TIDEMILL_DATA")
def test_it_finds_the_odd_ones() -> None:
    data = np.load(DATA)
    X, y, n = data["X"], data["y"], len(data["y"])
    module, zeros = example("mammography"), np.zeros(n, dtype=np.int32)
    columns = {name: X[:, j].astype(np.float64) for j, name in enumerate(module.FEATURES)}
    columns |= {"odd": y.astype(np.int64), "at": np.arange(n) * SECOND}
    ids, sources = (column(values, np.object_) for values in ([str(i) for i in range(n)], ["/streams/mammography"] * n))
    times = np.arange(n) * SECOND
    block = Block("mammography", "data.mammography", times, ids, sources, zeros, np.arange(n), zeros, columns)
    job = module.job()
    effects = job.step(job.init(), Batch.of([block]))
    assert sum(len(rows) for rows in effects.emit if rows.output == "predictions") == n
    report = effects.state.board.overall.report()
    assert report["count"] == n and report["overall"]["roc_auc"] > 0.85
    assert report["overall"]["recall_at_budget"] > 0.3  # of a guess: 0.05

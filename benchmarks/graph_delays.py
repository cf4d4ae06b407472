"""What neighbourhoods add where delays spread: the year's flights, each predicted before its label was known.

Three jobs over the same events in the same order: the tabular one (`examples/flights`), the network of
`examples/delays` without neighbourhoods (same features), and with them. Prints one line a figure: ROC AUC and log loss
over the whole year of each, and the gains, whichever way they fall. What was chosen by hand was chosen on the first 90
days. `TIDEMILL_BENCH_DAYS` takes so many days only.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import measure
from connectors import arrow
from connectors.datasets.flights import dataset
from tidemill.block import Block
from tidemill.cloudevents import ARROW
from tidemill.decode import Decoder
from tidemill.job import Job
from tidemill.log import Record
from tidemill.order import Batch
from tidemill.time import DAY

EXAMPLES = Path(__file__).parents[1] / "examples"
DAYS = int(os.environ.get("TIDEMILL_BENCH_DAYS", "365"))
STEP = 4_000


def flights() -> Batch:
    """Flights, weather and labels in the order of event time."""
    blocks: list[Block] = []
    for stream in dataset().streams:
        data = arrow.batch_bytes(stream.table.combine_chunks().to_batches()[0])
        record = Record(stream.spec.topic, 0, 0, None, data, (("content-type", ARROW.encode()),), 0)
        blocks += [b for b in Decoder(stream.spec, arrow.decode).decode([record]) if isinstance(b, Block)]
    batch = Batch.sort(blocks)
    return batch.take(np.flatnonzero(batch.time < batch.time[0] + DAYS * DAY))


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"{name}_example", EXAMPLES / name / "job.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def followed(job: Job[Any], batch: Batch) -> dict[str, float]:
    """The job's own figures at the end, and the seconds of CPU that it took."""
    job.warm()
    state, begun = job.init(), time.process_time()
    for at in range(0, len(batch), STEP):
        state = job.step(state, batch.take(np.arange(at, min(at + STEP, len(batch))))).state
    figures: dict[str, float] = state.board.figures()
    return figures | {"seconds": time.process_time() - begun}


def main() -> int:
    batch, delays = flights(), example("delays")
    jobs = [("tabular", example("flights").job()), ("alone", delays.alone()), ("graph", delays.job())]
    found = {}
    for name, job in jobs:
        found[name] = one = followed(job, batch)
        workload = f"{int(one['count']):,} labels, prequential; {one['seconds']:.0f} s of CPU for {len(batch):,} events"
        measure(f"graph_delays_{name}_auc", lambda f=one: f["roc_auc"], unit="ROC AUC", workload=workload)
        measure(
            f"graph_delays_{name}_loss", lambda f=one: f["log_loss"], unit="log loss", workload=workload, better="lower"
        )
    for against, words in (("tabular", "the tabular model"), ("alone", "the same network without neighbourhoods")):
        gain = found["graph"]["roc_auc"] - found[against]["roc_auc"]
        workload = f"ROC AUC with neighbourhoods less that of {words}, same events"
        measure(f"graph_delays_gain_over_{against}", lambda g=gain: g, unit="ROC AUC", workload=workload)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Every flight comes once: with its arrival, or alone two days later."""

import numpy as np

from tests.examples.examples import example, january
from tidemill.time import DAY


def test_every_flight_comes_once() -> None:
    module, batch = example("arrivals"), january("flights", "labels.flights")
    job = module.job()
    flights, labels = batch.blocks["flights"], batch.blocks["labels.flights"]
    effects = job.step(job.init(), batch.take(np.arange(len(batch)), int(batch.time[-1]) + 3 * DAY))
    rows = [
        dict(zip(r.columns, row, strict=True)) for r in effects.emit for row in zip(*r.columns.values(), strict=True)
    ]
    assert sorted(row["left"] for row in rows) == sorted(flights.ids.tolist())
    late = dict(zip(labels.columns["about"].tolist(), labels.columns["value"].tolist(), strict=True))
    assert {row["left"]: row["late"] for row in rows if row["right"]} == late
    assert sum(row["right"] is None for row in rows) == len(flights) - len(labels) > 100
    assert all(len(row["carrier"]) == 2 for row in rows)

"""Rotations are the runs of a plane's flights without a gap of ten hours, counted by hand."""

import numpy as np

from tests.examples.examples import example, file_of, january
from tidemill.time import HOUR, MAX_TIME


def test_the_job_is_short() -> None:
    assert len(file_of("aircraft").read_text().splitlines()) <= 30


def test_rotations_are_the_runs_without_a_gap() -> None:
    batch, job = january("flights"), example("aircraft").job()
    flights = batch.blocks["flights"]
    (rows,) = job.step(job.init(), batch.take(np.arange(len(batch)), MAX_TIME)).emit
    want: dict[str, list[list[float]]] = {}
    tails, miles = flights.columns["tailnum"].tolist(), flights.columns["distance"].tolist()
    for tail, time, distance in zip(tails, flights.time.tolist(), miles, strict=True):
        if tail is None:
            continue
        runs = want.setdefault(tail, [])
        if not runs or time - runs[-1][1] >= 10 * HOUR:
            runs.append([time, time, 0, 0])
        runs[-1][1:] = [time, runs[-1][2] + 1, runs[-1][3] + distance]
    figures = zip(*(rows.columns[name] for name in ("key", "start", "end", "flights", "miles")), strict=True)
    got = {(key, start, end, n, m) for key, start, end, n, m in figures}
    assert got == {(tail, s, t + 10 * HOUR, n, m) for tail, runs in want.items() for s, t, n, m in runs}
    assert len(got) == len(rows.ids) > 1_000

"""The small sets that come inside River: nothing is downloaded.

Event time is the set's own where it has one (`airline_passengers`: the month; `water_flow`: the hour with its offset;
`trump_approval`: the day; `chick_weights`: days of age, from 2020-01-01); elsewhere it is synthetic, one second per row
in the order of the file. Times of day that the source leaves out are midnight UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from connectors.datasets.dataset import SYNTHETIC_START, Dataset, tabular

SETS = {
    "airline_passengers": "AirlinePassengers",
    "bananas": "Bananas",
    "chick_weights": "ChickWeights",
    "image_segments": "ImageSegments",
    "phishing": "Phishing",
    "shuttle": "Shuttle",
    "solar_flare": "SolarFlare",
    "sp500": "SP500Stocks",
    "trump_approval": "TrumpApproval",
    "water_flow": "WaterFlow",
    "yeast": "Yeast",
}
"""Our names of River's classes."""

DAY = 86_400_000_000


def load(name: str) -> Dataset:
    """The set called `name` (a key of `SETS`), with the target under the name `target` where the source has but one."""
    from river import datasets  # 1 s, and only these sets need it

    source = getattr(datasets, SETS[name])()
    xs: list[dict[str, Any]] = []
    ys: list[Any] = []
    for x, y in source:
        xs.append(dict(x))
        ys.append(y)
    outputs = {k: [y[k] for y in ys] for k in ys[0]} if isinstance(ys[0], dict) else {"target": ys}
    time = own_time(name, xs)
    features = {k: [x[k] for x in xs] for k in xs[0]}
    columns = {k: pa.array(v) for k, v in (features | outputs).items()}
    about = " ".join((source.__doc__ or "").strip().split("\n\n")[0].split())
    return tabular(name, f"{about} ({source.task}, {len(xs):,} rows)", columns, tuple(outputs), time)


def own_time(name: str, rows: list[dict[str, Any]]) -> NDArray[np.int64] | None:
    """Event times of a set that has them; the field that only served as the time is taken out of the rows."""
    if name == "airline_passengers":
        return _micros(row.pop("month") for row in rows)
    if name == "water_flow":
        return _micros(row.pop("Time") for row in rows)
    if name == "trump_approval":
        return _micros(datetime.fromordinal(row["ordinal_date"]) for row in rows)
    if name == "chick_weights":
        return SYNTHETIC_START + DAY * np.array([row["time"] for row in rows], dtype=np.int64)
    return None


def _micros(times: Iterable[datetime]) -> NDArray[np.int64]:
    aware = [t if t.tzinfo else t.replace(tzinfo=UTC) for t in times]
    return np.array([round(t.timestamp()) * 1_000_000 for t in aware], dtype=np.int64)

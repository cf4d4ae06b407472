"""Carriers: a model of late flights for each carrier, learned from the arrivals that `examples/arrivals` joins.

    tidemill stream create arrivals --from-topic data.arrivals --time time --id id --key carrier --label late
    tidemill submit examples/carriers/job.py

The carriers fall into 16 groups, which an engine may spread over machines: the models are the same.
"""

from streams.classifier import online_classifier
from tidemill.stream import Field, StreamSpec

FEATURES = ["hour", "weekday", "distance", "sched_minutes"]


def job():
    return online_classifier(
        name="carriers", stream="arrivals", features=FEATURES, label="late", per="carrier", groups=16
    )


def streams():
    numbers = tuple(Field(name, "int") for name in FEATURES)
    fields = (Field("id", "string"), Field("time", "time"), Field("carrier", "string"), *numbers)
    late = Field("late", "bool", nullable=True)
    return {"arrivals": StreamSpec(name="arrivals", fields=(*fields, late), time="time", id="id", key="carrier")}

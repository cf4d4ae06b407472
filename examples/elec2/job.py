"""Electricity prices of New South Wales, half-hourly: will the price go up? The label stands in the event itself.

tidemill stream create elec2 --infer elec2.csv --time time --label class
tidemill submit examples/elec2/job.py
"""

from streams.classifier import online_classifier
from tidemill.stream import Field, StreamSpec

FEATURES = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]


def job():
    return online_classifier(name="elec", stream="elec2", features=FEATURES, label="class", positive="UP")


def streams():
    numbers = tuple(Field(name, "float") for name in FEATURES)
    spec = StreamSpec(name="elec2", fields=(Field("time", "time"), *numbers, Field("class", "string")), time="time")
    return {"elec2": spec}

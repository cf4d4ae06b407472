"""Arrivals: each flight joined with what became of it, within two days; those that never arrived come alone.

tidemill publish --dataset flights
tidemill submit examples/arrivals/job.py
tidemill tail data.arrivals
"""

from streams.interval_join import interval_join

TWO_DAYS = 2 * 86_400.0
SCHEDULE = ("carrier", "tailnum", "origin", "dest", "hour", "weekday", "distance", "sched_minutes")


def job():
    return interval_join(
        name="arrivals",
        left="flights",
        right="labels.flights",
        left_key="id",
        right_key="about",
        before=0.0,
        after=TWO_DAYS,
        left_fields=SCHEDULE,
        right_fields={"value": "late"},
        keep="left",
    )


def streams():
    from connectors.datasets.flights import dataset

    return {s.spec.name: s.spec for s in dataset().streams if s.spec.name != "weather"}

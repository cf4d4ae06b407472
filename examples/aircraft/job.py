"""Aircraft: the rotations of each plane. A session ends where a plane leaves New York no more for ten hours.

tidemill publish --dataset flights
tidemill submit examples/aircraft/job.py
tidemill tail data.rotations
"""

from streams.windows import Aggregate, Session, windows


def job():
    return windows(
        name="rotations",
        stream="flights",
        key="tailnum",
        window=Session(gap=10 * 3_600.0),
        aggregates={
            "flights": Aggregate("count"),
            "miles": Aggregate("sum", "distance"),
            "longest": Aggregate("max", "sched_minutes"),
        },
        groups=8,
    )


def streams():
    from connectors.datasets.flights import dataset

    return {s.spec.name: s.spec for s in dataset().streams if s.spec.name == "flights"}

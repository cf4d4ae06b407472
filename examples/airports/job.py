"""Airports, aircraft and flights as a graph that grows as they are scheduled: which plane was where, which routes are
flown, and of each flight where it goes, with what, how far and for how long.

tidemill publish --dataset flights
tidemill graph stats examples/airports/job.py
tidemill graph neighbours examples/airports/job.py N725MQ --at 2013-06-01T00:00:00Z
tidemill graph neighbours examples/airports/job.py 2013-01-01-UA-1545-EWR-0515
tidemill graph show examples/airports/job.py JFK --at 2013-06-01T00:00:00Z --page jfk.html

Which planes left an airport last, asked of the live graph:

tidemill submit examples/airports/job.py
tidemill serve &
curl -s http://127.0.0.1:8080/score/airports-neighbours -d '{"origin": "JFK", "time": "2013-06-01T00:00:00Z"}'
"""

from graph.job import graph_job
from graph.mapping import EdgeFrom, GraphSpec, NodeFrom
from graph.relation import NodeType, Relation


def job():
    return graph_job(
        name="airports",
        spec=GraphSpec(
            nodes=["airport", "aircraft", NodeType("flight", ("distance", "sched_minutes"))],
            relations=[
                Relation("route", "airport", "airport", ("distance",)),
                Relation("left", "aircraft", "airport"),
                Relation("from", "flight", "airport"),
                Relation("to", "flight", "airport"),
                Relation("by", "flight", "aircraft"),
            ],
            rules=[
                EdgeFrom("route", "flights", source="origin", target="dest"),
                EdgeFrom("left", "flights", source="tailnum", target="origin", optional=True),
                NodeFrom("flight", "flights", id="id"),
                EdgeFrom("from", "flights", source="id", target="origin"),
                EdgeFrom("to", "flights", source="id", target="dest"),
                EdgeFrom("by", "flights", source="id", target="tailnum", optional=True),
            ],
        ),
        relation="left",
        direction="in",
    )


def streams():
    from connectors.datasets.flights import dataset

    return {s.spec.name: s.spec for s in dataset().streams if s.spec.name == "flights"}

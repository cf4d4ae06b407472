"""Airports and aircraft as a graph that grows with the flights: which plane was where, and which routes are flown.

tidemill publish --dataset flights
tidemill graph stats examples/airports/job.py
tidemill graph neighbours examples/airports/job.py N725MQ --at 2013-06-01T00:00:00Z
tidemill graph show examples/airports/job.py JFK --at 2013-06-01T00:00:00Z --page jfk.html

Which planes left an airport last, asked of the live graph:

tidemill submit examples/airports/job.py
tidemill serve &
curl -s http://127.0.0.1:8080/score/airports-neighbours -d '{"origin": "JFK", "time": "2013-06-01T00:00:00Z"}'
"""

from graph.job import graph_job
from graph.mapping import EdgeFrom, GraphSpec
from graph.relation import Relation


def job():
    return graph_job(
        name="airports",
        spec=GraphSpec(
            nodes=["airport", "aircraft"],
            relations=[Relation("route", "airport", "airport", ("distance",)), Relation("left", "aircraft", "airport")],
            rules=[
                EdgeFrom("route", "flights", source="origin", target="dest"),
                EdgeFrom("left", "flights", source="tailnum", target="origin", optional=True),
            ],
        ),
        relation="left",
        direction="in",
    )


def streams():
    from connectors.datasets.flights import dataset

    return {s.spec.name: s.spec for s in dataset().streams if s.spec.name == "flights"}

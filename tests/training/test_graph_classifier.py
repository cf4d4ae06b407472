"""A job that classifies events on its live graph: the laws, what it sees and when, and who is refused."""

import pytest

from graph.mapping import EdgeFrom, GraphSpec, NodeFrom
from graph.relation import NodeType, Relation
from streams.stats import Running, rate
from tidemill.checks.jobs import CHECKS, Subject
from tidemill.stream import Field, StreamSpec, label_stream
from training.graph_classifier import Outcome, graph_classifier

TRIPS = StreamSpec(
    name="trips",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        Field("who", "string", nullable=True),
        Field("origin", "int"),
        Field("dest", "int"),
        Field("km", "float", nullable=True),
        Field("late", "int", nullable=True),
    ),
    id="id",
    time="at",
    key="who",
)
WEATHER = StreamSpec(
    name="weather", fields=(Field("at", "time"), Field("place", "int"), Field("rain", "float")), time="at"
)
STREAMS = {"trips": TRIPS, "weather": WEATHER, "labels.trips": label_stream("trips")}
NODES = [NodeType("place", ("rain",)), "person"]
RELATIONS = [
    Relation("road", "place", "place", ("km",)),
    Relation("leaves", "person", "place"),
    Relation("came", "place", "place", ("late",)),
    Relation("brought", "person", "place", ("late",)),
]
RULES = [
    EdgeFrom("leaves", "trips", "who", "origin", optional=True),
    EdgeFrom("road", "trips", "origin", "dest"),
    NodeFrom("place", "weather", "place"),
]


def make(**changes):
    settings = {
        "name": "late",
        "spec": GraphSpec(nodes=NODES, relations=RELATIONS, rules=RULES),
        "stream": "trips",
        "seeds": {"origin": "place", "dest": "place", "who": "person"},
        "features": ["km"],
        "outcomes": [Outcome("came", "origin", "dest"), Outcome("brought", "who", "dest")],
        "positive": 1,
        "k": 3,
        "batch": 7,
        "replay": 5,
        "kept": 40,
        "timeout": 60.0,
        "corrections": 20.0,
        "max_waiting": 50,
        "metrics_every": 30,
        "version_every": 50,
        "scales": (60.0, 3600.0),
    }
    return graph_classifier(**settings | changes)


def rates(event, known):
    return [float(event["origin"]), rate(known.get("place", str(event["dest"])), 0.3, 5.0)]


VARIANTS = {
    "labels": {},
    "two hops": {"hops": 2, "k": 2},
    "a field": {"label": "late", "outcomes": [Outcome("came", "origin", "dest")]},
    "tables": {
        "features": rates,
        "feature_names": ["origin", "late_dest"],
        "tables": [Running("place", ("dest",))],
        "along": [("who", "brought", "out"), ("dest", "came", "in")],
    },
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_job_and_its_copy_keep_the_laws(variant, check):
    job = make(**VARIANTS[variant])
    for one in (job, job.endpoint.replica):
        check(one, Subject("late", one, STREAMS).batch(rows=100))

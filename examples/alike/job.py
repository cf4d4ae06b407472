"""Which traders are alike: embeddings of the graph of ratings, kept fresh with each, and asked for the nearest.

The stream is that of examples/trust.

    tidemill submit examples/alike/job.py
    curl -s http://127.0.0.1:8080/score/alike-near -d '{"rater": 6}'
"""

from graph.mapping import EdgeFrom, GraphSpec
from graph.near_job import near_job
from graph.relation import Relation
from tidemill.stream import Field, StreamSpec


def job():
    return near_job(
        name="alike",
        spec=GraphSpec(
            nodes=["trader"],
            relations=[Relation("trusts", "trader", "trader", features=("rating",))],
            rules=[EdgeFrom("trusts", "ratings", source="rater", target="rated")],
        ),
        relation="trusts",
    )


def streams():
    fields = (Field("rater", "int"), Field("rated", "int"), Field("rating", "int"), Field("at", "time"))
    return {"ratings": StreamSpec(name="ratings", fields=fields, key="rater", time="at", time_unit="s")}

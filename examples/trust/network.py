"""Who will trust whom, by a network of links: the job of `job.py`, with a temporal graph network in place of its model.

It learns each rating as it comes, by one edge at a time, and answers from the live graph; torch must be where it runs
(`make torch`), and where it is served. Declare and publish `ratings` as `job.py` says; then

    tidemill submit examples/trust/network.py
    tidemill serve &
    curl -s 'http://127.0.0.1:8080/score/next-trust?explain=true' -d '{"rater": 6, "rated": 35}'
"""

from graph.mapping import EdgeFrom, GraphSpec
from graph.nn.network_job import network_job
from graph.relation import Relation


def job():
    return network_job(
        name="trust-network",
        endpoint="next-trust",
        spec=GraphSpec(
            nodes=["trader"],
            relations=[Relation("trusts", "trader", "trader")],
            rules=[EdgeFrom("trusts", "ratings", source="rater", target="rated")],
        ),
        relation="trusts",
        network="tgn",
        version_every=5_000,
    )

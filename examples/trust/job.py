"""Who will trust whom: learned from each rating as it comes, and asked of the live graph.

The data (SNAP's soc-sign-bitcoin-otc: rater, rated, rating from -10 to 10, seconds) is in the order of time.

    (echo rater,rated,rating,at; zcat soc-sign-bitcoinotc.csv.gz | grep -v '[A-Z]') > ratings.csv
    tidemill stream create ratings --infer ratings.csv --time at --time-unit s --key rater
    tidemill submit examples/trust/job.py
    tidemill publish ratings ratings.csv
    tidemill serve &
    curl -s 'http://127.0.0.1:8080/score/ratings?explain=true' -d '{"rater": 6, "rated": 35}'
"""

from graph.link_job import link_job
from graph.mapping import EdgeFrom, GraphSpec
from graph.relation import Relation
from tidemill.stream import Field, StreamSpec


def job():
    return link_job(
        name="trust",
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

"""The airports' graph has what every flight says: where it goes, with what, and what it is like, from its time on."""

import numpy as np
import pytest

from tests.examples.examples import example, january
from tidemill_app import graph_page
from tidemill_app.graphs import around, find, stats


@pytest.fixture(scope="module")
def grown():
    batch, job = january("flights"), example("airports").job()
    first, second = batch.take(np.arange(3_000)), batch.take(np.arange(3_000, 6_000))
    done = job.step(job.init(), first)
    assert not done.dead
    return job.step(done.state, second).state.graph, list(batch.blocks["flights"].rows())[:6_000]


def test_every_flight_is_a_node_of_its_own(grown):
    graph, rows = grown
    assert graph.ids("flight") == [row["id"] for row in rows]
    ends = {"airport": {row["origin"] for row in rows} | {row["dest"] for row in rows}}
    ends["aircraft"] = {row["tailnum"] for row in rows} - {None}
    assert {kind: set(graph.ids(kind)) for kind in ends} == ends
    known = [row for row in rows if row["tailnum"] is not None]
    counts = {name: graph.count(name) for name in graph.relations}
    assert counts == {name: len(rows) for name in ("route", "from", "to")} | {"left": len(known), "by": len(known)}
    assert len(known) < len(rows)
    for name, field, told in (("from", "origin", rows), ("to", "dest", rows), ("by", "tailnum", known)):
        flights, others, times, _ = graph.edges(name, np.arange(counts[name]))
        assert graph.ids("flight", flights) == [row["id"] for row in told]
        assert graph.ids(graph.relations[name].target, others) == [row[field] for row in told]
        assert times.tolist() == [row["time"] for row in told]


def test_a_flight_is_looked_at_from_its_time_on(grown):
    graph, rows = grown
    row = next(row for row in rows[4_000:] if row["tailnum"])
    about = around(graph, *find(graph, row["id"]), row["time"] + 1, 5, 1)
    assert about.features == {"distance": row["distance"], "sched_minutes": row["sched_minutes"]}
    ends = [(e.relation, e.node) for e in about.edges]
    assert ends == [
        ("from", f"airport {row['origin']}"),
        ("to", f"airport {row['dest']}"),
        ("by", f"aircraft {row['tailnum']}"),
    ]
    plane = around(graph, *find(graph, row["tailnum"]), row["time"] + 1, 5, 1)
    (newest,) = (e for e in plane.edges if e.node == f"flight {row['id']}")
    assert (newest.relation, newest.direction, newest.node_features) == ("by", "in", about.features)
    assert f"distance {row['distance']}" in graph_page.neighbourhood(plane)
    before = around(graph, *find(graph, row["id"]), row["time"], 5, 1)
    assert before.features == {} and before.edges == []
    seen = stats(graph, "airports", row["time"])
    assert seen.nodes["flight"] == seen.living["from"] == sum(r["time"] < row["time"] for r in rows)

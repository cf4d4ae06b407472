"""The page of the demo on live graphs: what it says is what was measured."""

import numpy as np

from graph.relation import Relation
from graph.store import TemporalGraph
from tidemill.events import MetricsMeasured
from tidemill_app.answers import Verified
from tidemill_app.demo_graph import GraphFindings, Scoring
from tidemill_app.demo_graph_page import compared, facts, page


def measured(values):
    return [
        MetricsMeasured(id=str(n), time=n, source="/t", model="m", version="", count=n, values=one)
        for n, one in values.items()
    ]


def near(of, influence, direction="in"):
    one = {
        "of": of,
        "relation": "arrived",
        "direction": direction,
        "node": "LGA<",
        "time": 5,
        "features": {"late": 1.0},
    }
    return one | {"influence": influence}


BEST = {
    "id": "f1",
    "score": 0.5,
    "asked": {"origin": "JFK", "dest": "BOS"},
    "rests_on": {
        "neighbours": [near("origin", 0.25), near("dest", -0.125)],
        "features": [{"feature": "wind", "value": 3.0, "influence": 0.0625}],
    },
}


def found(**changes):
    settings = {
        "measured": {
            "delays": measured({1_000: {"roc_auc": 0.7}, 2_000: {"roc_auc": 0.75}}),
            "flights": measured({2_000: {"roc_auc": 0.76}, 3_000: {"roc_auc": 0.9}}),
            "trust": measured({1_000: {"mrr": 0.5, "mrr_mix": 0.4}}),
        },
        "scoring": {"delays": Scoring(latency=[1.0, 9.0], failed=1, best=BEST), "trust": Scoring()},
        "verified": {"delays": Verified("delays", 10, 9, 0.5, ["x"], {"gone": 2})},
        "links": [("EdgeBank", 0.1, 0.2), ("learned", 0.7, 0.5)],
        "seconds": 12.0,
        "url": "http://127.0.0.1:1",
        "home": "/somewhere",
    }
    return GraphFindings(**settings | changes)


def test_models_are_compared_after_as_many_labels():
    assert compared(found()) == (0.75, 0.76, 2_000)
    told = facts(found())
    assert told["gain"] == "-0.0100" and told["delays: the same again"] == "9 of 10"
    assert told["delays: scored over HTTP, explained"] == "2: p50 1.0 ms, p99 9.0 ms, 1 failed"
    assert facts(found(measured={}))["gain"] == "+nan"


def test_the_page_holds_every_part():
    graph = TemporalGraph(["node"], [Relation("met", "node", "node")])
    graph.add("met", np.arange(5), np.arange(5) + 1, np.arange(5) * 1_000_000)
    text = page(found(), {"delays": graph})
    assert text.count("<svg") == 4 and "<script" not in text
    for part in ("9 of 10", "2 (gone)", "+0.2500", "-0.1250", "EdgeBank", "0.700", "LGA&lt;", "wind", "graph verify"):
        assert part in text, part
    assert "LGA<" not in text.replace("LGA&lt;", "")
    bare = page(found(links=[], scoring={"delays": Scoring()}, measured={}), {})
    assert "Who will trust whom" not in bare and "Why this flight" not in bare

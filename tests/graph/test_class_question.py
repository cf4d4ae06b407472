"""What a live graph says of an event's class, and of what that rests on."""

from types import SimpleNamespace

import numpy as np
import pytest

from graph.class_question import ClassQuestion
from graph.neighbourhood import Neighbourhood, types_of
from graph.question import question
from graph.relation import Relation
from graph.store import TemporalGraph
from tidemill.errors import IncompatibleError, RequestError

KIND = "graph.class_question:ClassQuestion"


def grown():
    graph = TemporalGraph(
        ["place", "person"], [Relation("road", "place", "place", ("km",)), Relation("was", "person", "place")]
    )
    graph.add("road", ["a", "b", "a", "c"], ["b", "c", "c", "a"], [10, 20, 30, 40], [[1.0], [2.0], [3.0], [4.0]])
    graph.add("was", [7, 8, 7], ["a", "b", "c"], [15, 25, 35])
    return SimpleNamespace(graph=graph)


def asked(state, seed=0):
    around = Neighbourhood(types_of(state.graph), [("from", "place"), ("who", "person")], k=3).params()
    made = question(KIND, {"features": ["x", "y"], "around": around})
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=len(made.state()["weights"])).astype(np.float32) * 0.4
    ones = np.ones(len(made.state()["mean"]))
    made.load_state({"weights": weights, "mean": ones * 0.1, "deviation": ones})
    return made


def columns(places, people, features, time):
    made = {"from": np.array(places, object), "who": np.array(people, object)}
    return made | {"features": np.array(features, float), "time": np.array(time)}


TWO = columns(["a", b"c"], ["7", "nobody"], [[1.0, 2.0], [0.5, -1.0]], [100, 32])


def test_answers_are_those_of_each_row_alone():
    state = grown()
    made = asked(state)
    both = made.ask(state, TWO)
    for i in range(2):
        one = {name: column[i : i + 1] for name, column in TWO.items()}
        assert made.ask(state, one)["score"].tobytes() == both["score"][i : i + 1].tobytes()
    assert both["label"].tolist() == (both["score"] > 0.5).astype(int).tolist()
    assert [spec.name for spec in made.inputs] == ["from", "who", "features", "time"]


def test_only_what_was_before_counts():
    state = grown()
    made = asked(state)
    one = columns(["a"], [7], [[1.0, 2.0]], [30])
    before = made.ask(state, one)["score"], made.evidence(state, one)
    state.graph.add("road", ["a"], ["b"], [30], [[9.0]])
    assert (made.ask(state, one)["score"], made.evidence(state, one)) == before
    state.graph.add("road", ["a"], ["b"], [29], [[9.0]])
    assert made.ask(state, one)["score"] != before[0] and made.evidence(state, one) != before[1]


def test_an_empty_id_is_no_node():
    state = grown()
    state.graph.make("place", [""])
    made = asked(state)
    none, nobody = (columns([id], [7], [[0.0, 0.0]], [100]) for id in ("", "nobody"))
    assert made.ask(state, none)["score"] == made.ask(state, nobody)["score"]


def test_the_influence_of_a_neighbour_is_what_its_absence_changes():
    state = grown()
    made = asked(state)
    one = columns(["a"], [7], [[1.0, 2.0]], [100])
    score = made.ask(state, one)["score"][0]
    told = made.explain(state, one)
    sizes = [abs(near["influence"]) for near in told["neighbours"]]
    assert sizes == sorted(sizes, reverse=True) and len(told["neighbours"]) == 6
    road = next(n for n in told["neighbours"] if n["relation"] == "road" and n["time"] == 30)
    assert (road["node"], road["features"], road["of"], road["direction"]) == ("c", {"km": 3.0}, "from", "out")
    other = TemporalGraph(
        ["place", "person"], [Relation("road", "place", "place", ("km",)), Relation("was", "person", "place")]
    )
    other.add("road", ["a", "b", "c"], ["b", "c", "a"], [10, 20, 40], [[1.0], [2.0], [4.0]])
    other.add("was", [7, 8, 7], ["a", "b", "c"], [15, 25, 35])
    own, around = made.model.look(state.graph, np.array([[1.0, 2.0]]), np.array([[0, 0]]), np.array([100]))
    # Of the graph without the edge, but for the count, which is a feature of its own.
    _, fewer = made.model.look(other, np.array([[1.0, 2.0]]), np.array([[0, 0]]), np.array([100]))
    masked = 1 / (1 + np.exp(-float(made.model.logits(own, fewer)[0])))
    assert score - masked == pytest.approx(road["influence"], abs=1e-6) and around.counts.sum() == 6


def test_features_are_compared_with_their_usual_values():
    state = grown()
    made = asked(state)
    told = made.explain(state, columns(["a"], [7], [[0.1, 2.0]], [100]))["features"]
    assert "x" not in [one["feature"] for one in told]  # it is as usual
    y = next(one for one in told if one["feature"] == "y")
    usual = made.ask(state, columns(["a"], [7], [[0.1, 0.1]], [100]))["score"][0]
    assert y["value"] == 2.0
    assert made.ask(state, columns(["a"], [7], [[0.1, 2.0]], [100]))["score"][0] - usual == pytest.approx(
        y["influence"]
    )


def test_what_does_not_fit_is_refused():
    state = grown()
    with pytest.raises(RequestError, match="not finite"):
        asked(state).ask(state, columns(["a"], [7], [[np.nan, 2.0]], [100]))
    with pytest.raises(IncompatibleError):
        question(KIND, {"features": ["x"]})
    with pytest.raises(IncompatibleError):
        asked(state).load_state({"weights": np.zeros(3)})
    assert isinstance(asked(state), ClassQuestion)

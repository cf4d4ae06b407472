"""What training and serving share: numbers that are standardised, and scores row by row."""

import numpy as np
import pytest

from graph.class_model import CHUNK, MOST, ClassModel, probability
from graph.neighbourhood import Neighbourhood, types_of
from graph.relation import Relation
from graph.store import TemporalGraph
from tidemill.errors import IncompatibleError


def grown():
    graph = TemporalGraph(["node"], [Relation("met", "node", "node")])
    rng = np.random.default_rng(0)
    graph.add("met", rng.integers(0, 30, 900), rng.integers(0, 30, 900), np.arange(900) * 1_000_000)
    return graph


def model(graph, **changes):
    around = Neighbourhood(types_of(graph), [("a", "node"), ("b", "node")], k=3).params()
    made = ClassModel(["x", "y"], around)
    rng = np.random.default_rng(1)
    state = made.state() | {"weights": rng.normal(size=len(made.weights)).astype(np.float32) * 0.3}
    made.load_state(state | {"mean": rng.normal(size=len(made.names)), "deviation": np.ones(len(made.names))})
    return made


def rows(n=2 * CHUNK + 7):
    rng = np.random.default_rng(2)
    return rng.normal(size=(n, 2)), rng.integers(-1, 30, (n, 2)), rng.integers(0, 900, n) * 1_000_000


def test_scores_are_the_same_alone_and_together():
    graph = grown()
    made, (features, seeds, before) = model(graph), rows()
    every = made.scores(graph, features, seeds, before)
    assert len(set(every.tolist())) > 100
    for i in range(0, len(every), 97):
        part = slice(i, i + 1)
        assert made.scores(graph, features[part], seeds[part], before[part]).tobytes() == every[part].tobytes()


def test_numbers_are_standardised_and_cut():
    made = model(grown())
    made.mean[:], made.deviation[:] = 2.0, 4.0
    made.deviation[1] = 0.0
    own = np.full((1, len(made.names)), 6.0)
    own[0, 2] = 1e6
    z = made.standard(own)[0]
    assert z[0] == 1.0 and z[1] == 0.0 and z[2] == MOST and z.dtype == np.float32


def test_names_say_what_there_is():
    made = model(grown())
    assert made.names[:4] == ("x", "y", "a known", "b known")
    assert made.names[4:] == ("edges a met out", "edges a met in", "edges b met out", "edges b met in")


def test_a_state_goes_over_to_another_of_the_same_settings():
    graph = grown()
    made, (features, seeds, before) = model(graph), rows(50)
    again = ClassModel(**made.params())
    again.load_state(made.state())
    args = graph, features, seeds, before
    assert again.scores(*args).tobytes() == made.scores(*args).tobytes()
    with pytest.raises(IncompatibleError, match="not a state of this model"):
        again.load_state({**made.state(), "mean": np.zeros(3)})


def test_probabilities_stay_between():
    assert probability(np.array([-1e9, 0.0, 1e9], np.float32)).tolist() == pytest.approx([0, 0.5, 1], abs=1e-12)

"""A model that is asked of a live graph: tensors and single rows of one state, which every answer names."""

from contextlib import contextmanager

import numpy as np
import pytest

from graph.link_job import LinkState
from graph.link_model import LinkModel
from graph.link_question import LinkQuestion
from graph.relation import Relation
from graph.store import TemporalGraph
from serving.asked import MOMENT, POSITION, ServedQuestion, answered, columns_of
from serving.plane import Loaded
from serving.tensor_rows import predictions
from streams.learners.delta import delta_since
from tidemill import events
from tidemill.errors import IncompatibleError, RequestError, UnavailableError
from tidemill.job import ModelContent
from tidemill.servable import Tensor, TensorSpec

KIND = "graph.link_question:LinkQuestion"
NOW = 9_000_000_000


class At:
    """A clock that stands."""

    def now(self):
        return NOW


class Copied:
    """A copy of the state, as a server has one."""

    def __init__(self, state, position):
        self.stale = 0.0
        self.state, self.position, self.ready, self.problem, self.name = state, position, True, "", "trust"
        self.asked = 0

    @contextmanager
    def held(self):
        if not self.ready:
            raise UnavailableError("the state is not here yet", where="copy of job trust", got=self.problem)
        self.asked += 1
        yield self.state, self.position


def grown(n=200):
    graph = TemporalGraph(["trader"], [Relation("trusts", "trader", "trader")])
    state = LinkState(graph, LinkModel())
    src, dst = np.random.default_rng(2).integers(0, 15, (2, n))
    time = np.arange(n) * 30_000_000
    graph.add("trusts", src, dst, time)
    numbers = graph.numbers("trader", src), graph.numbers("trader", dst)
    state.links.follow(*numbers, time / 1e6)
    return state


@pytest.fixture(scope="module")
def state():
    return grown()


@pytest.fixture
def copy(state):
    return Copied(state, 200)


def content_of(state):
    asked = LinkQuestion(relation="trusts", against=9)
    return ModelContent(KIND, asked.params(), {"weights": state.links.weights.copy()})


def served_by(copy, content=None):
    return ServedQuestion(content or content_of(copy.state), lambda: copy, At())


def own(state):
    asked = LinkQuestion(relation="trusts", against=9)
    asked.load_state({"weights": state.links.weights})
    return asked


def tensors(sources, targets, times):
    objects = [np.array(ids, object) for ids in (sources, targets)]
    made = {"source": objects[0], "target": objects[1], "time": np.array(times, np.int64)}
    return {name: Tensor(name, data) for name, data in made.items()}


def test_a_row_is_answered_of_one_state_and_says_of_which(copy, state):
    served, question = served_by(copy), own(state)
    found = served.answer({"source": 1, "target": "2"}, NOW, explain=False)
    row = {"source": np.array([1], object), "target": np.array([2], object), "time": np.array([NOW])}
    assert found.outputs == {name: column[0] for name, column in question.ask(state, row).items()}
    assert all(type(value) is float for value in found.outputs.values())
    assert (found.position, found.evidence, found.rests_on) == (200, question.evidence(state, row), None)
    shown = served.answer({"source": 1, "target": "2"}, NOW, explain=True)
    assert shown.rests_on == question.explain(state, row) and shown[:3] == found[:3]
    assert copy.asked == 2, "outputs, evidence and what it rests on are of one and the same state"
    assert answered(question, state, 200, {"source": 1, "target": 2, "time": NOW}) == found


def test_tensors_are_answered_with_position_and_moment(copy, state):
    served = served_by(copy)
    assert [spec.name for spec in served.inputs] == ["source", "target", "time"]
    assert served.outputs[-2:] == [TensorSpec("position", "INT64", [-1]), TensorSpec("asked_at", "INT64", [-1])]
    inputs = tensors([1, "2", "x"], [3, "4", "y"], [NOW - 5, 0, 1])
    found = served.predict(inputs)
    assert list(found) == [spec.name for spec in served.outputs]
    assert {name: tensor.datatype for name, tensor in found.items()} == {s.name: s.datatype for s in served.outputs}
    assert found[MOMENT].data.tolist() == [NOW - 5, NOW, 1], "0 is now"
    assert found[POSITION].data.tolist() == [200] * 3
    assert inputs["time"].data.tolist() == [NOW - 5, 0, 1], "what was given is left as it was"
    for i, (source, target) in enumerate([(1, 3), (2, 4), ("x", "y")]):
        one = served.answer({"source": source, "target": target}, found[MOMENT].data.tolist()[i], explain=False)
        assert one.outputs == {name: found[name].data[i] for name in one.outputs}


def test_what_the_log_keeps_of_tensors_can_be_asked_again(copy, state):
    """Texts stay texts there, and the moment is that of the answer."""
    served = served_by(copy)
    inputs = tensors(["1", "ann"], ["3", "bob"], [0, NOW - 9])
    outputs = served.predict(inputs)
    kept = predictions(Loaded("trust", "4", served, delta=7), ["a", "b"], inputs, outputs, NOW + 1)
    read = [events.decode(events.encode(one)) for one in kept]
    assert [one.asked for one in read] == [
        {"source": "1", "target": "3", "time": NOW},
        {"source": "ann", "target": "bob", "time": NOW - 9},
    ]
    for i, one in enumerate(read):
        assert (one.position, one.delta, one.version, one.time) == (200, 7, "4", NOW + 1)
        again = answered(own(state), state, one.position, {"time": one.time, **one.asked})
        assert again.outputs["score"] == one.score == outputs["score"].data[i]


def test_a_delta_changes_the_weights_and_nothing_else(copy, state):
    served = served_by(copy)
    before = served.answer({"source": 1, "target": 2}, NOW, explain=False)
    weights = state.links.weights * np.float32(0.5)
    changes = delta_since(served.content.state, {"weights": weights})
    later = served.updated(changes)
    assert (later.content.kind, later.content.params) == (KIND, served.content.params)
    assert (later.content.state["weights"] == weights).all()
    after = later.answer({"source": 1, "target": 2}, NOW, explain=False)
    assert after.outputs["rank_score"] != before.outputs["rank_score"]
    assert (after.evidence, after.position) == (before.evidence, before.position)
    assert served.answer({"source": 1, "target": 2}, NOW, explain=False) == before, "and the one before is as it was"


def test_without_the_state_it_says_what_is_missing(state):
    none = ServedQuestion(content_of(state), lambda: None, At())
    assert none.missing == "the graph that is asked is not followed here"
    coming = Copied(state, 3)
    served = served_by(coming)
    assert served.missing == ""
    coming.ready, coming.problem = False, "it is being made from the log, up to commit 5"
    assert served.missing == "the graph of job trust is not here yet: it is being made from the log, up to commit 5"
    for model, said in ((none, "is not followed here"), (served, "being made from the log")):
        for ask in (
            lambda model=model: model.answer({"source": 1, "target": 2}, NOW, explain=False),
            lambda model=model: model.predict(tensors([1], [2], [0])),
        ):
            with pytest.raises(UnavailableError, match=said):
                ask()


def test_one_row_of_plain_values_is_checked():
    specs = [TensorSpec("source", "BYTES", [-1]), TensorSpec("time", "INT64", [-1])]
    found = columns_of(specs, {"source": "ann", "time": 5, "more": 1})
    assert {name: (column.dtype, column.tolist()) for name, column in found.items()} == {
        "source": (np.dtype(object), ["ann"]),
        "time": (np.dtype(np.int64), [5]),
    }
    wide = [TensorSpec("features", "FP64", [-1, 2])]
    assert columns_of(wide, {"features": [1, 2.5]})["features"].tolist() == [[1.0, 2.5]]
    with pytest.raises(RequestError, match="does not fit"):
        columns_of(wide, {"features": [1, 2, 3]})
    for values, field, said in (
        ({"time": 5}, "source", "input is missing"),
        ({"source": None, "time": 5}, "source", "input is missing"),
        ({"source": 1, "time": "soon"}, "time", "does not fit"),
        ({"source": 1, "time": 1 << 70}, "time", "does not fit"),
        ({"source": 1, "time": [1, 2]}, "time", "does not fit"),
    ):
        with pytest.raises(RequestError, match=said) as told:
            columns_of(specs, values)
        assert told.value.field == field


@pytest.mark.parametrize("bad", [1.5, True, [1], {"a": 1}], ids=str)
def test_what_is_no_id_is_the_requests_fault(copy, bad):
    with pytest.raises(RequestError, match="input does not fit; wanted a text or a whole number") as told:
        served_by(copy).answer({"source": bad, "target": 2}, NOW, explain=False)
    assert told.value.field == "source"


def test_content_of_another_kind_is_refused(state):
    content = content_of(state)
    for wrong in (
        ModelContent("streams.learners.logistic:ScaledLogistic", content.params, content.state),
        ModelContent(KIND, {"relation": "trusts", "more": 1}, content.state),
        ModelContent(KIND, content.params, {"weights": np.zeros(3, np.float32)}),
    ):
        with pytest.raises(IncompatibleError):
            ServedQuestion(wrong, lambda: None, At())

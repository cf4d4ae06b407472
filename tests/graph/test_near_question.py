"""Who is nearest: against all cosines at once, of one type of nodes and of two; evidence is of what it rests on."""

import numpy as np
import pytest

from graph.embedding import Embeddings
from graph.near_job import NearState
from graph.near_question import NearQuestion
from graph.relation import Relation
from graph.store import TemporalGraph
from tidemill.errors import ConfigError, IncompatibleError, RequestError

ONE = Relation("trusts", "trader", "trader")
TWO = Relation("buys", "trader", "shop")


def grown(relation=ONE, n=200, nodes=15, name=lambda i: i):
    rng = np.random.default_rng(4)
    state = NearState(TemporalGraph(["trader", "shop"], [ONE, TWO]), Embeddings(dims=16))
    for i in range(n):
        tell(state, relation, name(int(rng.integers(nodes))), name(int(rng.integers(nodes))), i)
    return state


def tell(state, relation, source, target, time):
    state.graph.add(relation.name, [source], [target], [time * 1_000_000])
    (a,) = state.graph.numbers(relation.source, [source])
    (b,) = state.graph.numbers(relation.target, [target])
    wide = relation.source != relation.target
    state.embeddings.learn([2 * a if wide else a], [2 * b + 1 if wide else b], [time])


def ask(question, state, *nodes, time=10**15):
    columns = {"node": np.array(nodes, np.object_), "time": np.full(len(nodes), time, np.int64)}
    return question.ask(state, columns)


@pytest.mark.parametrize(
    ("relation", "end", "wide", "odd"), [(ONE, "source", 1, 0), (TWO, "source", 2, 0), (TWO, "target", 2, 1)]
)
def test_the_nearest_are_those_of_the_largest_cosines(relation, end, wide, odd):
    state = grown(relation, name=lambda i: f"n{i}")
    node_type = relation.source if end == "source" else relation.target
    ids = state.graph.ids(node_type)
    vectors = state.embeddings.vectors(wide * np.arange(len(ids)) + odd)
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -9)
    found = ask(NearQuestion(relation=relation.name, end=end, k=4), state, *ids)
    for i in range(len(ids)):
        wanted = np.sort(similar[i])[::-1][:4]
        np.testing.assert_allclose(found["similarity"][i], wanted, atol=1e-6)
        assert [similar[i, ids.index(id)] for id in found["nodes"][i]] == pytest.approx(wanted.tolist(), abs=1e-6)
        assert ids[i] not in found["nodes"][i]
    np.testing.assert_array_equal(found["score"], found["similarity"][:, 0])


def test_where_there_are_fewer_the_rest_is_empty():
    state = grown(n=1, nodes=2, name=lambda i: 5 + i)
    tell(state, ONE, 5, 6, 9)
    found = ask(NearQuestion(relation="trusts", k=3), state, "5", 6)
    assert found["nodes"].tolist() == [["6", "", ""], ["5", "", ""]]
    assert found["similarity"][:, 1:].tolist() == [[0, 0], [0, 0]]


def test_whom_nobody_has_seen_is_named():
    with pytest.raises(RequestError, match="no such node; wanted a trader that has come; got 'x'") as error:
        ask(NearQuestion(relation="trusts"), grown(), 3, "x")
    assert error.value.field == "node"


def test_evidence_changes_with_what_the_answer_rests_on():
    question, state = NearQuestion(relation="trusts"), grown()

    def evidence(time=10**15):
        return question.evidence(state, {"node": np.array([3], np.object_), "time": np.array([time])})

    before = evidence()
    assert before == evidence() and before != evidence(time=1_000_000)
    tell(state, ONE, 3, 4, 500)
    assert evidence() != before


def test_an_explanation_lists_the_newest_neighbours_those_of_most_influence_first():
    state = grown()
    tell(state, ONE, 3, 4, 900)
    told = NearQuestion(relation="trusts").explain(
        state, {"node": np.array([3], np.object_), "time": np.array([10**15])}
    )
    newest = max(told["neighbours"], key=lambda one: one["time"])
    assert {**newest, "influence": 0} == {"direction": "out", "node": 4, "time": 900_000_000, "influence": 0}
    assert {one["direction"] for one in told["neighbours"]} == {"out", "in"}
    falls = [abs(one["influence"]) for one in told["neighbours"]]
    assert falls == sorted(falls, reverse=True) and falls[0] > 0


@pytest.mark.parametrize(("relation", "end"), [(ONE, "source"), (TWO, "source"), (TWO, "target")])
def test_influence_is_what_the_cosine_falls_by_without_that_neighbour(relation, end):
    state = grown(relation, n=90)
    question = NearQuestion(relation=relation.name, end=end)
    columns = {"node": np.array([3], np.object_), "time": np.array([10**15])}
    told = {one["node"]: one["influence"] for one in question.explain(state, columns)["neighbours"]}
    it = question.ask(state, columns)
    mine, theirs = (relation.source, relation.target) if end == "source" else (relation.target, relation.source)

    def row(node_type, id, odd):
        (number,) = state.graph.numbers(node_type, [id])
        return 2 * number + odd if relation is TWO else number

    odd = int(end == "target")
    profile, embedding, ring, count = state.embeddings._rows[:4]
    node, top = row(mine, 3, odd), embedding[row(mine, int(it["nodes"][0, 0]), odd)]

    def unit(x):
        return x / np.linalg.norm(x)

    def cosine(near):
        around = unit(sum(unit(profile[n]) for n in near))
        return unit(0.3 * unit(profile[node]) + 0.7 * around) @ top

    near = ring[node, : min(count[node], 16)].tolist()
    for id, influence in told.items():
        number = row(theirs, id, 1 - odd)
        rest = near[: near.index(number)] + near[near.index(number) + 1 :] if number in near else near
        assert influence == pytest.approx(cosine(near) - cosine(rest), abs=1e-5)
    assert len(told) > 2 and len(set(told.values())) > 2


def test_what_cannot_be_is_refused():
    for settings in ({"end": "both"}, {"k": 0}, {"k": 1001}):
        with pytest.raises(ConfigError, match="cannot be asked"):
            NearQuestion(relation="trusts", **settings)
    question = NearQuestion(relation="trusts")
    question.load_state({})
    assert NearQuestion(**question.params()).params() == question.params()
    with pytest.raises(IncompatibleError, match="not a state of this model"):
        question.load_state({"weights": np.zeros(3)})

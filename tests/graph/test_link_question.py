"""Will an edge appear: against plain numpy, a function of row and state; evidence is of what the answer rests on."""

import numpy as np
import pytest

from graph.link_job import LinkState
from graph.link_model import STRANGER, LinkModel
from graph.link_question import HIDDEN_SCORE, LinkQuestion
from graph.relation import Relation
from graph.store import TemporalGraph
from tests.graph.link_reference import asked_event, drawn, rank, scored, share
from tidemill.errors import ConfigError, IncompatibleError, RequestError
from tidemill.state import decode, encode

ONE = Relation("trusts", "trader", "trader")
TWO = Relation("buys", "trader", "shop")
SECOND = 1_000_000


def grown(relation=ONE, n=300, nodes=20, seed=0, name=lambda i: i):
    """A state that has learned random edges, one each ten minutes."""
    rng = np.random.default_rng(seed)
    graph = TemporalGraph(["trader", "shop"], [ONE, TWO])
    state = LinkState(graph, LinkModel(seed=1, bipartite=relation is TWO))
    src, dst = rng.integers(0, nodes, (2, n))
    for i, (a, b) in enumerate(zip(src.tolist(), dst.tolist(), strict=True)):
        tell(state, relation, name(a), name(b), i * 600 * SECOND)
    return state


def tell(state, relation, source, target, time, *, graph=True, past=True):
    if graph:
        state.graph.add(relation.name, [source], [target], [time])
    if past:
        state.links.follow(*code(state, relation, source, target), [time / 1e6])


def code(state, relation, source, target):
    """What the past calls the ends: by hand."""
    (a,) = state.graph.numbers(relation.source, [source]).tolist()
    (b,) = state.graph.numbers(relation.target, [target]).tolist()
    wide, odd = (1, 0) if relation.source == relation.target else (2, 1)
    unknown = STRANGER - (source == target and not odd)  # the same stranger, or another
    return [STRANGER - 1 if a < 0 else wide * a], [unknown if b < 0 else wide * b + odd]


def question_of(state, relation=ONE, **settings):
    made = LinkQuestion(relation=relation.name, **settings)
    made.load_state({"weights": state.links.weights})
    return made


def columns(*rows):
    source, target, time = zip(*rows, strict=True)
    whole = [np.array(part, object) for part in (source, target)]
    return {"source": whole[0], "target": whole[1], "time": np.array(time, np.int64)}


END = 300 * 600 * SECOND
ROWS = [(1, 2, END), (2, 1, END), (5, 5, END + 7), (3, 17, END + 86_400 * SECOND), (999, 4, END), (4, 999, END)]
ROWS += [(998, 999, END), (999, 999, END)]


@pytest.mark.parametrize("relation", [ONE, TWO], ids=["one type", "two types"])
@pytest.mark.parametrize(("against", "seed"), [(50, 0), (7, 3)])
def test_answers_are_those_of_plain_numpy(relation, against, seed):
    state = grown(relation)
    asked = question_of(state, relation, against=against, seed=seed)
    found = asked.ask(state, columns(*ROWS))
    assert {name: column.shape for name, column in found.items()} == dict.fromkeys(
        ("score", "oddness", "rank_score"), (len(ROWS),)
    )
    for i, (source, target, when) in enumerate(ROWS):
        (src,), (dst,) = code(state, relation, source, target)
        others = drawn(state.links.past, src, dst, seed, asked_event(src, dst), against)
        assert relation is ONE or all(other % 2 for other in others if other != STRANGER)
        X = state.links.past.features([src], [[dst, *others]], [when / 1e6])[0]
        # Equal rows tie in either arithmetic; others are apart by more than float32 rounds.
        scores = scored(asked.weights, X)
        assert found["rank_score"][i] == pytest.approx(scores[0], rel=1e-4, abs=1e-5)
        assert found["score"][i] == pytest.approx(share(scores), rel=1e-4)
        exact = state.links.score([src], [[dst, *others]], [when / 1e6])[0]
        assert found["oddness"][i] == (rank(exact.tolist()) - 1.0) / against
    assert len(set(found["score"].tolist())) > 3


def test_others_are_of_the_targets_type():
    """Of 200 traders and 10 shops it would be traders almost always, and none of them can be a target."""
    state = grown(TWO, n=200, nodes=10)
    for i in range(200):
        tell(state, TWO, f"t{i}", 0, (200 + i) * 600 * SECOND)
    asked = question_of(state, TWO, against=60)
    (src,), (dst,) = code(state, TWO, "t7", 3)
    others = drawn(state.links.past, src, dst, 0, asked_event(src, dst), 60)
    assert set(others) == {2 * shop + 1 for shop in range(10)} - {dst}
    X = state.links.past.features([src], [[dst, *others]], [END / 1e6])[0]
    found = asked.ask(state, columns(("t7", 3, END)))
    assert found["score"][0] == pytest.approx(share(scored(asked.weights, X)), rel=1e-4)


def test_an_edge_that_comes_again_and_again_is_less_odd_than_one_that_never_came():
    state = grown()
    for i in range(300):
        tell(state, ONE, 1, 2, END + i * 600 * SECOND)
    src, dst = np.random.default_rng(0).integers(0, 20, (2, 300))  # as `grown` draws them
    never = sorted(set(range(20)) - set(dst[src == 1].tolist()) - {2})
    assert len(never) >= 5
    found = question_of(state).ask(state, columns((1, 2, 2 * END), *((1, other, 2 * END) for other in never)))
    assert found["score"][0] > 5 * found["score"][1:].max()
    assert found["oddness"][0] < 0.1 < found["oddness"][1:].mean()


def test_a_row_has_its_answer_alone_and_among_others():
    """The draw is a function of seed and row: not of the batch, of its place, or of what was asked before."""
    state = grown()
    asked = question_of(state)
    before = encode(state)
    together = asked.ask(state, columns(*ROWS))
    for i, one in enumerate(ROWS):
        alone = asked.ask(state, columns(one))
        assert {name: column[0] for name, column in alone.items()} == {n: c[i] for n, c in together.items()}
    turned = asked.ask(state, columns(*ROWS[::-1]))
    assert all((turned[name][::-1] == together[name]).all() for name in together)
    assert encode(state) == before, "asking changed what was asked"
    other = question_of(state, seed=1).ask(state, columns(*ROWS))
    assert (other["rank_score"] == together["rank_score"]).all()
    assert (other["score"] != together["score"]).any()


def test_nodes_never_seen_are_answered_for():
    state = grown()
    asked = question_of(state)
    found = asked.ask(state, columns((999, 998, END), (998, 999, END), ("ann", "bob", END)))
    assert found["rank_score"].tolist() == [found["rank_score"][0]] * 3
    assert np.isfinite(found["score"]).all()
    nothing = LinkState(TemporalGraph(["trader", "shop"], [ONE, TWO]), LinkModel())
    empty = question_of(nothing, against=4).ask(nothing, columns((1, 2, 0)))
    assert empty["score"][0] == pytest.approx(1 / 5) and empty["oddness"][0] == 0.5, "all are strangers, and tie"


def test_text_ids_and_whole_numbers_mean_the_same_node():
    state = grown()
    asked = question_of(state)
    as_they_are = asked.ask(state, columns((1, 2, END)))
    for source, target in (("1", "2"), (b"1", b"2"), (1, "2"), ("01", b"2")):
        row = columns((source, target, END))
        assert asked.ask(state, row) == as_they_are
        assert asked.evidence(state, row) == asked.evidence(state, columns((1, 2, END)))
        assert asked.explain(state, row) == asked.explain(state, columns((1, 2, END)))
    named = grown(name=lambda i: f"t{i}")
    found = question_of(named).ask(named, columns(("t1", "t2", END), (b"t1", b"t2", END)))
    assert [column.tolist() for column in found.values()] == [[c[0]] * 2 for c in as_they_are.values()]


def test_evidence_is_equal_for_equal_states_and_for_no_others():
    state, again = grown(), decode(encode(grown()), LinkState)
    asked, row = question_of(state), columns((1, 2, END))
    evidence = asked.evidence(state, row)
    assert evidence == asked.evidence(again, row) == asked.evidence(grown(), row)
    assert evidence != asked.evidence(grown(seed=1), row)
    assert evidence != asked.evidence(state, columns((2, 1, END)))
    assert evidence != asked.evidence(state, columns((1, 2, END + SECOND))), "recencies are features"
    later = LinkQuestion(relation="trusts", seed=9)
    assert later.evidence(state, row) == evidence, "weights and draws are of the model, not of the state"


@pytest.mark.parametrize(
    ("source", "target", "time", "seen"),
    [
        (1, 30, END - SECOND, True),
        (30, 1, END - SECOND, True),
        (2, 30, END - SECOND, True),
        (30, 2, END - SECOND, True),
        (3, 30, END - SECOND, False),  # of others
        (1, 30, END, False),  # not before
        (1, 30, -SECOND, False),  # not among the newest
    ],
)
def test_evidence_changes_with_the_neighbours_and_only_with_those(source, target, time, seen):
    """The graph gets an edge, and the past, of which the features are, does not."""
    state = grown()
    asked, row = question_of(state), columns((1, 2, END))
    before, shown = asked.evidence(state, row), asked.explain(state, row)
    tell(state, ONE, source, target, time, past=False)
    assert (asked.evidence(state, row) != before) is seen
    assert (asked.explain(state, row)["neighbours"] != shown["neighbours"]) is seen


def test_evidence_changes_with_the_features_and_only_with_those():
    """The past gets an edge, and the graph does not."""
    state = grown()
    asked = question_of(state)
    known, unknown = columns((1, 2, END)), columns((998, 999, END))
    before = asked.evidence(state, known), asked.evidence(state, unknown)
    tell(state, ONE, 7, 8, END - SECOND, graph=False)
    assert asked.evidence(state, known) != before[0], "edges since the last of its own are a feature"
    assert asked.evidence(state, unknown) == before[1]
    # A draw that turns out otherwise changes no evidence: it is of the row asked about.
    assert question_of(state, against=3).evidence(state, known) == asked.evidence(state, known)


@pytest.mark.parametrize("relation", [ONE, TWO], ids=["one type", "two types"])
def test_what_an_answer_rests_on_is_shown(relation):
    state = grown(relation)
    asked, when = question_of(state, relation, near=4), END
    told = asked.explain(state, columns((1, 2, when)))
    (src,), (dst,) = code(state, relation, 1, 2)
    others = drawn(state.links.past, src, dst, 0, asked_event(src, dst), 50)
    X = state.links.past.features([src], [[dst, *others]], [when / 1e6])[0]
    changed = np.repeat(X[:1], X.shape[1], axis=0)
    np.fill_diagonal(changed, X[1:].mean(axis=0))
    falls = scored(asked.weights, X[:1])[0] - scored(asked.weights, changed)
    wanted = sorted(zip(asked.names, falls.tolist(), strict=True), key=lambda pair: -abs(pair[1]))[:10]
    assert list(told["features"].values()) == pytest.approx([fall for _, fall in wanted], rel=1e-2, abs=1e-4)
    assert set(list(told["features"])[:5]) <= {name for name, _ in wanted}
    sides = [("source", 1, relation.source, "out"), ("source", 1, relation.source, "in")]
    sides += [("target", 2, relation.target, "out"), ("target", 2, relation.target, "in")]
    if relation is TWO:
        sides = [sides[0], sides[3]]
    near = []
    for end, id, kind, direction in sides:
        found = state.graph.neighbours(relation.name, state.graph.numbers(kind, [id]), when, 4, direction=direction)
        other = state.graph.ends(relation.name, direction)[1]
        near += [
            {"of": end, "direction": direction, "node": node, "time": time}
            for node, time in zip(state.graph.ids(other, found.nodes[0]), found.times[0].tolist(), strict=True)
        ]
    falls = [abs(one["influence"]) for one in told["neighbours"]]
    assert falls == sorted(falls, reverse=True) and np.count_nonzero(falls) > len(falls) / 2
    shown = [{name: value for name, value in one.items() if name != "influence"} for one in told["neighbours"]]
    assert len(shown) == 4 * len(sides) and sorted(shown, key=str) == sorted(near, key=str)
    before = encode(state)
    asked.explain(state, columns((1, 2, when)))
    assert encode(state) == before, "it is left as it was"
    assert question_of(state, relation, near=0).explain(state, columns((1, 2, when)))["neighbours"] == []


@pytest.mark.parametrize("relation", [ONE, TWO], ids=["one type", "two types"])
def test_what_experts_said_before_counts_and_is_taken_back(relation):
    state = grown(relation)
    asked, row = question_of(state, relation), columns((1, 2, END), (3, 17, END), (999, 4, END))
    plain, shown, evidence = asked.ask(state, row), asked.explain(state, columns((1, 2, END))), []

    def said(verdict, at, *weight):
        state.graph.judge(relation.name, 1, 2, at, verdict, *weight)
        evidence.append(asked.evidence(state, columns((1, 2, END))))
        return {name: column.tolist() for name, column in asked.ask(state, row).items()}

    found = said("weight", END - 9, 4.0)
    assert found["rank_score"][0] == pytest.approx(plain["rank_score"][0] + np.log(4.0), rel=1e-6)
    odds = plain["score"][0] / (1 - plain["score"][0])
    assert found["score"][0] == pytest.approx(4 * odds / (1 + 4 * odds), rel=1e-5)
    assert found["oddness"][0] <= plain["oddness"][0]
    assert asked.explain(state, columns((1, 2, END))) == {**shown, "weight": pytest.approx(4.0)}
    assert [column[1:] for column in found.values()] == [column[1:].tolist() for column in plain.values()]
    before = asked.ask(state, columns((1, 2, END - 9)))["rank_score"][0]
    assert before == asked.ask(grown(relation), columns((1, 2, END - 9)))["rank_score"][0], "not said yet"
    found = said("forbid", END - 8)
    assert (found["score"][0], found["oddness"][0], found["rank_score"][0]) == (0.0, 1.0, HIDDEN_SCORE)
    assert asked.explain(state, columns((1, 2, END)))["weight"] == 0.0
    assert (asked.ask(state, columns((2, 1, END)))["score"] > 0).all(), "the other way is not forbidden"
    found = said("revoke", END - 7)
    assert found == {name: column.tolist() for name, column in plain.items()}
    found = said("weight", END - 6, 0.0)
    assert found["score"][0] == 0.0
    # What is forbidden is no neighbour either, so four answers rest on four things.
    assert len(set(evidence)) == 4 and evidence[2] == asked.evidence(grown(relation), columns((1, 2, END)))


def test_ends_of_two_types_are_two_nodes_though_their_ids_and_numbers_are_equal():
    state = grown(TWO)
    asked = question_of(state, TWO)
    there = asked.ask(state, columns((4, 999, END), (999, 4, END)))
    assert there["rank_score"][0] != there["rank_score"][1]
    assert state.links.past.state()["size"][0] == 40, "20 traders and 20 shops"


@pytest.mark.parametrize("time", [1 << 60, -(1 << 60)])
def test_times_that_are_none_are_refused(time):
    state = grown(n=10)
    asked = question_of(state)
    for ask in (asked.ask, asked.evidence, asked.explain):
        with pytest.raises(RequestError, match="no moment") as told:
            ask(state, columns((1, 2, time)))
        assert told.value.field == "time"


def test_it_is_a_model_of_parameters_and_weights():
    state = grown(n=50)
    asked = question_of(state, against=9, seed=4, near=3)
    again = LinkQuestion(**decode(encode(asked.params()), dict))
    again.load_state(decode(encode(asked.state()), dict))
    assert again.params() == asked.params() == {**again.params(), "against": 9, "seed": 4, "near": 3}
    assert again.ask(state, columns(*ROWS))["score"].tolist() == asked.ask(state, columns(*ROWS))["score"].tolist()
    assert [(spec.name, spec.datatype) for spec in asked.inputs] == [
        ("source", "BYTES"),
        ("target", "BYTES"),
        ("time", "INT64"),
    ]
    for wrong in ({}, {"weights": np.zeros(3)}, {**asked.state(), "more": 1}):
        with pytest.raises(IncompatibleError):
            again.load_state(wrong)
    for settings in ({"against": 0}, {"near": -1}):
        with pytest.raises(ConfigError):
            LinkQuestion(relation="trusts", **settings)

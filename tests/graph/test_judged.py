"""What each verdict does, to whom and from when on."""

import numpy as np
import pytest

from tests.graph.reference import found, new
from tidemill.errors import NotFiniteError, UserError, WrongTypeError

FAR = 1_000


def near(graph, user, before, **options):
    return [who for who, _, _ in found(graph, "knows", "user", user, before, 9, **options)]


def test_an_asserted_edge_stands_from_then_on_until_revoked():
    graph = new()
    graph.judge("knows", 1, 2, 10, "assert")
    graph.judge("knows", 2, 1, 20, "revoke")
    assert [near(graph, 1, at) for at in (10, 11, 20, 21)] == [[], [2], [2], []]
    assert near(graph, 2, 15) == [1] and near(graph, 1, 15, experts=False) == []
    graph.judge("knows", 1, 2, 15, "revoke")  # said later of an earlier time
    assert [near(graph, 1, at) for at in (15, 16)] == [[2], []]
    graph.judge("knows", 1, 2, 5, "assert")  # and an assertion ends at the first revocation after it
    assert [near(graph, 1, at) for at in (6, 11, 16)] == [[2], [2, 2], []]


def test_an_asserted_edge_is_not_ended_by_data():
    graph = new()
    graph.add("knows", [1], [2], [5])
    graph.judge("knows", 1, 2, 10, "assert")
    assert graph.retract("knows", 1, 2, 15) == 1
    assert [time for _, time, _ in found(graph, "knows", "user", 1, FAR, 9)] == [10]


def test_what_is_forbidden_is_hidden_whenever_it_comes_until_revoked_or_asserted():
    graph = new()
    graph.judge("knows", 1, 2, 10, "forbid")
    graph.add("knows", [1, 2, 1, 1], [2, 1, 2, 3], [5, 15, 25, 15])
    assert [near(graph, 1, at) for at in (10, 11, 30)] == [[2], [], [3]]
    graph.judge("knows", 1, 2, 20, "revoke")
    assert [near(graph, 1, at) for at in (20, 21, 30)] == [[3], [3, 2, 2], [2, 3, 2, 2]]
    assert near(graph, 1, 18, experts=False) == [3, 2, 2]
    graph.judge("knows", 1, 2, 40, "forbid")
    graph.judge("knows", 1, 2, 50, "assert")
    assert [near(graph, 1, at) for at in (45, 51)] == [[3], [2, 2, 3, 2, 2]]
    assert graph.degrees("knows", 45)[graph.numbers("user", [1])[0]] == 1


def test_along_a_directed_relation_one_way_is_forbidden_and_not_the_other():
    graph = new()
    graph.add("buys", [1, 1], ["tea", "nut"], [1, 2], [[1.0], [2.0]])
    graph.judge("buys", 1, "tea", 5, "forbid")
    assert [who for who, _, _ in found(graph, "buys", "user", 1, FAR, 9)] == ["nut"]
    assert found(graph, "buys", "item", "tea", FAR, 9, direction="in") == []
    graph.judge("buys", 7, "nut", 6, "assert", features=[[9.0]])
    ((who, time, edge), _) = found(graph, "buys", "item", "nut", FAR, 9, direction="in")
    assert (who, time, graph.edges("buys", np.array([edge]))[3].tolist()) == (7, 6, [[9.0]])


def test_weights_are_as_of_a_moment():
    graph = new()
    graph.add("knows", [1, 1], [2, 3], [1, 2])
    for at, verdict, weight in ((10, "weight", 3.0), (20, "weight", 0.5), (30, "forbid", 1.0), (40, "revoke", 1.0)):
        graph.judge("knows", 2, 1, at, verdict, weight)
    moments = [10, 11, 21, 31, 41]
    assert graph.weights("knows", np.zeros(5, np.int64), np.array(moments)).tolist() == [1.0, 3.0, 0.5, 0.5, 1.0]
    assert graph.weights("knows", np.array([0, 1]), 11).tolist() == [3.0, 1.0]
    ends = graph.numbers("user", [1, 1]), graph.numbers("user", [2, 3])
    hidden, weights = graph.said("knows", *ends, 35)
    assert (hidden.tolist(), weights.tolist()) == ([True, False], [0.5, 1.0])


def test_a_verdict_that_cannot_be_is_refused_and_nothing_is_done():
    graph = new()
    graph.judge("buys", 1, "tea", 1, "forbid")
    before = graph.digest()
    for error, text, call in (
        (UserError, "no such verdict", lambda: graph.judge("knows", 8, 9, 1, "doubt")),
        (UserError, "weight out of range", lambda: graph.judge("knows", 8, 9, 1, "weight", -0.5)),
        (UserError, "weight out of range", lambda: graph.judge("knows", 8, 9, 1, "weight", float("nan"))),
        (UserError, "weight out of range", lambda: graph.judge("knows", 8, 9, 1, "weight", float("inf"))),
        (UserError, "features do not fit", lambda: graph.judge("buys", 8, "tea", 1, "assert")),
        (NotFiniteError, "not finite", lambda: graph.judge("buys", 8, "tea", 1, "assert", features=[[np.inf]])),
        (UserError, "no such relation", lambda: graph.judge("sells", 1, 2, 1, "forbid")),
        (WrongTypeError, "not a node id", lambda: graph.judge("knows", 1.5, 2, 1, "forbid")),
        (WrongTypeError, "not times", lambda: graph.judge("knows", 1, 2, 1.5, "forbid")),
        (UserError, "lengths differ", lambda: graph.said("knows", np.array([1, 2]), np.array([1]), 5)),
        (UserError, "lengths differ", lambda: graph.weights("knows", np.array([], np.int64), np.array([1, 2]))),
    ):
        with pytest.raises(error, match=text):
            call()
    assert graph.digest() == before


def test_an_asserted_edge_is_dropped_with_what_is_too_old_and_its_revocation_still_counts():
    graph = new(ttl=1_000)
    graph.judge("knows", 1, 2, 0, "assert")
    graph.add("knows", np.arange(20_000) % 50, np.arange(20_000) % 49, np.arange(20_000))
    graph.judge("knows", 1, 2, 19_500, "revoke")
    graph.judge("knows", 1, 3, 19_600, "assert")
    held = graph._edges["knows"]
    assert held.base > 5_000
    other = new(ttl=1_000)
    other.load_state(graph.state())
    for it in (graph, other):
        assert found(it, "knows", "user", 1, 20_000, 99)[-1][1] >= 19_000
        assert (3, 19_600) in [(who, time) for who, time, _ in found(it, "knows", "user", 1, 20_000, 99)]
        it.judge("knows", 1, 3, 19_700, "revoke")
        assert (3, 19_600) not in [(who, time) for who, time, _ in found(it, "knows", "user", 1, 20_000, 99)]
    assert graph.digest() == other.digest()


def test_a_graph_in_files_holds_the_same_verdicts(tmp_path):
    graph, files = new(), new(folder=tmp_path)
    for it in (graph, files):
        it.add("knows", [1, 1], [2, 3], [1, 2])
        it.judge("knows", 1, 3, 10, "forbid")
        it.judge("knows", 4, 1, 11, "assert")
    assert graph.digest() == files.digest()
    assert near(graph, 1, 20) == near(files, 1, 20) == [4, 2]

"""What questions share: which there are, whom ids mean, which moments there are, and what a digest is of."""

import numpy as np
import pytest

from graph.link_question import LinkQuestion
from graph.question import LONGEST, digest_of, numbers, plain, question, spelled, times
from graph.relation import Relation
from graph.store import TemporalGraph
from tidemill.errors import ConfigError, IncompatibleError, RequestError

LINKS = "graph.link_question:LinkQuestion"


def test_an_artefact_names_a_question_that_there_is_and_brings_no_code():
    made = question(LINKS, {"relation": "trusts", "against": 7})
    assert isinstance(made, LinkQuestion) and made.against == 7
    for kind in ("os:system", "graph.link_question:ends", "graph.link_model:LinkModel", "", LINKS + " "):
        with pytest.raises(IncompatibleError, match="unknown kind of question"):
            question(kind, {})
    for params in ({}, {"relation": "trusts", "more": 1}):
        with pytest.raises(IncompatibleError, match=r"LinkQuestion: parameters do not fit"):
            question(LINKS, params)
    with pytest.raises(ConfigError):
        question(LINKS, {"relation": "trusts", "against": 0})


def graph(ids):
    made = TemporalGraph(["user"], [Relation("wrote", "user", "user")])
    made.add("wrote", ids, ids, list(range(len(ids))))
    return made


def test_a_text_stands_for_the_whole_number_it_spells_where_no_node_has_it_for_its_id():
    whole, text, both = graph([7, -5, 12]), graph(["7", "ann", "Zoë"]), graph([7, "7", "ann", -5])
    assert numbers(whole, "user", [7, "7", b"7", "007", "-5", b"-5", "ann", "", "7.0", 8]).tolist() == [
        *(0, 0, 0, 0, 1, 1, -1, -1, -1, -1)
    ]
    assert numbers(text, "user", ["7", b"7", 7, "ann", "Zoë".encode(), "07"]).tolist() == [0, 0, -1, 1, 2, -1]
    assert numbers(both, "user", [7, "7", b"7", "ann", "-5", "07"]).tolist() == [0, 1, 1, 2, 3, 0]
    assert numbers(whole, "user", np.array(["12", 7, "x"], object)).tolist() == [2, 0, -1]
    assert numbers(whole, "user", [b"\xff\xfe"]).tolist() == [-1]


@pytest.mark.parametrize("huge", ["9" * 19, "9223372036854775808", "-" + "9" * 18, "-9223372036854775809", "1" * 40])
def test_a_text_that_spells_a_number_no_node_can_have_is_of_no_node(huge):
    assert numbers(graph([7, 12]), "user", [huge, huge.encode(), "12"]).tolist() == [-1, -1, 1]


def test_an_id_that_is_too_long_to_be_kept_is_refused():
    assert numbers(graph([7]), "user", ["x" * LONGEST, 1 << 62]).tolist() == [-1, -1]
    with pytest.raises(RequestError, match="the id of a node is too long; wanted at most 256 characters; got 257"):
        numbers(graph([7]), "user", [7, "x" * (LONGEST + 1)])


def test_what_spells_a_whole_number():
    assert [spelled(one) for one in ("0", "-0", "17", "-17", "0017")] == [0, 0, 17, -17, 17]
    for other in ("", "-", "--1", "+1", " 1", "1 ", "1.0", "1e3", "1_0", "٣", "0x1", "1\n", 17, b"17", None, "1" * 20):
        assert spelled(other) is None, other


def test_ids_as_json_has_them():
    assert [plain(one) for one in (7, "ann", b"\x00\xff")] == [7, "ann", "00ff"]


def test_moments_are_microseconds_within_reach():
    edge = (1 << 60) - 1
    assert times({"time": [0, -edge, edge]}).tolist() == [0, -edge, edge]
    assert times({"at": [5]}, "at").tolist() == [5] and times({"time": []}).tolist() == []
    for bad in (1 << 60, -(1 << 60), 1 << 62, -(1 << 62)):
        with pytest.raises(RequestError, match=rf"no moment.*got {bad}\b") as told:
            times({"time": [3, bad, 4]})
        assert told.value.field == "time"


def test_a_digest_is_of_bytes_in_their_order():
    one, two = np.arange(6), np.arange(6, 9)
    assert digest_of(one, two) == digest_of(np.arange(9)) == digest_of(np.arange(18)[::2] // 2)
    assert len({digest_of(one, two), digest_of(two, one), digest_of(one), digest_of(one.astype(float))}) == 4
    assert len(digest_of(one)) == 16 and int(digest_of(), 16) > 0

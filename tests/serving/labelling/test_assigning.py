"""Items for some annotators alone: nobody else is leased them, by whichever process, and only annotators are named."""

import pytest

from serving.labelling.assigning import overlap_for
from serving.labelling.uploads import NewItem, NewItems
from tests.serving.labelling.project import desk, served
from tests.serving.labelling.test_state import asked, fates, lease, project
from tidemill.errors import RequestError
from tidemill.label_events import AnswerGiven, LabelAsked

AT = "/api/projects/pets"


def items(caller, count=9):
    return {task["item"] for task in caller.post(f"{AT}/next", {"count": count})["tasks"]}


@pytest.fixture
def team(tmp_path):
    """A project of overlap 2 to 3 with a manager and annotators, and who asks as each of them."""
    with desk(tmp_path) as made, served(made) as caller:
        made.project()
        people = {name: caller(made.account(name)) for name in ("boss", "ann", "bob", "cy", "rev")}
        for name in ("ann", "bob", "cy"):
            made.member("pets", name)
        made.member("pets", "rev", "reviewer")
        yield made, people


def test_an_item_is_leased_to_those_it_was_assigned_to_at_its_upload_and_to_nobody_else(team):
    made, people = team
    wish = [{"id": "hers", "text": "t", "annotators": ["ann", "ann"]}, {"id": "all", "text": "t"}]
    assert people["boss"].post(f"{AT}/items", {"items": wish})["added"] == ["hers", "all"]
    assert items(people["bob"]) == {"all"} and items(people["ann"]) == {"hers", "all"}
    (event,) = [e for e in made.kept("pets", LabelAsked) if e.about == "hers"]
    assert (event.annotators, event.overlap) == (["ann"], (1, 1))
    assert people["bob"].get(AT)["progress"]["left"] == 0
    # It was asked as often as there is somebody for: then it is done.
    (task,) = [t for t in people["ann"].post(f"{AT}/next", {"count": 9})["tasks"] if t["item"] == "hers"]
    people["ann"].post(f"{AT}/answers", {"lease": task["lease"], "value": "cat"})
    assert people["boss"].get(f"{AT}/progress")["open"] == 0


@pytest.mark.parametrize("name", ["nobody", "rev", "boss", "gone", ""])
def test_a_name_that_is_no_annotators_is_refused_and_nothing_is_added_or_assigned(team, name):
    made, people = team
    made.member("pets", "gone")
    people["boss"].post(f"{AT}/members/gone", {"removed": True})
    made.uploads.add("pets", NewItems([NewItem(id="there", text="t")]))
    wish = {"items": [{"id": "a", "text": "t"}, {"id": "b", "text": "t", "annotators": ["ann", name]}]}
    told = people["boss"].post(f"{AT}/items", wish, 400)
    assert told["field"] == "items[1].annotators" and "no annotator of this project" in told["error"]
    told = people["boss"].post(f"{AT}/assignments", {"ids": ["there"], "annotators": [name]}, 400)
    assert told["field"] == "annotators"
    assert [e.about for e in made.kept("pets", LabelAsked)] == ["there"]


def test_items_that_are_there_are_assigned_and_given_to_whoever_again(team):
    made, people = team
    boss = people["boss"]
    made.uploads.add("pets", NewItems([NewItem(id=id, text="t") for id in ("a", "b")]))
    assert boss.post(f"{AT}/assignments", {"ids": ["a", "a"], "annotators": ["cy", "bob"]}) == {"assigned": ["a"]}
    assert items(people["ann"]) == {"b"} and items(people["bob"]) == {"a", "b"}
    boss.post(f"{AT}/assignments", {"ids": ["a", "none"], "annotators": ["ann"]}, 404)
    assert items(people["ann"]) == {"b"}
    # Another question that is silent on it leaves it so; what bob holds stays his.
    boss.post(f"{AT}/questions", {"ids": ["a"], "closed": True})
    boss.post(f"{AT}/questions", {"ids": ["a"], "closed": False})
    assert items(people["ann"]) == {"b"} and items(people["bob"]) == {"a", "b"}
    boss.post(f"{AT}/assignments", {"ids": ["a"], "annotators": []})
    assert items(people["ann"]) == {"a", "b"}
    with made.service.book.reading("pets") as state:
        assert (state.items["a"].asked.overlap, state.items["a"].asked.payload) == ((2, 3), {"text": "t"})


def test_answers_of_others_count_and_more_are_asked_for_where_they_can_be_given(team):
    made, people = team
    made.uploads.add("pets", NewItems([NewItem(id="a", text="t")]))
    given = AnswerGiven(id="x", time=1, about="a", by="bob", value="cat")
    made.service.book.append("pets", [given])
    ask = {"ids": ["a"], "annotators": ["ann"]}
    people["boss"].post(f"{AT}/assignments", ask)
    with made.service.book.reading("pets") as state:
        assert state.items["a"].asked.overlap == (2, 2)
    told = people["boss"].post(f"{AT}/assignments", {**ask, "overlap": [3, 3]}, 400)
    assert told["field"] == "overlap"
    wish = [{"text": "t", "annotators": ["ann"], "overlap": [2, 3]}]
    assert people["boss"].post(f"{AT}/items", {"items": wish}, 400)["field"] == "items[0].overlap"


def test_a_lease_of_somebody_else_is_void_wherever_it_is_read():
    state = project()
    state.fold(asked("i", annotators=["x", "y"]))
    for who in ("z", "x"):
        state.fold(lease("i", who))
    assert fates(state) == {"i/z": "void", "i/x": "leased"}
    state.fold(LabelAsked(id="q", time=2, about="i", priority=1.0))
    assert state.items["i"].asked.annotators == ["x", "y"] and not state.may_have(state.items["i"], "z")
    state.fold(LabelAsked(id="r", time=3, about="i", annotators=[]))
    assert state.may_have(state.items["i"], "z")


def test_an_overlap_is_the_plain_one_as_far_as_people_go_or_the_one_asked_for():
    assert [overlap_for(None, (2, 4), people, "") for people in (1, 3, 9)] == [(1, 1), (2, 3), (2, 4)]
    assert overlap_for((2, 5), (1, 1), 2, "") == (2, 5)
    for wrong, people in (((3, 5), 2), ((0, 1), 2), ((2, 1), 2)):
        with pytest.raises(RequestError):
            overlap_for(wrong, (1, 1), people, "overlap")

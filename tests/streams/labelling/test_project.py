"""The state of a consensus job: events that take effect, and those that are refused and leave no trace."""

import pytest

from streams.labelling.project import Project
from streams.labelling.telling import Page
from tests.streams.labelling.crowds import ASKED, answer, batch, labels, last, project, reviewed, rows, withdrawn
from tests.streams.labelling.test_consensus import run
from tidemill import state as states
from tidemill.errors import BadEvent
from tidemill.job import events_of

BIRDS = project("jay", "wren", overlap=(2, 3), sure=0.9)
GOOD = [BIRDS, answer("t", "a", "jay"), answer("t", "b", "jay")]

BAD = [
    answer("t", "a", "owl"),
    answer("t", "a", None),
    answer("t", "a", ["jay"]),
    answer("t", "a", "jay", schema=2),
    answer("t", "a", "jay", schema="1"),
    answer(None, "a", "jay"),
    answer("t", "", "jay"),
    withdrawn("t", None),
    reviewed("t", "owl"),
    {"type": "label.leased.v1", "about": "t"},
    {"type": "answer.given.v2", "about": "t", "by": "a", "value": "jay"},
    {"type": "project.changed.v1", "schema": None},
    BIRDS | {"overlap": [4, 2]},
    BIRDS | {"sure": 2.0},
    project("jay", "wren", kind="multi", version=2),
    project("jay", "wren", version=2, into={"jay": "wren", "wren": "jay"}),
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_what_cannot_be_used_is_refused_and_leaves_no_trace(bad):
    state = Project()
    for event in events_of(batch(GOOD)):
        state.take(event.data, event.id, event.time, Page())
    state.flush(Page())
    before = states.encode(state)
    (event,) = events_of(batch([bad | {"id": "bad", "time": 1_900_000_000_000_000}]))
    with pytest.raises(BadEvent) as told:
        state.take(event.data, event.id, event.time, Page())
    assert told.value.wanted and told.value.got and told.value.message
    assert states.encode(state) == before


def test_nothing_is_answered_before_there_is_a_schema():
    effects = run([answer("t", "a", "jay"), withdrawn("t", "a"), reviewed("t", "jay"), ASKED, *GOOD], method="majority")
    assert len(effects.dead) == 3 and all("no schema yet" in str(d.error) for d in effects.dead)
    assert labels(effects) == {"t": "jay"}


def test_classes_added_renamed_and_merged_mid_project():
    added = project("jay", "wren", "crow", version=2, overlap=(2, 3), sure=0.9)
    merged = project("jay", "wren", "crow", version=3, overlap=(2, 3), sure=0.9, into={"jay": "crow"})
    early = answer("u", "a", "crow")
    late = [answer("u", "a", "crow", schema=2), answer("u", "b", "jay")]
    effects = run([*GOOD, early, added, *late, merged], method="majority")
    assert len(effects.dead) == 1 and "one of jay, wren" in str(effects.dead[0].error)
    assert labels(effects) == {"t": "crow", "u": "crow"}
    (revised,) = [row for row in rows(effects, "revised") if row["about"] == "t"]
    assert (revised["before"], revised["value"], revised["reason"]) == ("jay", "crow", "schema")
    assert last(effects, "given")["t"]["value"] == "crow"


def test_an_older_version_of_the_project_changes_nothing():
    newer = project("jay", "wren", "crow", version=2, overlap=(2, 3), sure=0.9)
    effects = run([*GOOD, newer, BIRDS, answer("u", "a", "crow", schema=2)])
    assert effects.dead == [] and effects.state.schema.version == 2


def test_other_rules_settle_what_they_settle():
    strict, mild = project("jay", "wren", overlap=(3, 9)), project("jay", "wren", overlap=(2, 2))
    effects = run([strict, *GOOD[1:], mild | {"sure": 0.5}, strict], method="majority")
    assert [row["value"] for row in rows(effects, "settled")] == ["jay"]
    assert [row["value"] for row in rows(effects, "revised")] == [None]


def test_the_reviewed_teach_but_a_review_of_a_class_that_is_gone_counts_nowhere():
    fewer = project("wren", "crow", version=2, overlap=(2, 3), sure=0.9)
    effects = run([*GOOD, reviewed("t", "jay"), fewer], method="majority")
    assert labels(effects) == {} and last(effects)["t"]["value"] is None


def test_a_state_saved_goes_on_with_what_is_pending_published():
    state, page = Project(every=7), Page()
    for event in events_of(batch([*GOOD, reviewed("u", "jay"), answer("u", "a", "wren")])):
        state.take(event.data, event.id, event.time, page)
    state.flush(page)
    data = states.encode(state)
    again = states.decode(data, Project)
    assert states.encode(again) == data and again.settings.every == 7


def asked(about, **more):
    return {"type": "label.asked.v1", "about": about, **more}


def test_an_item_has_an_overlap_of_its_own():
    effects = run([BIRDS, asked("t", overlap=[1, 1]), answer("t", "a", "jay"), answer("u", "a", "jay")])
    assert labels(effects) == {"t": "jay"}
    effects = run([*GOOD, asked("t", overlap=[3, 9])], method="majority")
    assert labels(effects) == {}
    assert len(run([BIRDS, asked("t", overlap=[3, 1]), asked("t", gold="owl"), asked(None)]).dead) == 3


def test_gold_teaches_and_is_settled_like_any_item_once_answered():
    events = [BIRDS, *(asked(f"g{i}", gold=["jay", "wren"][i % 2]) for i in range(20))]
    for i in range(20):
        events += [answer(f"g{i}", "good", ["jay", "wren"][i % 2]), answer(f"g{i}", "odd", ["wren", "jay"][i % 2])]
    events += [answer("t", "good", "jay"), answer("t", "odd", "wren"), ASKED]
    effects = run(events)
    told = last(effects)
    assert (told["t"]["value"], told["t"]["confidence"] > 0.95) == ("jay", True)
    assert all(told[f"g{i}"]["value"] == ["jay", "wren"][i % 2] for i in range(20))
    assert "g0" in labels(effects) and labels(run(events[:21])) == {}


def test_a_later_question_that_is_silent_on_gold_and_overlap_leaves_them():
    plain, gold = asked("t"), asked("t", gold="wren", overlap=[1, 1])
    for order in ([gold], [gold, plain], [plain, gold], [asked("t", gold="jay", overlap=[9, 9]), gold, plain]):
        effects = run([*GOOD, *order, ASKED], method="majority")
        assert last(effects)["t"]["value"] == labels(effects)["t"] == "wren"


def test_calibration_is_measured_where_the_label_is_known():
    events = [project("jay", "wren", overlap=(3, 3))]
    for i in range(40):
        events += [answer(f"t{i}", f"w{w}", "jay" if (i + w) % 4 else "wren") for w in range(3)]
        events += [reviewed(f"t{i}", "jay" if i % 10 else "wren")] if i < 20 else []
    measured = rows(run([*events, ASKED], method="majority", name="birds-job"), "metrics")[-1]
    assert (measured["model"], measured["count"]) == ("birds-job", 120)
    values = measured["values"]
    assert (values["items"], values["annotators"], values["known"], values["settled"]) == (40, 3, 20, 40)
    assert sum(weight for weight, _, _ in measured["calibration"]) == 20
    # Two of twenty reviews go against the votes, which are 2 of 3 or all.
    assert values["accuracy"] == 0.9 and 0 < values["calibration_error"] < 0.3

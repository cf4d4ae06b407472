"""What a manager does with a project."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import msgspec
import pytest

from serving.labelling.managing import MemberSettings, NewMember, NewProject, Settings
from serving.labelling.schema import Change, changed
from tests.serving.helpers import until
from tests.serving.labelling.project import PAIR, PASSWORD, desk, until_known
from tidemill.errors import DeclarationError, IncompatibleError, NotFoundError, RequestError
from tidemill.label_events import EstimationAsked, LabelClass, ProjectChanged


def test_a_project_is_made_once_and_its_topic_says_so(tmp_path):
    with desk(tmp_path) as made:
        made.project(cost=0.5, budget=10.0)
        with pytest.raises(IncompatibleError, match="exists"):
            made.project()
        (event,) = made.kept("pets", ProjectChanged)
        assert (event.schema, event.cost, event.budget, event.by) == (PAIR, 0.5, 10.0, "boss")
        with made.service.book.reading("pets") as state:
            assert (state.members["boss"].roles, state.members["boss"].state) == (["manager"], "joined")
        # Another process, which starts from nothing, finds the same.
        with desk(tmp_path / "other", log=made.log) as other, other.service.book.reading("pets") as state:
            assert state.now == event


def test_a_stream_of_several_partitions_cannot_be_labelled(tmp_path):
    from tidemill.log import TopicSpec

    with desk(tmp_path) as made:
        made.log.create("labels.wide", TopicSpec(partitions=3))
        with pytest.raises(IncompatibleError, match="one order"):
            made.project("wide")


@pytest.mark.parametrize(
    "wrong",
    [
        {"overlap": (0, 1)}, {"overlap": (3, 2)}, {"overlap": (1, 10_001)}, {"sure": 0.0}, {"sure": 1.1},
        {"sure": float("nan")},
        {"cost": -1.0}, {"budget": -1.0}, {"lease": 0.5}, {"lease": 1e9}, {"rules": [{}]}, {"roles": ()},
    ],
    ids=repr,
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(wrong, tmp_path):
    with desk(tmp_path) as made:
        if wrong != {"roles": ()}:
            with pytest.raises(RequestError):
                made.managing.create(NewProject(project="pets", schema=PAIR, **wrong), "boss")
        for name in ("Pets", "a/b", "", "labels.x", "../x"):
            with pytest.raises((DeclarationError, RequestError)):
                made.project(name)
        with made.service.book.all() as projects:
            assert projects == []


def test_what_is_changed_stands_and_the_rest_stays(tmp_path):
    with desk(tmp_path) as made:
        made.project(cost=0.5)
        managing = made.managing
        stands = managing.settle("pets", Settings(overlap=(1, 9), instructions="look twice"), "ann")
        assert (stands.overlap, stands.cost, stands.schema.instructions) == ((1, 9), 0.5, "look twice")
        assert managing.settle("pets", Settings(budget=None), "ann").schema == stands.schema
        with pytest.raises(RequestError):
            managing.settle("pets", Settings(overlap=(2, 1)), "ann")
        schema = managing.change_schema("pets", [Change("merge", "dog", into="cat")], "ann")
        assert (schema.version, schema.instructions) == (3, "look twice")
        with made.service.book.reading("pets") as state:
            assert state.now.overlap == (1, 9)
            assert [v.version for v in state.versions.values()] == [1, 2, 3]
            assert state.versions[1].classes == PAIR.classes
        # What answers mean has changed, so they are to be looked at anew.
        assert len(made.kept("pets", EstimationAsked)) == 1
        assert managing.settle("pets", Settings(instructions="thrice"), "ann").schema.classes == schema.classes


def test_of_two_changes_at_one_moment_one_stands_and_the_other_is_told(tmp_path):
    with desk(tmp_path) as made:
        made.project()
        with made.service.book.reading("pets") as state:
            stands = state.now
        made.managing.change_schema("pets", [Change("add", "bird")], "ann")
        # What another process makes of the version before, a moment later.
        late = msgspec.structs.replace(stands, cost=9.0, by="bob")
        for change in (late, msgspec.structs.replace(late, schema=changed(stands.schema, [Change("add", "cow")]))):
            with pytest.raises(IncompatibleError, match="at this moment"):
                made.managing._stand("pets", change)
            with made.service.book.reading("pets") as state:
                assert [c.id for c in state.now.schema.classes] == ["cat", "dog", "bird"]
                assert (state.now.cost, len(state.versions)) == (0.0, 2)


def test_of_changes_at_one_moment_none_vanishes_that_was_said_to_stand(tmp_path):
    """Two services, each of which reads before the other writes."""
    changes = [{"cost": 9.0}, {"budget": 5.0}, {"closed": True}, {"schema": changed(PAIR, [Change("add", "cow")])}]
    with desk(tmp_path) as one, desk(tmp_path, log=one.log) as other:
        for n, (first, second) in enumerate(permutations(changes, 2)):
            name = one.project(f"p{n}")
            with one.service.book.reading(name) as state:
                stands = state.now
            one.managing._stand(name, msgspec.structs.replace(stands, **first))
            with pytest.raises(IncompatibleError, match="at this moment"):
                other.managing._stand(name, msgspec.structs.replace(stands, **second))
            for made in (one, other):
                with made.service.book.reading(name) as state:
                    assert state.now == msgspec.structs.replace(stands, **first, **_kept(state.now))
                    assert state.now.revision == 2
        seen = one.managing.settle("p0", Settings(cost=1.0), "ann").revision
        one.managing.settle("p0", Settings(cost=2.0, revision=seen), "ann")
        with pytest.raises(IncompatibleError, match="since"):
            one.managing.settle("p0", Settings(cost=3.0, revision=seen), "ann")


def _kept(now):
    return {name: getattr(now, name) for name in ("id", "time", "revision")}


def test_settings_sent_at_once_to_two_services_all_stand_or_are_refused(tmp_path):
    """Threads, with no say in their order: whatever was not refused is found in the end."""
    wishes = [Settings(cost=2.0), Settings(budget=5.0), Settings(lease=60.0), Settings(sure=0.9)]
    with desk(tmp_path) as one, desk(tmp_path, log=one.log) as other:
        for n in range(5):
            name, start = one.project(f"p{n}"), threading.Barrier(len(wishes))
            until_known(other, name)

            def work(number, name=name, start=start):
                start.wait()
                try:
                    (one, other)[number % 2].managing.settle(name, wishes[number], "ann")
                except IncompatibleError:
                    return {}
                return {k: v for k, v in msgspec.structs.asdict(wishes[number]).items() if v is not msgspec.UNSET}

            with ThreadPoolExecutor(len(wishes)) as pool:
                taken = {k: v for one_ in pool.map(work, range(len(wishes))) for k, v in one_.items()}

            def stands(name=name, taken=taken) -> bool:
                with one.service.book.reading(name) as state:
                    return {k: getattr(state.now, k) for k in taken} == taken

            assert taken and until(stands)  # the last may have been the other's, which this one has yet to read


def test_answers_of_a_merged_class_count_as_what_it_was_merged_into(tmp_path):
    with desk(tmp_path) as made:
        made.project(overlap=(2, 2))
        made.member("pets", "ann")
        made.texts("pets", 2)
        leasing = made.service.leasing
        one, two = leasing.next("pets", "ann", 2)[0]
        leasing.answer("pets", "ann", one.lease, "dog")
        made.managing.change_schema("pets", [Change("merge", "dog", into="cat")], "boss")
        leasing.answer("pets", "ann", two.lease, "dog")
        with made.service.book.reading("pets") as state:
            first, second = (state.items[t.item].answers["ann"] for t in (one, two))
            assert [(a.value, a.schema) for a in (first, second)] == [("dog", 1), ("cat", 2)]
            assert state.counted(first.value) == "cat"


def test_members_are_invited_changed_and_removed(tmp_path):
    with desk(tmp_path) as made:
        made.project()
        managing = made.managing
        told = managing.invite("pets", NewMember("ann", ["annotator", "annotator"], ["b", "a"]), "boss")
        assert told.state == "invited" and told.code is not None
        # Who lost the code is invited again; the old one is good no more.
        again = managing.invite("pets", NewMember("ann", ["annotator"], ["a", "b"]), "boss")
        made.accounts.join(again.code, PASSWORD)
        made.service.joined("ann")
        with pytest.raises(IncompatibleError):
            managing.invite("pets", NewMember("ann", ["annotator"]), "boss")
        member = managing.change_member("pets", "ann", MemberSettings(roles=["reviewer"], restricted="rest"), "boss")
        assert (member.roles, member.skills, member.restricted) == (["reviewer"], ["a", "b"], "rest")
        managing.change_member("pets", "ann", MemberSettings(removed=True), "boss")
        assert made.service.roles("pets", "ann") == []
        for name in ("ann", "nobody"):
            with pytest.raises(NotFoundError):
                managing.change_member("pets", name, MemberSettings(), "boss")
        # Back again, with the account they have.
        told = managing.invite("pets", NewMember("ann", ["annotator"]), "boss")
        assert (told.state, told.code, made.service.roles("pets", "ann")) == ("joined", None, ["annotator"])
        for wrong in (
            NewMember("bob", []),
            NewMember("Bob", ["annotator"]),
            NewMember("bob", ["annotator"], ["x" * 51]),
        ):
            with pytest.raises((RequestError, DeclarationError)):
                managing.invite("pets", wrong, "boss")
        assert "bob" not in {m.member for m in made.kept("pets") if hasattr(m, "member")}


def test_no_manager_gets_a_code_that_opens_what_is_not_theirs(tmp_path):
    """Whoever has a code is the name: also in the projects of others that the name was invited into, or is in."""
    with desk(tmp_path) as made:
        made.project("pets")
        made.project("evil", by="max")
        managing, accounts = made.managing, made.accounts
        zoes = managing.invite("pets", NewMember("zoe", ["annotator"]), "boss").code
        makers = accounts.invite("kim", maker=True)
        for name in ("zoe", "kim"):
            told = managing.invite("evil", NewMember(name, ["annotator"]), "max")
            assert (told.state, told.code) == ("invited", None)
        assert accounts.join(zoes, PASSWORD) == "zoe" and accounts.join(makers, PASSWORD) == "kim"
        assert accounts.is_maker("kim")
        for name in ("zoe", "kim"):
            made.service.joined(name)
        assert made.service.roles("pets", "kim") == []
        # Nor after the account was revoked, nor once an invitation is too old, nor where the keys were lost.
        accounts.remove("zoe")
        for project in ("evil", "third"):
            if project == "third":
                made.project("third", by="max")
            told = _code_or_refusal(managing, project, "zoe")
            assert told is None
        accounts._file.unlink()
        made.project("fourth", by="max")
        assert _code_or_refusal(managing, "fourth", "zoe") is None


def _code_or_refusal(managing, project, name):
    try:
        return managing.invite(project, NewMember(name, ["annotator"]), "max").code
    except IncompatibleError:
        return None


def test_a_project_with_a_key_that_is_refused_today_still_has_its_instructions_changed(tmp_path):
    with desk(tmp_path) as made:
        made.project()
        with made.service.book.reading("pets") as state:
            now = state.now
        old = msgspec.structs.replace(now.schema, version=2, classes=(LabelClass("cat", "cat", hotkey="s"),))
        made.service.record("pets", msgspec.structs.replace(now, schema=old, revision=now.revision + 1))
        stands = made.managing.settle("pets", Settings(instructions="look twice"), "boss")
        assert (stands.schema.instructions, stands.schema.classes) == ("look twice", old.classes)

"""What Label Studio's webhooks tell becomes answers: once each, in whatever order they come."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from connectors.kafka import KafkaLog
from serving.labelling import label_studio_hook
from serving.labelling.label_config import control
from serving.labelling.label_studio_hook import Hook, Webhook
from tests.serving.helpers import until
from tests.serving.labelling.project import desk, until_known
from tests.serving.labelling.studio import (
    PETS,
    Model,
    backend,
    created,
    deleted,
    heard,
    moment,
    pets,
    standing,
    together,
)  # fmt: skip
from tidemill.errors import RequestError
from tidemill.label_events import AnswerGiven, AnswerWithdrawn, LabelAsked, MemberChanged


def test_annotations_become_answers_and_come_again_as_one(tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, (first, second) = pets(made)

        def hook(body: dict) -> dict:
            answer = client.post(f"/{project}/webhook", json=body)
            assert answer.status_code == 201, answer.text
            return answer.json()

        for _ in range(2):
            assert hook(created(first, "cat")) == {"answers": 1}
        (given,) = made.kept(project, AnswerGiven)
        assert (given.about, given.by, given.value, given.seconds) == (first, "label-studio-1", "cat", 37.13)
        assert [m.member for m in made.kept(project, MemberChanged)][-1] == "label-studio-1"
        hook(created(first, "dog", annotation=18, by={"id": 2, "email": "x@example.org"}))
        assert standing(made, project, first) == {"label-studio-1": "cat", "label-studio-2": "dog"}
        # Changed and changed back: the last one counts, also where an earlier one is delivered again.
        for at_second, value in ((49, "dog"), (50, "cat"), (49, "dog")):
            at = f"2021-08-17T13:52:{at_second}Z"
            hook({**created(first, value, at=at), "action": "ANNOTATION_UPDATED"})
        assert standing(made, project, first)["label-studio-1"] == "cat"
        assert hook(deleted(17, 99)) == {"withdrawn": 1}
        assert hook(deleted(17)) == {"withdrawn": 0}
        assert standing(made, project, first) == {"label-studio-2": "dog"}
        hook(created(second, "dog", annotation=30))
        hook(
            {
                **created(second, annotation=30, at="2021-08-17T13:53:00Z", was_cancelled=True, result=[]),
                "action": "ANNOTATION_UPDATED",
            }
        )
        assert standing(made, project, second) == {}
        assert len(made.kept(project, AnswerWithdrawn)) == 2
        assert hook({"action": "TASKS_CREATED", "tasks": []}) == {"ignored": "TASKS_CREATED"}


def test_an_older_webhook_never_overwrites_a_newer_one(tmp_path):
    """They come in any order, and after a restart too."""
    with desk(tmp_path) as made:
        project, (first, *_) = pets(made)

        def standing():
            with made.service.book.reading(project) as state:
                return {by: a.value for by, a in state.items[first].answers.items()}

        def at(second):
            return f"2021-08-17T13:52:{second:02}.5+02:00"

        with backend(made, Model("cat")) as client:

            def hook(body):
                answer = client.post(f"/{project}/webhook", json=body)
                assert answer.status_code == 201, answer.text
                return answer.json()

            assert hook(created(first, "dog", at=at(20))) == {"answers": 1}
            assert hook(created(first, "cat", at=at(10))) == {"answers": 0}
            assert hook(created(first, "cat", at="2021-08-17T11:52:19Z")) == {"answers": 0}  # the same in UTC
            assert standing() == {"label-studio-1": "dog"}
            # Another annotation of theirs, which is older.
            assert hook(created(first, "cat", annotation=16, at=at(15))) == {"answers": 0}
            assert hook(created(first, "cat", at=at(15), was_cancelled=True)) == {"answers": 0}
            assert standing() == {"label-studio-1": "dog"}
            assert hook(created(first, "cat", at=at(40), was_cancelled=True)) == {"answers": 0}
            assert hook(created(first, "cat", at=at(30))) == {"answers": 0}
            assert standing() == {}
            assert hook(created(first, "cat", at=at(50))) == {"answers": 1}
        with backend(made, Model("cat")) as client:
            assert hook(created(first, "dog", at=at(45))) == {"answers": 0}
            assert standing() == {"label-studio-1": "cat"}
            assert hook(deleted(17)) == {"withdrawn": 1} and hook(deleted(17, 99)) == {"withdrawn": 0}
            assert hook(created(first, "dog", at=at(45))) == {"answers": 0} and standing() == {}


def test_an_annotation_of_which_the_deletion_came_first_is_no_answer(tmp_path):
    """Thousands that were created take longer than their deletion, which does not wait for them."""
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, (first, _) = pets(made)
        assert client.post(f"/{project}/webhook", json=deleted(17)).json() == {"withdrawn": 0}
        assert client.post(f"/{project}/webhook", json=created(first, "cat")).json() == {"answers": 0}
        assert client.post(f"/{project}/webhook", json=created(first, "cat", annotation=18)).json() == {"answers": 1}
        assert [a.id.split("-")[2] for a in made.kept(project, AnswerGiven)] == ["18"]


def test_an_item_that_label_studio_alone_knows_is_known_here_and_asked_of_nobody(tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, _ = pets(made)
        body = created("only-there", "dog")
        assert client.post(f"/{project}/webhook", json=body).status_code == 201
        with made.service.book.reading(project) as state:
            item = state.items["only-there"]
            assert item.asked.closed and item.asked.payload == {"text": "x"}
            assert "only-there" not in [about for *_, about in state.open]
            assert item.answers["label-studio-1"].value == "dog"


def test_an_item_of_which_an_answer_is_all_that_is_known_is_shown_by_its_task(tmp_path):
    with desk(tmp_path) as made, backend(made, model := Model("cat")) as client:
        project, _ = pets(made)
        imported = AnswerGiven(id="a", time=1, about="imported", by="label-studio-9", value="dog")
        made.service.book.append(project, [imported])
        task = {"id": 19, "data": {"id": "imported", "text": "x"}}
        client.post(f"/{project}/predict", json={"tasks": [task], "label_config": PETS}).raise_for_status()
        assert model.asked[0].payload == {"text": "x"}
        assert client.post(f"/{project}/webhook", json=created("imported", "cat")).status_code == 201
        with made.service.book.reading(project) as state:
            item = state.items["imported"]
            assert (item.outside, item.asked.payload) == (True, {"text": "x"})
            assert {by: a.value for by, a in item.answers.items()} == {"label-studio-9": "dog", "label-studio-1": "cat"}


@pytest.mark.parametrize(
    ("result", "status"),
    [
        ([], 201),  # as it is sent after the choice was taken back
        ([{"from_name": "note", "to_name": "t", "type": "textarea", "value": {"text": ["?"]}}], 201),
        ([{"from_name": "pet", "to_name": "t", "type": "choices", "value": {"choices": ["cow"]}}], 400),
    ],
)
def test_an_annotation_that_was_changed_says_no_more_what_it_said(tmp_path, result, status):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, (first, _) = pets(made)

        def hook(body):
            return client.post(f"/{project}/webhook", json=body)

        def standing():
            with made.service.book.reading(project) as state:
                return [a.value for a in state.items[first].answers.values()]

        def at(second):
            return f"2021-08-17T13:52:{second:02}Z"

        assert hook(created(first, "cat", at=at(10))).json() == {"answers": 1} and standing() == ["cat"]
        changed = {**created(first, at=at(30), result=result), "action": "ANNOTATION_UPDATED"}
        for _ in range(2):
            answer = hook(changed)
            assert answer.status_code == status and answer.json().get("answers", 0) == 0 and standing() == []
        (gone,) = made.kept(project, AnswerWithdrawn)
        assert (gone.about, gone.by) == (first, "label-studio-1")
        assert hook(created(first, "dog", at=at(20))).json() == {"answers": 0} and standing() == []
        assert hook(created(first, "dog", at=at(40))).json() == {"answers": 1} and standing() == ["dog"]


def test_as_many_come_in_one_call_as_label_studio_sends(tmp_path):
    """`Create Annotations From Predictions` and `Delete Annotations` name all tasks at once."""
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, _ = pets(made)
        some = [created("", "cat", annotation=n, task=n, lead_time=None) for n in range(1, 602)]
        whole = together(*some)
        assert client.post(f"/{project}/webhook", json=whole).json() == {"answers": 601}
        assert client.post(f"/{project}/webhook", json=deleted(*range(1, 602))).json() == {"withdrawn": 601}


def test_one_annotation_that_is_refused_keeps_none_of_the_others(tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, (first, second) = pets(made)
        good, bad, more = (
            created(about, choice, annotation=n, task=n)
            for n, (about, choice) in enumerate([(first, "cat"), (first, "cow"), (second, "dog")], 1)
        )
        whole = together(good, bad, more)
        answer = client.post(f"/{project}/webhook", json=whole)
        assert answer.status_code == 400 and "1 of 3 annotations are refused" in answer.json()["error"]
        assert {a.about for a in made.kept(project, AnswerGiven)} == {first, second}


MALFORMED = (
    ({"annotation": None}, "not what a webhook sends"),
    ({"annotation": 7}, "not what a webhook sends"),
    ({"project": None}, "no configuration"),
    ({"task": {"id": 19}}, "no data"),
    ({"task": [{"id": 3, "data": {}}, {"id": 4, "data": {}}]}, "task is missing"),
    ({"completed_by": "admin"}, "not a number"),
    ({"completed_by": True}, "not a number"),
    ({"completed_by": -1}, "not a number"),
    ({"id": "17"}, "not a number"),
    ({"id": 1 << 63}, "not a number"),
    ({"task": {"id": 20, "data": {"text": "x"}}}, "task is missing"),
    ({"result": [{}]}, "not one class"),
)


def test_a_malformed_call_is_refused_and_nothing_is_written(tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, (first, _) = pets(made)
        for change, says in MALFORMED:
            inner = {k: v for k, v in change.items() if k in ("completed_by", "id", "result")}
            body = {**created(first, "cat"), **{k: v for k, v in change.items() if k not in inner}}
            if inner:
                body["annotation"] = {**body["annotation"], **inner}
            answer = client.post(f"/{project}/webhook", json=body)
            assert answer.status_code == 400 and says in answer.json()["error"], (change, answer.text)
        assert made.kept(project, AnswerGiven) == []


def test_a_closed_project_takes_no_answers(tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, (first, _) = pets(made)
        made.managing.close(project, "boss")
        assert client.post(f"/{project}/webhook", json=created(first, "cat")).status_code == 409


def test_an_answer_is_of_the_time_of_its_annotations_change(tmp_path):
    """So the later stands whoever takes which, and an import of the same says the same."""
    with desk(tmp_path) as made:
        _, (first, second) = pets(made)
        heard(made, created(first, "cat", at="2021-08-17T13:52:48.5+02:00"))
        ahead = made.clock.now() + 3_600_000_000
        heard(made, created(second, "dog", annotation=18, at=moment(ahead)))
        old, new = made.kept("pets", AnswerGiven)
        assert old.time == 1_629_201_168_500_000 and ahead - 3_600_000_000 <= new.time <= made.clock.now()


@pytest.mark.parametrize("processes", [1, 2])
def test_of_two_changes_at_one_moment_the_later_stands(processes, tmp_path, kafka, fresh):
    """Thirty annotators on one Kafka, each of whom makes an annotation and changes it at once. One process gets by
    with a clock that is an hour behind Label Studio's, several with the same time."""
    name, people = fresh("pets"), range(1, 31)
    with contextlib.ExitStack() as stack:
        desks = []
        for n in range(processes):
            log = KafkaLog({"bootstrap.servers": kafka})
            stack.callback(log.close)
            desks.append(stack.enter_context(desk(tmp_path / str(n), log=log)))
        desks[0].account("boss", maker=True)
        desks[0].project(name)
        for made in desks:
            until_known(made, name)
        hooks = [Hook(made.service) for made in desks]
        now = desks[0].clock.now() + (3_600_000_000 if processes == 1 else -1_000_000)
        start = threading.Barrier(2 * len(people))

        def work(who, change):
            choice = ("cat", "dog")[change]
            call = created("i", choice, annotation=who, by=who, at=moment(now + change))
            start.wait()
            hooks[change % processes].heard(name, msgspec.convert(call, Webhook))

        with ThreadPoolExecutor(2 * len(people)) as pool:
            for done in [pool.submit(work, who, change) for who in people for change in (1, 0)]:
                done.result()
        wanted = {f"label-studio-{who}": "dog" for who in people}
        for made in desks:
            until(lambda made=made: standing(made, name, "i") == wanted, 30)


def test_a_deletion_waits_for_what_is_being_taken(tmp_path, monkeypatch):
    """A change that was judged before it was known is written after it."""
    with desk(tmp_path) as made:
        _, (first, _) = pets(made)
        hook, append, gone = Hook(made.service), made.service.book.append, []
        with made.service.book.reading("pets") as state:
            asked = state

        def late(project, events):
            if any(isinstance(event, AnswerGiven) for event in events):
                gone.append(threading.Thread(target=lambda: heard(made, deleted(17), hook)))
                gone[-1].start()
                until(lambda: hook._seen.older(asked, 17, 1_629_201_169_000_000), 10)
            append(project, events)

        monkeypatch.setattr(made.service.book, "append", late)
        heard(made, created(first, "cat"), hook)
        gone[0].join(30)
        assert standing(made, "pets", first) == {}


def test_a_question_that_is_asked_meanwhile_stays_open(tmp_path, monkeypatch):
    with desk(tmp_path) as made:
        pets(made)
        append = made.service.book.append

        def late(project, events):
            monkeypatch.undo()
            append(project, [LabelAsked(id="q", time=1, about="there", payload={"text": "x"}, priority=3.0)])
            append(project, events)

        monkeypatch.setattr(made.service.book, "append", late)
        heard(made, created("there", "cat"))
        with made.service.book.reading("pets") as state:
            item = state.items["there"]
            assert (item.outside, item.asked.closed, item.asked.priority, len(item.answers)) == (False, False, 3.0, 1)


def test_a_skipped_annotation_takes_back_no_other(tmp_path):
    with desk(tmp_path) as made:
        _, (first, _) = pets(made)
        heard(made, created(first, "cat", annotation=1, at="2021-08-17T13:00:00Z"))
        for n, (result, more) in enumerate([([], {"was_cancelled": True}), ([], {})]):
            heard(made, created(first, annotation=2 + n, at=f"2021-08-17T13:01:0{n}Z", result=result, **more))
        assert standing(made, "pets", first) == {"label-studio-1": "cat"} and made.kept("pets", AnswerWithdrawn) == []
        heard(made, created(first, annotation=1, at="2021-08-17T13:02:00Z", was_cancelled=True))
        assert standing(made, "pets", first) == {}


def test_a_number_that_a_deleted_annotation_had_is_another_one_also_by_a_clock_behind(tmp_path):
    with desk(tmp_path) as made:
        _, (first, second) = pets(made)
        hook, behind = Hook(made.service), 3_000_000
        heard(made, created(first, "cat", annotation=1, at=moment(made.clock.now() - behind)), hook)
        assert heard(made, deleted(1), hook) == {"withdrawn": 1}
        assert heard(made, created(second, "dog", annotation=1, at=moment(made.clock.now() - behind)), hook) == {
            "answers": 1
        }
        assert standing(made, "pets", second) == {"label-studio-1": "dog"}


@pytest.mark.parametrize("change", [{"restricted": "too quick"}, {"state": "removed"}])
def test_who_is_restricted_or_removed_answers_no_more_there_either(change, tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        _, (first, second) = pets(made)

        def hook(body, status):
            answer = client.post("/pets/webhook", json=body)
            assert answer.status_code == status, answer.text
            return answer.json()

        hook(created(first, "cat", annotation=1), 201)
        with made.service.book.reading("pets") as state:
            member = state.members["label-studio-1"]
        made.service.record("pets", msgspec.structs.replace(member, **change))
        assert "may not answer" in hook(created(second, "dog", annotation=2), 409)["error"]
        both = together(created(second, "dog", annotation=2), created(second, "dog", annotation=3, by=2, task=20))
        assert "1 of 2" in hook(both, 400)["error"]
        assert (standing(made, "pets", first), standing(made, "pets", second)) == (
            {"label-studio-1": "cat"}, {"label-studio-2": "dog"},
        )  # fmt: skip
        # What they change they say no more, as in the pages here.
        hook(created(first, "dog", annotation=1, at="2021-08-17T14:00:00Z"), 409)
        assert standing(made, "pets", first) == {}
        made.service.record("pets", member)
        hook(created(second, "dog", annotation=2), 201)
        assert standing(made, "pets", second) == {"label-studio-1": "dog", "label-studio-2": "dog"}


def test_annotations_are_of_the_tasks_whose_numbers_they_carry(tmp_path):
    with desk(tmp_path) as made:
        _, (first, second) = pets(made)
        one, other = created(first, "cat", annotation=1, task=7), created(second, "dog", annotation=2, task=8)
        whole = together(one, other)
        assert heard(made, {**whole, "task": whole["task"][::-1]}) == {"answers": 2}
        assert (standing(made, "pets", first), standing(made, "pets", second)) == (
            {"label-studio-1": "cat"}, {"label-studio-1": "dog"},
        )  # fmt: skip
        # By their places only where they carry none.
        unnumbered = [{**one, "updated_at": "2021-08-17T14:00:00Z", "task": None} for one in whole["annotation"]]
        assert heard(made, {**whole, "annotation": unnumbered}) == {"answers": 2}
        with pytest.raises(RequestError, match="2 of 2"):
            heard(made, {**whole, "annotation": unnumbered, "task": whole["task"][:1]})


def test_the_configuration_of_a_call_is_read_once_and_keeps_nobody_waiting(tmp_path, monkeypatch):
    with desk(tmp_path) as made:
        _, (first, _) = pets(made)
        read = []

        def slow(text, schema):
            others = threading.Thread(target=lambda: made.service.roles("pets", "boss"))
            others.start()
            others.join(10)
            read.append(others.is_alive())
            return control(text, schema)

        monkeypatch.setattr(label_studio_hook, "control", slow)
        heard(made, together(*(created(first, "cat", annotation=n, by=n, task=n) for n in range(1, 6))))
        assert read == [False] and len(standing(made, "pets", first)) == 5

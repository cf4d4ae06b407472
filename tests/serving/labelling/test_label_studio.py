"""Label Studio's ML backend, asked over HTTP as Label Studio asks: pre-labels go out, answers come in, nothing is
fetched."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.labelling.label_studio import Asker, Guess, LabelStudioDoor, NoModel
from serving.labelling.uploads import NewItem, NewItems
from tests.serving.helpers import serving
from tests.serving.labelling.project import Desk, desk, png
from tests.serving.labelling.test_label_config import BOXES, CELLS
from tidemill.label_events import AnswerGiven, AnswerWithdrawn, LabelSchema, MemberChanged

KEY = "0123456789abcdef-one"
PETS = """<View><Text name="t" value="$text"/><Choices name="pet" toName="t">
<Choice value="cat"/><Choice value="dog"/></Choices></View>"""


class Model:
    """A model that takes everything for one thing, and remembers what it was asked."""

    def __init__(self, value: object, confidence: float | None = 0.8) -> None:
        self.guess = Guess(value, confidence)
        self.asked: list[object] = []

    def version(self, project: str) -> str:
        return f"{project}@7"

    def ask(self, project, schema, questions):
        self.asked += questions
        return [self.guess for _ in questions]


@contextlib.contextmanager
def backend(made: Desk, model: Asker, **options) -> Iterator[httpx.Client]:
    door = LabelStudioDoor(made.service, model, keys=[KEY], **options)
    with serving(door) as url, httpx.Client(base_url=url, auth=("anybody", KEY), timeout=30) as client:
        yield client
    door.close()


def cells(made: Desk) -> str:
    made.account("boss", maker=True)
    schema = LabelSchema(kind="boxes", medium="image", classes=tuple(c for c in CELLS if not c.into))
    return made.project("cells", schema=schema)


def pets(made: Desk) -> tuple[str, list[str]]:
    made.account("boss", maker=True)
    project = made.project("pets")
    return project, made.texts(project, 2)


def image(made: Desk, project: str) -> tuple[str, str]:
    """The id and digest of a stored image, 40 by 20 pixels."""
    import base64

    data = base64.b64encode(png(40, 20, b"".join(b"\0" + bytes(40) for _ in range(20)))).decode()
    (id,) = made.uploads.add(project, NewItems([NewItem(id="cell-1", media=data)]))["added"]
    with made.service.book.reading(project) as state:
        return id, state.items[id].asked.media


def created(about: str, *choices: str, annotation: int = 17, by=1, at="2021-08-17T13:52:48.536370Z", **more) -> dict:
    """A webhook's call, in the fields that Label Studio 1.x sends."""
    result = [{"value": {"choices": list(choices)}, "id": "W", "from_name": "pet", "to_name": "t", "type": "choices"}]
    return {
        "action": "ANNOTATION_CREATED",
        "annotation": {
            "id": annotation, "result": result, "was_cancelled": False, "ground_truth": False, "created_at": at,
            "updated_at": at, "lead_time": 37.13, "prediction": {}, "result_count": 0, "task": 19, "completed_by": by,
            **more,
        },
        "task": {"id": 19, "data": {"id": about, "text": "x"}, "project": 2},
        "project": {"id": 2, "title": "Pets", "label_config": PETS},
    }  # fmt: skip


def deleted(*annotations: int) -> dict:
    named = [{"id": one} for one in annotations]
    return {"action": "ANNOTATIONS_DELETED", "annotations": named, "project": {"id": 2, "label_config": PETS}}


def test_only_who_shows_a_key_is_answered_and_basic_authentication_will_do(tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        assert client.get("/pets/health").json()["status"] == "UP"
        for header in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
            assert httpx.get(f"{client.base_url}/health", headers=header).status_code == 200
        for auth in (None, ("", "wrong"), (KEY, ""), (KEY, "wrong")):
            assert httpx.get(f"{client.base_url}/health", auth=auth).status_code == 401
        for text in (b"Basic", b"Basic !!!", b"Basic \xff"):
            assert httpx.get(f"{client.base_url}/health", headers={b"authorization": text}).status_code == 401


def test_setup_says_which_model_answers_and_what_does_not_fit(tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        pets(made)
        asked = {"project": "2.1629208166", "schema": PETS, "hostname": "http://127.0.0.1:1", "access_token": "secret"}
        assert client.post("/pets/setup", json=asked).json() == {"model_version": "pets@7"}
        wrong = client.post("/pets/setup", json={**asked, "schema": BOXES.replace("Choices", "Other")})
        assert wrong.status_code == 400 and "no control for this project" in wrong.json()["error"]
        assert client.post("/nobody/setup", json=asked).status_code == 404
        assert client.post("/setup", json=asked).status_code == 400
        assert "secret" not in "".join(p.read_text(errors="replace") for p in tmp_path.rglob("*") if p.is_file())


def test_a_backend_of_one_project_needs_no_name(tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat"), default="pets") as client:
        pets(made)
        assert client.post("/setup", json={"schema": PETS}).json() == {"model_version": "pets@7"}


def test_pre_labels_are_the_live_models(tmp_path):
    model = Model([["rbc", 10, 5, 20, 10]])
    with desk(tmp_path) as made, backend(made, model) as client:
        project = cells(made)
        id, digest = image(made, project)
        path = f"/api/projects/{project}/media/{digest}"
        tasks = [
            {"id": i, "data": {"image": source, **more}, "annotations": [], "predictions": []}
            for i, (source, more) in enumerate([(digest, {}), (path, {}), ("http://10.0.0.1/x.png", {"id": id})])
        ]
        asked = {
            "tasks": tasks, "model_version": None, "project": "2.1629208166", "label_config": BOXES,
            "params": {"login": None, "password": None, "context": None},
        }  # fmt: skip
        answer = client.post("/cells/predict", json=asked).json()
        assert answer["model_version"] == "cells@7" and len(answer["results"]) == 3
        for one in answer["results"]:
            (region,) = one["result"]
            assert one["score"] == 0.8 and one["model_version"] == "cells@7"
            assert (region["from_name"], region["to_name"], region["type"]) == ("box", "img", "rectanglelabels")
            assert region["value"] == {
                "x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["Red cell"],
            }  # fmt: skip
        assert [(q.item, q.media, q.size) for q in model.asked] == [(id, digest, (40, 20))] * 3


def test_of_what_the_model_says_nothing_there_is_no_prediction(tmp_path):
    """An empty one would be kept as such, and in a project of boxes it says that there are none."""
    model = Model("cat")
    model.guess = None
    with desk(tmp_path) as made, backend(made, model) as client:
        pets(made)
        asked = {"tasks": [{"id": 1, "data": {"text": "x"}}], "label_config": PETS, "params": {"context": None}}
        assert client.post("/pets/predict", json=asked).json()["results"] == [[]]
        asked["params"] = {"context": {"result": [], "textarea": None}}  # an annotator waits for it
        empty = {"result": [], "score": 0.0, "model_version": "pets@7"}
        assert client.post("/pets/predict", json=asked).json()["results"] == [empty]
        assert client.post("/pets/predict", json={**asked, "tasks": []}).json()["results"] == []


def test_one_task_that_is_not_ours_keeps_no_other_from_a_prediction(tmp_path):
    """Label Studio asks for all at once, those of its own uploads too."""
    with desk(tmp_path) as made, backend(made, model := Model([["rbc", 10, 5, 20, 10]])) as client:
        project = cells(made)
        id, _ = image(made, project)
        data = [{"image": "/data/upload/3/e837f5aa-p2.png"}, {"id": id, "image": "https://example.org/p.png"}]
        asked = {"tasks": [{"id": i, "data": one} for i, one in enumerate(data)], "label_config": BOXES}
        first, second = client.post("/cells/predict", json=asked).json()["results"]
        assert first == [] and second["score"] == 0.8 and [q.item for q in model.asked] == [id]


def test_what_there_is_no_time_for_is_left_for_the_next_call(tmp_path):
    with desk(tmp_path) as made, backend(made, model := Model("cat"), patience=0.0) as client:
        pets(made)
        asked = {"tasks": [{"id": i, "data": {"text": f"{i}"}} for i in range(600)], "label_config": PETS}
        results = client.post("/pets/predict", json=asked).json()["results"]
        told = [one for one in results if one]
        assert len(results) == 600 and 0 < len(told) == len(model.asked) < 600 and results[: len(told)] == told


def test_the_versions_that_can_be_asked_are_told(tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        assert client.get("/pets/versions").json() == {"versions": ["pets@7"]}
    with desk(tmp_path / "none") as made, backend(made, NoModel()) as client:
        assert client.get("/pets/versions").json() == {"versions": []}


ADDRESSES = (
    "http://127.0.0.1:{port}/secret.png",
    "http://[::1]:{port}/x",
    "http://169.254.169.254/latest/meta-data",
    "//127.0.0.1:{port}/x",
    "file:///etc/passwd",
    "/data/local-files/?d=../../etc/passwd",
    "/api/projects/other/media/" + "0" * 64,
    "/api/projects/cells/media/../../me",
    "http://127.0.0.1:{port}/api/projects/cells/media/" + "0" * 64,
    "0" * 64,
    "s3://bucket/x",
    "data:image/png;base64,AAAA",
    None,
    ["x"],
)


def test_an_address_is_refused_and_never_asked(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as trap, desk(tmp_path) as made:
        trap.setblocking(False)
        with backend(made, model := Model([])) as client:
            cells(made)
            for source in ADDRESSES:
                text = source.format(port=trap.getsockname()[1]) if isinstance(source, str) else source
                task = {"id": 1, "data": {"image": text}}
                refused = client.post("/cells/predict", json={"tasks": [task], "label_config": BOXES})
                assert refused.status_code == 400 and "nothing is fetched" in refused.json()["error"], source
                assert refused.json()["field"] == "tasks[0].data.image"
                hook = {**created("", annotation=1), "task": task, "project": {"label_config": BOXES}}
                assert client.post("/cells/webhook", json=hook).status_code == 400
            assert model.asked == [] and made.kept("cells", AnswerGiven) == []
        with pytest.raises(BlockingIOError):
            trap.accept()


def test_annotations_become_answers_and_come_again_as_one(tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, (first, second) = pets(made)

        def hook(body: dict) -> dict:
            answer = client.post(f"/{project}/webhook", json=body)
            assert answer.status_code == 201, answer.text
            return answer.json()

        def standing(about: str) -> dict:
            with made.service.book.reading(project) as state:
                return {by: answer.value for by, answer in state.items[about].answers.items()}

        for _ in range(2):
            assert hook(created(first, "cat")) == {"answers": 1}
        (given,) = made.kept(project, AnswerGiven)
        assert (given.about, given.by, given.value, given.seconds) == (first, "label-studio-1", "cat", 37.13)
        assert [m.member for m in made.kept(project, MemberChanged)][-1] == "label-studio-1"
        hook(created(first, "dog", annotation=18, by={"id": 2, "email": "x@example.org"}))
        assert standing(first) == {"label-studio-1": "cat", "label-studio-2": "dog"}
        # Changed and changed back: the last one counts, also where an earlier one is delivered again.
        for at_second, value in ((49, "dog"), (50, "cat"), (49, "dog")):
            at = f"2021-08-17T13:52:{at_second}Z"
            hook({**created(first, value, at=at), "action": "ANNOTATION_UPDATED"})
        assert standing(first)["label-studio-1"] == "cat"
        assert hook(deleted(17, 99)) == {"withdrawn": 1}
        assert hook(deleted(17)) == {"withdrawn": 0}
        assert standing(first) == {"label-studio-2": "dog"}
        hook(created(second, "dog", annotation=30))
        hook(
            {
                **created(second, annotation=30, at="2021-08-17T13:53:00Z", was_cancelled=True, result=[]),
                "action": "ANNOTATION_UPDATED",
            }
        )
        assert standing(second) == {}
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
        some = [created("", "cat", annotation=n, lead_time=None) for n in range(1, 602)]
        whole = {
            **some[0], "action": "ANNOTATIONS_CREATED", "annotation": [b["annotation"] for b in some],
            "task": [{"id": n, "data": {"text": f"{n}"}} for n, _ in enumerate(some)],
        }  # fmt: skip
        assert client.post(f"/{project}/webhook", json=whole).json() == {"answers": 601}
        assert client.post(f"/{project}/webhook", json=deleted(*range(1, 602))).json() == {"withdrawn": 601}


def test_one_annotation_that_is_refused_keeps_none_of_the_others(tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, (first, second) = pets(made)
        good, bad, more = (
            created(a, c, annotation=n) for a, c, n in ((first, "cat", 1), (first, "cow", 2), (second, "dog", 3))
        )
        whole = {
            **good, "action": "ANNOTATIONS_CREATED", "annotation": [b["annotation"] for b in (good, bad, more)],
            "task": [b["task"] for b in (good, bad, more)],
        }  # fmt: skip
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


def test_a_closed_project_takes_no_answers(tmp_path: Path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, (first, _) = pets(made)
        made.managing.close(project, "boss")
        assert client.post(f"/{project}/webhook", json=created(first, "cat")).status_code == 409

"""Label Studio's ML backend, asked over HTTP as Label Studio asks: pre-labels go out, nothing is fetched."""

import socket
import threading
import tracemalloc

import httpx
import msgspec
import pytest

from serving.labelling import label_studio
from serving.labelling.label_config import control
from serving.labelling.label_studio import NoModel
from tests.serving.labelling.project import desk
from tests.serving.labelling.studio import KEY, PETS, Model, backend, cells, created, image, pets
from tests.serving.labelling.test_label_config import BOXES
from tidemill.label_events import AnswerGiven


def test_only_who_shows_a_key_is_answered_and_basic_authentication_will_do(tmp_path):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        assert client.get("/pets/health").json()["status"] == "UP"
        for header in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
            assert httpx.get(f"{client.base_url}/health", headers=header).status_code == 200
        for auth in (None, ("", "wrong"), (KEY, ""), (KEY, "wrong")):
            assert httpx.get(f"{client.base_url}/health", auth=auth).status_code == 401
        for text in (b"Basic", b"Basic !!!", b"Basic \xff"):
            assert httpx.get(f"{client.base_url}/health", headers={b"authorization": text}).status_code == 401


def test_setup_says_which_model_answers_and_what_does_not_fit(tmp_path, caplog):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        pets(made)
        asked = {"project": "2.1629208166", "schema": PETS, "hostname": "http://127.0.0.1:1", "access_token": "secret"}
        assert client.post("/pets/setup", json=asked).json() == {"model_version": "pets@7"}
        wrong = client.post("/pets/setup", json={**asked, "schema": BOXES.replace("Choices", "Other")})
        assert wrong.status_code == 400 and "no control for this project" in wrong.json()["error"]
        assert client.post("/nobody/setup", json=asked).status_code == 404
        assert client.post("/setup", json=asked).status_code == 400
        assert "secret" not in "".join(p.read_text(errors="replace") for p in tmp_path.rglob("*") if p.is_file())
        assert "secret" not in caplog.text + "".join(map(str, made.kept("pets")))


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


def test_an_item_of_unknown_size_keeps_no_other_from_a_prediction(tmp_path):
    with desk(tmp_path) as made, backend(made, Model([["rbc", 10, 5, 20, 10]])) as client:
        project = cells(made)
        id, _ = image(made, project)
        with made.service.book.reading(project) as state:
            asked = state.items[id].asked
        made.service.book.append(project, [msgspec.structs.replace(asked, id="q", about="sizeless", payload={"a": 1})])
        tasks = [{"id": i, "data": {"id": one}} for i, one in enumerate(("sizeless", id))]
        first, second = client.post("/cells/predict", json={"tasks": tasks, "label_config": BOXES}).json()["results"]
        assert first == [] and second["score"] == 0.8


def test_a_configuration_is_read_while_nobody_else_waits(tmp_path, monkeypatch):
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        project, _ = pets(made)
        waiting = []

        def slow(text, schema):
            others = threading.Thread(target=lambda: made.service.roles(project, "boss"))
            others.start()
            others.join(10)
            waiting.append(others.is_alive())
            return control(text, schema)

        monkeypatch.setattr(label_studio, "control", slow)
        asked = {"tasks": [{"id": 1, "data": {"text": "x"}}], "label_config": PETS}
        assert client.post("/pets/predict", json=asked).json()["results"][0]["score"] == 0.8
        assert waiting == [False]


def test_a_body_of_more_parts_than_there_can_be_tasks_is_refused_before_it_is_read(tmp_path):
    body = b'{"tasks":[' + b"{}," * label_studio.MAX_PARTS + b"{}]}"
    with desk(tmp_path) as made, backend(made, Model("cat")) as client:
        pets(made)
        sent = {"content": body, "headers": {"content-type": "application/json"}}
        tracemalloc.start()
        for way in ("predict", "webhook"):
            refused = client.post(f"/pets/{way}", **sent)
            assert refused.status_code == 413 and "lists and objects" in refused.json()["error"]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * len(body)


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
                hook = created("", annotation=1, task=1, result=[])
                hook |= {"task": task, "project": {"label_config": BOXES}}
                taken = client.post("/cells/webhook", json=hook)
                assert taken.status_code == 400 and "nothing is fetched" in taken.json()["error"], source
            assert model.asked == [] and made.kept("cells", AnswerGiven) == []
        with pytest.raises(BlockingIOError):
            trap.accept()

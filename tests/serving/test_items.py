"""One item in plain JSON at `/score/MODEL`: the image itself, or the digest of what is stored; and what is refused."""

from __future__ import annotations

import base64

import pytest

from serving.encoded import servable_of
from serving.plane import Loaded
from tests.connectors.test_images import bomb
from tests.connectors.tiny_models import brightness, grey, whole_image, words
from tests.serving.helpers import EVENT, Service, client_of, loaded
from tidemill.errors import NotFoundError
from tidemill.state import digest

STORED = {digest(data): data for data in (grey(102), b"one two", b"\xff")}


def media(of: str) -> bytes:
    if of not in STORED:
        raise NotFoundError("nothing is stored there", got=of)
    return STORED[of]


@pytest.fixture(scope="module")
def service():
    service = Service(media=media)
    for name, model in (("brightness", brightness()), ("boxes", whole_image()), ("words", words())):
        service.plane.install(Loaded(name, "3", servable_of(model)))
    service.plane.install(loaded())
    return service


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as client:
        yield client


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_an_image_is_answered_with_classes(client, service):
    answer = client.post("/score/brightness", json={"id": "i1", "image": b64(grey(51))}).json()
    assert (answer["id"], answer["model"], answer["version"], answer["label"]) == ("i1", "brightness", "3", "dark")
    assert answer["classes"] == ["dark", "bright"]
    assert answer["probabilities"] == pytest.approx([0.8, 0.2])
    kept = service.kept[-1]
    assert (kept.about, kept.model, kept.outputs) == ("i1", "brightness", pytest.approx([0.8, 0.2]))
    assert kept.inputs_digest


def test_an_image_is_answered_with_boxes(client):
    answer = client.post("/score/boxes", json={"image": b64(grey(9, 40, 70))}).json()
    assert answer["boxes"] == [["all", 0, 0, 70, 40, pytest.approx(0.9)]]
    nothing = client.post("/score/boxes", json={"image": b64(grey(0))}).json()
    assert nothing["boxes"] == [] and nothing["score"] == 0


def test_an_item_is_named_by_its_digest(client):
    answer = client.post("/score/brightness", json={"media": digest(grey(102))}).json()
    assert answer["probabilities"] == pytest.approx([0.6, 0.4])
    answer = client.post("/score/words", json={"media": digest(b"one two")}).json()
    assert answer["probabilities"] == pytest.approx([0.75, 0.25])


def test_a_text_is_answered(client):
    assert client.post("/score/words", json={"text": "a b c d"}).json()["score"] == pytest.approx(0.5)


def test_an_endpoint_of_a_stream_answers_as_before(client):
    assert client.post("/score/late", json=EVENT).status_code == 200
    assert client.post("/score/late", content=b" " * (2 << 20)).status_code == 413


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"image": 3}, 422),
        ({"image": "no base64!"}, 422),
        ({"image": b64(b"junk")}, 422),
        ({"image": b64(bomb(60_000, 60_000))}, 413),
        ({"image": b64(grey(1)), "media": digest(grey(1))}, 422),
        ({"text": "x"}, 422),
        ({"image": b64(grey(1)), "more": 1}, 422),
        ({"image": b64(grey(1)), "id": "x" * 300}, 422),
        ({"media": "0" * 64}, 422),
        ({"media": "../../etc/passwd"}, 422),
        ({"media": digest(b"one two")}, 422),
        ([], 422),
    ],
)
def test_what_does_not_fit_is_refused(client, body, status):
    refused = client.post("/score/brightness", json=body)
    assert refused.status_code == status and refused.json()["error"], refused.text


def test_what_is_no_json_is_refused(client):
    assert client.post("/score/brightness", content=b"\xff{").status_code == 400
    assert client.post("/score/nothing", json={"image": ""}).status_code == 404
    assert client.post("/score/trips", json={"image": ""}).status_code == 404
    assert client.post("/score/words", json={"media": digest(b"\xff")}).status_code == 422


def test_without_a_store_nothing_is_named_by_digest():
    service = Service()
    service.plane.install(Loaded("brightness", "1", servable_of(brightness())))
    with client_of(service) as client:
        assert client.post("/score/brightness", json={"media": digest(grey(102))}).json()["field"] == "media"

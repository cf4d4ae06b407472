"""Encoded items over the protocol, by a real server: batches of images of different sizes, and what is refused."""

from __future__ import annotations

import base64
import json
import struct

import numpy as np
import pytest

from connectors import sounds
from connectors.encoded_model import EncodedModel
from serving.encoded import EncodedServable, servable_of
from serving.onnx import OnnxServable
from serving.plane import Loaded
from tests.connectors.test_images import bomb
from tests.connectors.test_sounds import COMPRESSED, claiming, compressed, song
from tests.connectors.tiny_models import brightness, grey, loudness, whole_image, words
from tests.serving.helpers import Service, client_of
from tests.serving.test_onnx import onnx_model
from tidemill.errors import TooLargeError
from tidemill.servable import Tensor

MODELS = [("brightness", brightness()), ("boxes", whole_image()), ("words", words()), ("loudness", loudness())]


@pytest.fixture(scope="module")
def client():
    service = Service()
    for name, model in MODELS:
        service.plane.install(Loaded(name, "1", servable_of(model)))
    with client_of(service) as client:
        yield client


def asked(name: str, values: list[str]) -> dict:
    return {"inputs": [{"name": name, "shape": [len(values)], "datatype": "BYTES", "data": values}]}


def outputs(answer) -> dict:
    assert answer.status_code == 200, answer.text
    return {o["name"]: np.array(o["data"]).reshape(o["shape"]) for o in answer.json()["outputs"]}


def test_which_servable_a_model_gets():
    assert isinstance(servable_of(brightness()), EncodedServable)
    assert isinstance(servable_of(onnx_model()), OnnxServable)


def test_images_of_different_sizes_in_one_request(client):
    images = [grey(51, 8, 8), grey(204, 30, 50), grey(102, 500, 3)]
    found = outputs(
        client.post("/v2/models/brightness/infer", json=asked("image", [base64.b64encode(i).decode() for i in images]))
    )
    assert found["class"].tolist() == ["dark", "bright", "dark"]
    offline = EncodedModel(brightness())
    assert found["probabilities"] == pytest.approx(np.array([offline.answer(i) for i in images]), abs=1e-7)


def test_images_in_the_binary_extension(client):
    raw = b"".join(struct.pack("<I", len(i)) + i for i in (grey(51), grey(0)))
    entry = {"name": "image", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [entry]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    found = outputs(client.post("/v2/models/brightness/infer", content=head + raw, headers=headers))
    assert found["probabilities"][:, 1] == pytest.approx([0.2, 0.0], abs=1e-6)


def test_boxes_are_padded_and_counted(client):
    values = [base64.b64encode(i).decode() for i in (grey(9, 40, 70), grey(0))]
    found = outputs(client.post("/v2/models/boxes/infer", json=asked("image", values)))
    assert found["count"].tolist() == [1, 0]
    assert found["boxes"][0, 0].tolist() == pytest.approx([0, 0, 0, 70, 40, 0.9])
    assert (found["boxes"][1] == -1).all()
    assert found["score"].tolist() == pytest.approx([0.9, 0])


def test_texts_are_texts(client):
    found = outputs(client.post("/v2/models/words/infer", json=asked("text", ["one two", ""])))
    assert found["probabilities"][:, 1].tolist() == [0.25, 0]


def test_sounds_of_every_type_are_answered_as_offline_and_a_flac_as_its_wav(client):
    values, offline = song(4_000), EncodedModel(loudness())
    items = [sounds.encoded(values, 16_000), *(compressed(values, *kind, 16_000) for kind in COMPRESSED)]
    body = asked("audio", [base64.b64encode(i).decode() for i in items])
    found = outputs(client.post("/v2/models/loudness/infer", json=body))["probabilities"].astype(np.float32)
    assert (found == np.array([offline.answer(i) for i in items])).all()
    wav, flac, *lossy = found[:, 1]
    assert wav == flac > 0.02 and lossy == pytest.approx([wav] * 3, rel=0.1)


def test_sounds_that_cannot_be_are_refused_by_http(client):
    flac, ogg = (compressed(song(), *COMPRESSED[i]) for i in (0, 1))
    for data, status, says in (
        (claiming(flac, 5 * 3_600 * 8_000), 413, "too long"),
        (flac[:500], 400, "not a sound that is taken"),
        (ogg[:-100], 400, "cut short"),
        (b"PK\3\4" + bytes(100), 400, "WAV of PCM with 8 to 32 bits, FLAC, Ogg"),
    ):
        refused = client.post("/v2/models/loudness/infer", json=asked("audio", [base64.b64encode(data).decode()]))
        assert refused.status_code == status and says in refused.text, refused.text


def test_many_samples_in_one_request_are_refused_before_any_is_decoded(monkeypatch):
    item = compressed(song(6_000), *COMPRESSED[0])
    monkeypatch.setattr("serving.encoded.MAX_SAMPLES", 20_000)
    monkeypatch.setattr(sounds, "samples", None)
    many = np.empty(4, dtype=object)
    many[:] = [item] * 4
    with pytest.raises(TooLargeError, match="samples in one request"):
        EncodedServable(loudness()).predict({"audio": Tensor("audio", many)})


def test_what_does_not_fit_is_refused_and_the_server_goes_on(client):
    whole = grey(3)
    bad = [
        *("no base64!", "", base64.b64encode(b"junk").decode(), base64.b64encode(whole[:50]).decode()),
        base64.b64encode(bomb(50_000, 50_000)).decode(),
        base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(40)).decode(),
    ]
    for value in bad:
        refused = client.post("/v2/models/brightness/infer", json=asked("image", [value]))
        assert refused.status_code in (400, 413), (value[:20], refused.text)
    wrong = {"inputs": [{"name": "image", "shape": [1], "datatype": "UINT8", "data": [3]}]}
    assert client.post("/v2/models/brightness/infer", json=wrong).status_code == 400
    assert outputs(client.post("/v2/models/brightness/infer", json=asked("image", [base64.b64encode(whole).decode()])))


def test_many_pixels_and_items_in_one_request_are_refused():
    servable = EncodedServable(brightness())
    many = np.empty(5, dtype=object)
    many[:] = [bomb(4_096, 4_096)] * 5
    with pytest.raises(Exception, match="pixels in one request"):
        servable.predict({"image": Tensor("image", many)})
    many = np.empty(2_000, dtype=object)
    many[:] = [b""] * 2_000
    with pytest.raises(Exception, match="too many items"):
        servable.predict({"image": Tensor("image", many)})

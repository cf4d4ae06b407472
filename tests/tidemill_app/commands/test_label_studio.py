"""`tidemill labelling label-studio` as a process of its own: Label Studio's calls end on the project's topic."""

import json
import os
import subprocess
import sys

import httpx
import pytest

from tests.house.test_layout import ROOT
from tests.serving.labelling.studio import KEY, PETS, created

pytestmark = pytest.mark.stack


def test_the_backend_hears_annotations_and_a_service_that_follows_the_log_has_them(tidemill, stack, name, tmp_path):
    made = tidemill("labelling", "project", "create", name, "--medium", "text", "--class", "cat", "--class", "dog")
    assert made.code == 0, made.err
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    keys.chmod(0o600)
    command = [sys.executable, "-m", "tidemill_app", "labelling", "label-studio", "--home", str(stack.home.path)]
    process = subprocess.Popen(
        [*command, "--json", "--port", "0", "--project", name, "--api-key-file", str(keys)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        with process.stdout, httpx.Client(base_url=json.loads(process.stdout.readline())["url"], timeout=30) as client:
            assert client.get("/health").status_code == 401
            client.auth = ("label-studio", KEY)
            assert client.get(f"/{name}/health").json()["status"] == "UP"
            assert client.post("/setup", json={"schema": PETS}).json() == {"model_version": ""}
            task = {"tasks": [{"id": 1, "data": {"text": "x"}}], "label_config": PETS}
            assert client.post("/predict", json=task).json()["results"] == [[]]
            assert client.post("/webhook", json=created("i1", "dog")).json() == {"answers": 1}
    finally:
        process.terminate()
        assert process.wait(60) == 0
    (line,) = tidemill("labelling", "export", name).lines
    assert [(a["by"], a["value"], a["seconds"]) for a in line["answers"]] == [("label-studio-1", "dog", 37.13)]


def test_off_loopback_it_wants_keys_and_tls(tidemill, name):
    told = tidemill("labelling", "label-studio", "--host", "0.0.0.0", "--port", 0)
    assert told.code == 2 and "TLS" in told.err
    told = tidemill("labelling", "label-studio", "--port", 0, "--scoring", "http://10.0.0.1:8080")
    assert told.code == 2 and "--scoring" in told.err

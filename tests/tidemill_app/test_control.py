"""The control server: what its routes answer, what it logs, and what it does when there is too much."""

import logging
import threading
from contextlib import nullcontext

import httpx
import pytest

from tests.serving.helpers import serving, until
from tests.tidemill_app.in_memory import memory_platform
from tidemill.engine import EngineKind
from tidemill.errors import UnavailableError
from tidemill_app import control
from tidemill_app.control import ControlDoor
from tidemill_app.job_table import JobFiles
from tidemill_app.tokens import Tokens


@pytest.fixture
def platform(tmp_path):
    made = memory_platform(tmp_path)
    made.jobs().change("j", wanted="stopped", engine="local")
    JobFiles(made.home, "j").write_status({"state": "stopped", "checkpoint_sequence": 7})
    yield made
    made.close()


@pytest.fixture
def token(platform):
    return Tokens(platform.home).create("ops", ["admin"])


@pytest.fixture
def door(platform):
    return ControlDoor(platform.home, lambda: nullcontext(platform))


@pytest.fixture
def client(door, token):
    headers = {"authorization": f"Bearer {token}"}
    with serving(door) as url, httpx.Client(base_url=url, headers=headers, timeout=20) as made:
        yield made


def test_what_is_read(client):
    (row,) = client.get("/api/jobs").json()
    assert (row["job"], row["state"], row["engine"]) == ("j", "stopped", "local")
    assert client.get("/api/jobs/j").json() == row
    unknown = client.get("/api/jobs/k")
    assert (unknown.status_code, unknown.json()["error"]) == (404, "no job 'k'; wanted one of: j. See `tidemill jobs`.")
    assert "exactly_once" in client.get("/api/engines").json()["local"]


@pytest.mark.parametrize("header", [b"Bearer \xff\xfe", "Bearer tök".encode(), b"B\xe9arer x", b"\xff", b"Bearer"])
def test_a_header_that_is_no_ascii_is_a_wrong_token(client, platform, header):
    file = platform.home.keys / "control.json"
    for digest in (None, "\u00e9" * 64):
        if digest is not None:
            file.write_text(file.read_text().replace(Tokens(platform.home).all()[0].sha256, digest))
        refused = client.get("/api/jobs", headers={b"authorization": header})
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")


def test_a_verb_its_wish_and_its_line_in_the_log(client, platform, caplog):
    caplog.set_level(logging.INFO, "tidemill.control")
    assert client.post("/api/jobs/j/stop", json={"wait": 0}).json() == {"job": "j", "state": "to be stopped"}
    assert client.post("/api/jobs/j/start", json={"wait": 0}).json() == {"job": "j", "state": "to be running"}
    assert platform.jobs().get("j").wanted == "running"
    JobFiles(platform.home, "j").write_status({"state": "stopped", "checkpoint_sequence": 7, "reported": 1e12})
    slow = client.post("/api/jobs/j/start", json={"wait": 0.3})
    assert (slow.status_code, slow.headers["retry-after"]) == (503, "1")
    assert client.post("/api/jobs/k/start").status_code == 404
    assert caplog.messages == [
        "accepted: token ops, stop, job j, done",
        "accepted: token ops, start, job j, done",
        "accepted: token ops, start, job j, UnavailableError",
        "refused: token ops, start, job k, NotFoundError",
    ]


def test_what_an_engine_does_not_provide_names_those_that_do(client, platform, monkeypatch):
    from streams.engines.local import LocalEngine
    from tidemill_app import engines, submission

    monkeypatch.setattr(submission, "engines", lambda: {"local": LocalEngine})
    answer = client.post("/api/jobs/j/rescale", json={"parallelism": 2})
    assert (answer.status_code, answer.json()["error"]) == (
        409,
        "job j: engine local does not provide rescale; wanted another engine; none that is installed does",
    )
    assert client.post("/api/jobs/j/rescale").status_code == 400

    class Wide(EngineKind):
        name, provides, options = "wide", frozenset({"rescale"}), frozenset({"parallelism"})

    for module in (submission, engines):
        monkeypatch.setattr(module, "engines", lambda: {"wide": Wide()})
    answer = client.post("/api/jobs/j/rescale", json={"parallelism": 2})
    assert (answer.status_code, answer.json()["error"].partition("; ")[2]) == (409, "wanted one of the engines wide")
    platform.jobs().change("j", wanted="running", engine="wide")
    assert client.post("/api/jobs/j/rescale", json={"parallelism": 2, "wait": 0}).status_code == 200
    assert platform.jobs().get("j").options == {"parallelism": "2"}


def test_a_savepoint_of_a_job_that_does_not_run(client):
    answer = client.post("/api/jobs/j/savepoint", json={})
    assert (answer.status_code, "does not run" in answer.json()["error"]) == (422, True)


def test_whoever_operates_starts_at_a_savepoint_that_the_job_named_and_whoever_submits_at_any(client, platform):
    def start(savepoint, *scopes):
        tokens = Tokens(platform.home)
        text = tokens.create("other", list(scopes))
        try:
            headers = {"authorization": f"Bearer {text}"}
            answer = client.post("/api/jobs/j/start", json={"savepoint": savepoint, "wait": 0}, headers=headers)
        finally:
            tokens.revoke("other")
        return answer.status_code, answer.json()["error"]

    JobFiles(platform.home, "j").write_status({"state": "stopped", "savepoint": "file:///data/savepoint-1"})
    refused = (403, "the token lacks the scope submit, for a savepoint that the job's status does not name")
    assert start("file:///data/savepoint-2", "operate") == refused
    assert start("file:///data/savepoint-1", "submit")[0] == 403
    # Let in, and refused for what the job is.
    for savepoint, scopes in (("file:///data/savepoint-1", ["operate"]), ("s3://x/y", ["operate", "submit"])):
        status, said = start(savepoint, *scopes)
        assert (status, "engine local has no savepoints" in said) == (409, True)


def test_to_delete_topics_is_for_an_admin(client, platform):
    headers = {"authorization": f"Bearer {Tokens(platform.home).create('other', ['operate'])}"}
    refused = client.post("/api/jobs/j/remove", json={"purge": True}, headers=headers)
    assert refused.status_code == 403
    assert refused.json()["error"] == "the token lacks the scope admin, for deleting topics"
    assert platform.jobs().get("j").wanted == "stopped"
    told = client.post("/api/jobs/j/remove", json={"purge": True, "dry": True}, headers=headers)
    assert told.json() == {"job": "j", "deleted": [], "kept": []}
    assert client.post("/api/jobs/j/remove", json={"purge": True}).status_code == 200
    assert platform.jobs().jobs == {}


def test_logs_are_given_and_followed_until_the_token_is_revoked(client, platform, door):
    log = JobFiles(platform.home, "j").log
    log.write_text("one\ntwo\n")
    assert client.get("/api/jobs/j/logs?lines=1").text == "two\n"
    assert client.head("/api/jobs/j/logs?follow=true").status_code == 200
    with client.stream("GET", "/api/jobs/j/logs?follow=true&lines=1") as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        lines = answer.iter_lines()
        assert next(lines) == "two"
        with open(log, "a") as stream:
            stream.write("three\n")
        assert next(lines) == "three"
        Tokens(platform.home).revoke("ops")
        assert list(lines) == []
    until(lambda: door._following == 0)


def test_a_reader_who_goes_away_is_noticed_and_further_ones_wait(client, platform, door, monkeypatch):
    monkeypatch.setattr(control, "FOLLOWERS", 1)
    JobFiles(platform.home, "j").log.write_text("one\n")
    with client.stream("GET", "/api/jobs/j/logs?follow=true") as answer:
        assert next(answer.iter_lines()) == "one"
        refused = client.get("/api/jobs/j/logs?follow=true")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    until(lambda: door._following == 0)


def test_verbs_beyond_the_bound_are_told_to_come_back(platform, token, monkeypatch):
    monkeypatch.setattr(control, "WORKERS", 1)
    inside, go = threading.Event(), threading.Event()

    def opened():
        inside.set()
        assert go.wait(20)
        return nullcontext(platform)

    headers = {"authorization": f"Bearer {token}"}
    with serving(ControlDoor(platform.home, opened)) as url:
        got = []
        waiting = threading.Thread(target=lambda: got.append(httpx.get(url + "/api/jobs", headers=headers, timeout=30)))
        waiting.start()
        assert inside.wait(20)
        second = httpx.get(url + "/api/jobs", headers=headers)
        go.set()
        waiting.join(30)
    assert (second.status_code, second.headers["retry-after"], got[0].status_code) == (429, "5", 200)


def test_brokers_that_are_away_are_503_and_a_fault_of_ours_says_nothing(platform, token, caplog):
    headers = {"authorization": f"Bearer {token}"}

    def away():
        raise UnavailableError("no broker")

    def broken():
        raise ZeroDivisionError("secret of ours")

    for opened, status in ((away, 503), (broken, 500)):
        with serving(ControlDoor(platform.home, opened)) as url:
            answer = httpx.get(url + "/api/jobs", headers=headers)
        assert answer.status_code == status
    assert answer.json() == {"error": "internal error"}


def test_the_interface_describes_itself(client, door):
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {route.path for route in door.routes}
    submit = document["paths"]["/api/jobs"]["post"]
    assert submit["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Submission"}
    assert submit["security"] == [{"bearer": []}]
    assert "security" not in document["paths"]["/health/live"]["get"]
    assert {"Submission", "Bundle", "Submitted", "Rescale", "Error"} <= set(document["components"]["schemas"])
    assert [p["name"] for p in document["paths"]["/api/jobs/{name}/logs"]["get"]["parameters"]] == [
        "name",
        "lines",
        "follow",
    ]
    page = client.get("/docs")
    assert "Tidemill control" in page.text and "default-src 'none'" in page.headers["content-security-policy"]

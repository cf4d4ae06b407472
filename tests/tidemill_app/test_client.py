"""The client: where it sends a token and where not, and what it makes of answers."""

import ast
import inspect
import socket
import textwrap
from contextlib import nullcontext

import pytest

from serving.access import Gatekeeper
from serving.routing import Response, Route, Router, problem
from tests.serving.helpers import serving
from tests.tidemill_app.in_memory import memory_platform
from tidemill.errors import (
    ConfigError,
    IncompatibleError,
    NotFoundError,
    RequestError,
    SubmissionError,
    TidemillError,
    UnavailableError,
)
from tidemill_app import client
from tidemill_app.client import ControlClient
from tidemill_app.control import ControlDoor
from tidemill_app.job_table import JobFiles
from tidemill_app.jobs import Rescale, Start, Stop
from tidemill_app.tokens import Tokens


@pytest.mark.parametrize(
    "url",
    [
        "http://control.example:8090",
        "http://127.0.0.1.example:1",
        "ftp://127.0.0.1",
        "127.0.0.1:8090",
        "https://",
        "https://u:p@h",
    ],
)
def test_a_token_is_not_sent_without_tls_or_nowhere(url):
    with pytest.raises(ConfigError, match="TIDEMILL_CONTROL"):
        ControlClient(url, "t")


@pytest.mark.parametrize("token", ["", "  ", "a\nb", "é"])
def test_what_can_be_no_token_is_said(token):
    with pytest.raises(ConfigError, match="TIDEMILL_CONTROL_TOKEN_FILE"):
        ControlClient("http://127.0.0.1:1", token)


def test_the_example_calls_what_there_is():
    block = textwrap.dedent(client.__doc__.partition("::\n")[2].partition("\nThe job file")[0])
    calls = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    called = {call.func.attr: call for call in calls if isinstance(call.func, ast.Attribute)}
    for verb in ("submit", "logs"):
        given = called[verb]
        names = {word.arg: None for word in given.keywords}
        inspect.signature(getattr(ControlClient, verb)).bind(None, *given.args, **names)


def test_an_authority_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "ca").write_text("no certificate")
    for file in (tmp_path / "ca", tmp_path / "nothing"):
        with pytest.raises(ConfigError, match="TIDEMILL_CONTROL_CAFILE"):
            ControlClient("https://h", "t", str(file))


def test_the_verbs_as_done_here(tmp_path):
    platform = memory_platform(tmp_path)
    platform.jobs().change("j", wanted="stopped", engine="local")
    JobFiles(platform.home, "j").log.write_text("one\na\u2028b\n")
    token = Tokens(platform.home).create("ops", ["admin"])
    with serving(ControlDoor(platform.home, lambda: nullcontext(platform))) as url, ControlClient(url, token) as jobs:
        assert [row["job"] for row in jobs.all()] == ["j"]
        assert jobs.show("j")["state"] == "stopped"
        assert list(jobs.logs("j", 10, False)) == ["one", "a", "b"]
        assert jobs.start("j", Start(0)).state == "to be running"
        assert jobs.stop("j", Stop(0)).state == "to be stopped"
        assert "local" in jobs.engines()
        with pytest.raises(NotFoundError, match="no job 'k'; wanted one of: j"):
            jobs.show("k")
        with pytest.raises(SubmissionError, match="job name cannot be used"):
            jobs.show("Keys")
        with pytest.raises(NotFoundError, match="no job 'k'"):
            list(jobs.logs("k", 10, True))
        with pytest.raises(IncompatibleError, match="does not provide rescale"):
            jobs.rescale("j", Rescale(2))
        with pytest.raises(SubmissionError, match="not a digest"):
            jobs.submit_reference("x")
    platform.close()


STATUSES = {400: RequestError, 401: ConfigError, 403: ConfigError, 404: NotFoundError, 409: IncompatibleError}
STATUSES |= {
    413: SubmissionError,
    422: SubmissionError,
    429: UnavailableError,
    500: TidemillError,
    503: UnavailableError,
}


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
def test_an_answer_that_says_no_is_that_error(status, kind):
    async def no(request):
        return problem(status, "said there")

    with answering(no) as url, ControlClient(url, "t") as jobs:
        with pytest.raises(kind, match=r"^said there$") as raised:
            jobs.all()
        assert type(raised.value) is kind


def test_what_is_no_control_server_is_said_and_nothing_is_followed_elsewhere():
    async def text(request):
        return Response(b"<html>", 200)

    async def elsewhere(request):
        return Response(b"", 302, [(b"location", b"http://127.0.0.1:1/")])

    for handler, said in ((text, "not a control server's answer"), (elsewhere, "status 302")):
        with answering(handler) as url, ControlClient(url, "t") as jobs, pytest.raises(TidemillError, match=said):
            jobs.all()


def test_a_server_that_is_away_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with ControlClient(url, "t") as jobs:
            for ask in (jobs.all, lambda: list(jobs.logs("j", 1, False))):
                with pytest.raises(UnavailableError, match=rf"{url}: the control server does not answer"):
                    ask()


def test_no_proxy_sees_what_goes_to_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    async def rows(request):
        return Response(b"[]")

    with answering(rows) as url, ControlClient(url, "t") as jobs:
        assert jobs.all() == []


def answering(handler):
    """A server whose list of jobs is what `handler` answers."""
    return serving(Router([Route("GET", "/api/jobs", "open", handler, "")], Gatekeeper([])))

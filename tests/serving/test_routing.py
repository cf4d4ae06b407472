"""What every server of ours does with a request: matches, admits, reads, answers, also part by part."""

import asyncio
import contextlib

import httpx
import pytest

from serving.access import Gatekeeper, Refusal
from serving.routing import Request, Response, Route, Router, json_of, status_of
from tests.serving.helpers import serving, until
from tidemill import errors


class Named:
    """A gate that lets in whoever gives a name."""

    rules = frozenset({"named"})

    def admit(self, rule, headers, peer):
        name = dict(headers).get(b"x-name", b"").decode()
        return name or Refusal(401, f"who at {peer}?")


async def who(request: Request) -> Response:
    return json_of([request.caller, request.query("q", "none"), request.body.decode()])


def test_a_handler_knows_who_was_admitted_and_others_are_refused_before_their_body_is_read():
    door = Router([Route("POST", "/who", "named", who, "", 10), Route("GET", "/who", "open", who, "")], Named())
    with serving(door) as url, httpx.Client(base_url=url) as client:
        assert client.post("/who?q=1&q=2", headers={"x-name": "ann"}, content=b"hi").json() == ["ann", "2", "hi"]
        refused = client.post("/who", content=b" " * 100)
        assert (refused.status_code, refused.json()) == (401, {"error": "who at 127.0.0.1?"})
        assert client.post("/who", headers={"x-name": "ann"}, content=b" " * 11).status_code == 413
        assert client.get("/who").json() == ["", "none", ""]
        assert client.head("/who").content == b""


def test_bodies_that_are_held_at_once_have_a_bound_and_nobody_has_more_than_half_of_it():
    begun, go, three = [], asyncio.Event(), asyncio.Event()

    async def hold(request: Request) -> Response:
        begun.append(request.caller)
        if len(begun) == 3:
            three.set()
        await go.wait()
        return json_of(len(request.body))

    door = Router([Route("POST", "/", "named", hold, "", 50)], Named(), bodies=100)

    def ask(name, size, *, read=True, announced=True):
        headers = [(b"x-name", name), *([(b"content-length", b"%d" % size)] if announced else [])]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "client": ("x", 1)}
        sent = []

        async def receive():
            assert read, "the body was read"
            return {"type": "http.request", "body": b" " * size}

        async def send(message):
            sent.append(message.get("status"))

        return asyncio.ensure_future(_first(door(scope, receive, send), sent))

    async def all_of_it():
        taken = [ask(b"ann", 30), ask(b"ann", 20), ask(b"bob", 1, announced=False)]
        await three.wait()
        for name in (b"ann", b"kim"):
            assert await ask(name, 1, read=False) == 429
        go.set()
        assert await asyncio.gather(*taken) == [200] * 3
        assert await ask(b"kim", 50) == 200
        assert await ask(b"kim", 51, read=False) == 413
        assert not door._held

    asyncio.run(all_of_it())


async def _first(answering, sent):
    await answering
    return sent[0]


def test_a_path_that_is_not_there_names_the_description_where_there_is_one():
    for path, said in (("/who", "no such route"), ("/docs", "no such route; see GET /docs")):
        with serving(Router([Route("GET", path, "open", who, "")], Named())) as url:
            assert httpx.get(url + "/nosuch").json() == {"error": said}


def test_a_stream_is_sent_as_it_comes_and_ended_when_nobody_reads_it():
    more, ended = asyncio.Event(), []

    async def parts():
        try:
            yield b"one\n"
            while not more.is_set():
                yield b""
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(more.wait(), 0.01)
            yield b"two\n"
        finally:
            ended.append(True)

    async def stream(request: Request) -> Response:
        return Response(b"", 200, [(b"content-type", b"text/plain")], parts())

    with serving(Router([Route("GET", "/s", "open", stream, "")], Gatekeeper([]))) as url:
        with httpx.stream("GET", url + "/s") as answer:
            lines = answer.iter_lines()
            assert next(lines) == "one"
            assert not ended
        until(lambda: ended)
        more.set()
        assert httpx.get(url + "/s").text == "one\ntwo\n"
        assert httpx.head(url + "/s").status_code == 200
        until(lambda: len(ended) == 2)  # For HEAD nothing was begun.


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFoundError, 404),
        (errors.IncompatibleError, 409),
        (errors.TooLargeError, 413),
        (errors.RequestError, 400),
        (errors.MalformedError, 400),
        (errors.SubmissionError, 422),
        (errors.WrongTypeError, 422),
        (errors.OverloadedError, 429),
        (errors.UnavailableError, 503),
        (errors.SignatureError, 500),
    ],
)
def test_an_error_has_one_status(error, status):
    assert status_of(error("x")) == status

"""The socket and the drain: requests in flight finish, new ones are answered until the end, then nobody listens."""

from __future__ import annotations

import socket
import threading

import httpx
import pytest

from serving.routing import Response, Route
from serving.server import listen, make
from tests.serving.helpers import EVENT, Service, loaded, until
from tidemill.errors import ConfigError


def test_a_taken_port_is_said():
    taken = listen("127.0.0.1", 0)
    with pytest.raises(ConfigError, match="in use"):
        listen("127.0.0.1", taken.getsockname()[1])
    taken.close()


def test_a_drain_finishes_what_is_in_flight_and_answers_until_the_end():
    service = Service()
    service.plane.install(loaded("1"))
    door = service.door
    held, go = threading.Event(), threading.Event()

    async def slow(request):
        import asyncio

        held.set()
        await asyncio.to_thread(go.wait, 20)
        return Response(b"{}")

    route = Route("GET", "/slow", "open", slow, "")
    door._matchers = [*door._matchers, (__import__("re").compile("^/slow$"), route)]
    sock = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    server = make(door, drain=1.0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    until(lambda: server.started)
    got: list[int] = []
    asking = threading.Thread(target=lambda: got.append(httpx.get(url + "/slow", timeout=30).status_code))
    asking.start()
    assert held.wait(10)
    server.drain()
    assert httpx.get(url + "/v2/health/ready").json() == {"ready": False, "missing": "draining"}
    answer = httpx.post(url + "/score/late", json=EVENT)
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    until(lambda: server.should_exit)
    go.set()
    asking.join(20)
    thread.join(30)
    assert got == [200]
    assert not thread.is_alive()
    with pytest.raises(httpx.TransportError), socket.socket():
        httpx.get(url + "/v2/health/live")
    door.batcher.close()

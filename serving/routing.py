"""What every HTTP server of ours is: a table of routes, each with its rule, and nothing that is not in the table.

A request is matched, then admitted by the gate, and only then read. A `Router` with a route whose rule its gate does
not know cannot be made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import orjson
from starlette.routing import compile_path
from starlette.types import Message, Receive, Scope, Send

from serving.access import OPEN, Gate, Refusal
from serving.metrics import Metrics
from tidemill.errors import (
    BadEvent,
    ConfigError,
    IncompatibleError,
    MalformedError,
    NotFoundError,
    OverloadedError,
    RequestError,
    TidemillError,
    TooLargeError,
    UnavailableError,
    UserError,
)

_log = logging.getLogger("tidemill.serving")
JSON = [(b"content-type", b"application/json")]
_FLAGS = {"": True, "1": True, "true": True, "0": False, "false": False}


class Request(NamedTuple):
    """What a handler sees of a request. `caller` is the name of who was admitted, where the gate knows names."""

    scope: Scope
    params: dict[str, str]
    body: bytes
    caller: str = ""

    def header(self, name: str) -> str | None:
        wanted = name.encode()
        return next((v.decode("latin-1") for n, v in self.scope["headers"] if n == wanted), None)

    def query(self, name: str, default: str) -> str:
        """The last value of a query parameter."""
        query = self.scope.get("query_string", b"")
        if not query:
            return default
        values: list[str] = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name, [default])
        return values[-1]

    def flag(self, name: str) -> bool:
        """Whether a query parameter is set; `?name` alone sets it. Raises `RequestError` for a word that is no flag."""
        text = self.query(name, "false")
        if text.lower() not in _FLAGS:
            raise RequestError("not a flag", wanted="true, false, 1 or 0", got=repr(text)[:80], field=name)
        return _FLAGS[text.lower()]


class Response(NamedTuple):
    """What a handler answers. With `stream` the body is what that gives, part by part; it gives empty parts while it
    has nothing, so that a client who has gone is noticed."""

    body: bytes
    status: int = 200
    headers: list[tuple[bytes, bytes]] = JSON
    stream: AsyncGenerator[bytes, None] | None = None


Handler = Callable[[Request], Awaitable[Response]]


class Route(NamedTuple):
    """One route: without a rule here, nothing is answered. `takes` and `gives` are types of the JSON bodies, `query`
    the query parameters and what they mean, for the interface's description."""

    method: str
    path: str
    rule: str
    handler: Handler
    about: str
    max_body: int = 0
    takes: Any = None
    gives: Any = None
    query: tuple[tuple[str, str, str], ...] = ()


def status_of(error: TidemillError) -> int:
    """The HTTP status of an error. Errors do not know HTTP; this door does."""
    known = (
        (NotFoundError, 404),
        (TooLargeError, 413),
        (OverloadedError, 429),
        (UnavailableError, 503),
        (MalformedError, 400),
        (RequestError, 400),
        (IncompatibleError, 409),
        (BadEvent, 422),
        (UserError, 422),
    )
    return next((status for kind, status in known if isinstance(error, kind)), 500)


class Router:
    """The ASGI application. `pending` says how many requests are in the server, started or not: above `limit` they
    are answered 429. `bodies` is the most bytes of bodies that are held at once (0: no bound), of which one caller has
    at most half; what would be more is answered 429 too, unread. Raises `ConfigError` for a route without a rule that
    the gate knows."""

    def __init__(
        self,
        routes: Sequence[Route],
        gate: Gate,
        *,
        limit: int = 512,
        bodies: int = 0,
        metrics: Metrics | None = None,
    ) -> None:
        self.routes = tuple(routes)
        self.metrics = metrics or Metrics(lambda: ())
        self.pending: Callable[[], int] = lambda: 0
        self.draining = False
        self.gate = gate
        self._limit = limit
        self._bodies = bodies
        self._held: Counter[str] = Counter()
        for route in self.routes:
            if route.rule != OPEN and route.rule not in gate.rules:
                raise ConfigError(
                    "a route without a rule",
                    where=f"{route.method} {route.path}",
                    wanted=f"one of {sorted({OPEN, *gate.rules})}",
                    got=repr(route.rule),
                )
        there = any((route.method, route.path) == ("GET", "/docs") for route in self.routes)
        self._hint = "; see GET /docs" if there else ""
        self._matchers = [(compile_path(route.path)[0], route) for route in self.routes]

    def refusal(self, request: Request, route: Route) -> Response | None:
        """Why who was admitted is not answered after all; asked before the body, which `request` has not yet. Made
        for doors to say more of it."""
        return None

    def close(self) -> None:
        """After the last answer: end what the handlers have begun."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.perf_counter()
        route, params, allowed = self._match(scope["method"], scope["path"])
        try:
            if route is None:
                response = (
                    problem(405, "method not allowed", headers=[(b"allow", ", ".join(sorted(allowed)).encode())])
                    if allowed
                    else problem(404, f"no such route{self._hint}")
                )
            else:
                response = await self._answer(route, scope, params, receive)
        except TidemillError as error:
            response = of_error(error)
        except ConnectionError:
            return
        except Exception as error:
            # A bug of ours. The client learns that, and no more; the log has the rest.
            _log.exception("request failed: %s %s", scope["method"], route.path if route else "", exc_info=error)
            response = problem(500, "internal error")
        await self._send(response, scope, receive, send)
        self.metrics.answered(route.path if route else "none", response.status, time.perf_counter() - begun)

    def _match(self, method: str, path: str) -> tuple[Route | None, dict[str, str], set[str]]:
        allowed: set[str] = set()
        wanted = "GET" if method == "HEAD" else method
        for regex, route in self._matchers:
            if match := regex.match(path):
                if route.method == wanted:
                    return route, match.groupdict(), allowed
                allowed.add(route.method)
        return None, {}, allowed

    async def _answer(self, route: Route, scope: Scope, params: dict[str, str], receive: Receive) -> Response:
        caller = ""
        if route.rule != OPEN:
            admitted = self.gate.admit(route.rule, scope["headers"], (scope.get("client") or ("",))[0])
            if isinstance(admitted, Refusal):
                later = (b"retry-after", b"60")
                extra = {401: (b"www-authenticate", b"Bearer"), 429: later, 503: later}.get(admitted.status)
                return problem(*admitted, headers=[extra] if extra else [])
            caller = admitted
        if route.rule != OPEN and self.pending() > self._limit:
            raise OverloadedError("too many requests at once", retry_after=1.0)
        request = Request(scope, params, b"", caller)
        if (refused := self.refusal(request, route)) is not None:
            return refused
        if route.method != "POST":
            return await route.handler(request)
        with self._holding(_announced(scope, route.max_body), caller or (scope.get("client") or ("",))[0]):
            body = await _body(scope, receive, route.max_body)
            return await route.handler(request._replace(body=body))

    @contextlib.contextmanager
    def _holding(self, size: int, whose: str) -> Iterator[None]:
        """Room for a body until its request is answered. Raises `OverloadedError` where there is none."""
        if self._bodies and (
            self._held.total() + size > self._bodies
            or (self._held[whose] + size > self._bodies // 2 and self._held[whose])
        ):
            raise OverloadedError("too many bytes at once", retry_after=1.0)
        self._held[whose] += size
        try:
            yield
        finally:
            self._held[whose] -= size
            if not self._held[whose]:
                del self._held[whose]

    async def _send(self, response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        headers = list(response.headers)
        if response.stream is None:
            headers.append((b"content-length", str(len(response.body)).encode()))
        if self.draining or response.status == 413:
            headers.append((b"connection", b"close"))
        start: Message = {"type": "http.response.start", "status": response.status, "headers": headers}
        await send(start)
        head = scope["method"] == "HEAD"
        if response.stream is not None:
            async with contextlib.aclosing(response.stream) as parts:
                if not head:
                    await _send_parts(parts, receive, send)
        await send({"type": "http.response.body", "body": b"" if head else response.body})


async def _send_parts(parts: AsyncGenerator[bytes, None], receive: Receive, send: Send) -> None:
    gone = asyncio.ensure_future(_gone(receive))
    try:
        async for part in parts:
            if gone.done():
                return
            if part:
                await send({"type": "http.response.body", "body": part, "more_body": True})
    finally:
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _announced(scope: Scope, limit: int) -> int:
    """The most bytes that the body can have: what the request says, or, where it says nothing, what is taken."""
    given = [value for name, value in scope["headers"] if name == b"content-length"]
    return min(int(given[0][:20]), limit) if len(given) == 1 and given[0].isdigit() else limit


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The request's body. Raises `TooLargeError`, and `RequestError` where it does not come within ten seconds."""
    too_large = TooLargeError("request body too large", wanted=f"at most {limit} bytes")
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > limit:
            raise too_large
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise too_large
        return body
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(10):
            while True:
                if message["type"] == "http.disconnect":
                    raise ConnectionError("client went away")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limit:
                    raise too_large
                if not message.get("more_body"):
                    return b"".join(parts)
                message = await receive()
    except TimeoutError:
        raise RequestError("the body did not come in time", wanted="within 10 s") from None


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def json_of(value: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(orjson.dumps(value), status)


def problem(status: int, message: str, field: str = "", headers: list[tuple[bytes, bytes]] | None = None) -> Response:
    """An answer that says what is wrong."""
    body = {"error": message, **({"field": field} if field else {})}
    return Response(orjson.dumps(body), status, [*JSON, *(headers or [])])


def of_error(error: TidemillError, status: int = 0) -> Response:
    """The answer for an error, under its own status unless another is given."""
    headers = []
    if isinstance(error, UnavailableError):
        wait = error.retry_after if isinstance(error, OverloadedError) else 1.0
        headers.append((b"retry-after", str(max(1, round(wait))).encode()))
    # A message may quote the request, which may hold half of a character.
    message = str(error).encode("utf-8", "replace").decode()
    return problem(status or status_of(error), message, error.field.encode("utf-8", "replace").decode(), headers)

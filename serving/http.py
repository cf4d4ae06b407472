"""The HTTP door: a table of routes, each with its rule, over the data plane and the scorers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec
import orjson
from starlette.routing import compile_path
from starlette.types import Message, Receive, Scope, Send

from serving import oip, openapi
from serving.access import Gatekeeper, Rule
from serving.batching import Batcher
from serving.freshness import Freshness
from serving.metrics import CONTENT_TYPE, Metrics
from serving.plane import DataPlane, Loaded
from serving.scoring import Scorer
from tidemill import __version__
from tidemill.errors import (
    BadEvent,
    MalformedError,
    NotFoundError,
    OverloadedError,
    RequestError,
    TidemillError,
    TooLargeError,
    UnavailableError,
    WrongTypeError,
)

_log = logging.getLogger("tidemill.serving")
_JSON = [(b"content-type", b"application/json")]


class Request(NamedTuple):
    """What a handler sees of a request."""

    scope: Scope
    params: dict[str, str]
    body: bytes

    def header(self, name: str) -> str | None:
        wanted = name.encode()
        return next((v.decode("latin-1") for n, v in self.scope["headers"] if n == wanted), None)

    def flag(self, name: str) -> bool:
        query = self.scope.get("query_string", b"")
        if not query:
            return False
        values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name, ["false"])
        return values[-1].lower() in ("", "1", "true", "yes")


class Response(NamedTuple):
    """What a handler answers."""

    body: bytes
    status: int = 200
    headers: list[tuple[bytes, bytes]] = _JSON


Handler = Callable[[Request], Awaitable[Response]]


class Route(NamedTuple):
    """One route: without a rule here, nothing is answered."""

    method: str
    path: str
    rule: Rule
    handler: Handler
    about: str
    max_body: int = 0


def status_of(error: TidemillError) -> int:
    """The HTTP status of an error. Errors do not know HTTP; this door does."""
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, TooLargeError):
        return 413
    if isinstance(error, OverloadedError):
        return 429
    if isinstance(error, UnavailableError):
        return 503
    if isinstance(error, MalformedError):
        return 400
    return 422 if isinstance(error, BadEvent) else 400 if isinstance(error, RequestError) else 500


class Door:
    """The ASGI application. `ready` says what is missing before the server is ready (empty: nothing); `pending` how
    many requests are in the server, started or not: above `limit` they are answered 429."""

    def __init__(
        self,
        plane: DataPlane,
        scorers: dict[str, Scorer],
        freshness: Freshness,
        *,
        keys: list[str] | None = None,
        ready: Callable[[], str] = lambda: "",
        metrics: Metrics | None = None,
        limit: int = 512,
        max_event: int = 1 << 20,
        max_tensors: int = 64 << 20,
    ) -> None:
        self.plane = plane
        self.scorers = scorers
        self.freshness = freshness
        self.ready = ready
        self.metrics = metrics or Metrics(lambda: ())
        self.pending: Callable[[], int] = lambda: 0
        self.draining = False
        self.batcher = Batcher(limit=limit)
        self._limit = limit
        self._gate = Gatekeeper(keys or [])
        v2 = "/v2/models/{model}"
        self.routes = (
            Route("POST", "/score/{endpoint}", "key", self._score, "Score one plain event", max_event),
            Route("POST", f"{v2}/infer", "key", self._infer, "Infer with the live model", max_tensors),
            Route("POST", v2 + "/versions/{version}/infer", "key", self._infer, "Infer with one version", max_tensors),
            Route("GET", "/v2/health/live", "open", self._live, "Is the process alive"),
            Route("GET", "/v2/health/ready", "open", self._ready, "Can the server answer"),
            Route("GET", f"{v2}/ready", "key", self._model_ready, "Can the model be asked"),
            Route("GET", v2 + "/versions/{version}/ready", "key", self._model_ready, "Can the version be asked"),
            Route("GET", v2, "key", self._model, "Metadata of a model"),
            Route("GET", v2 + "/versions/{version}", "key", self._model, "Metadata of a version"),
            Route("GET", "/v2/models", "key", self._models, "Names of the models"),
            Route("GET", "/v2", "key", self._server, "Metadata of the server"),
            Route("GET", "/score", "key", self._endpoints, "Endpoints and what each lacks"),
            Route("GET", "/metrics", "key", self._metrics, "Prometheus metrics"),
            Route("GET", "/openapi.json", "key", self._openapi, "This interface as OpenAPI 3.1"),
            Route("GET", "/docs", "key", self._docs, "This interface as a page"),
        )
        self._matchers = [(compile_path(route.path)[0], route) for route in self.routes]

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
                    _problem(405, "method not allowed", headers=[(b"allow", ", ".join(sorted(allowed)).encode())])
                    if allowed
                    else _problem(404, "no such route; see GET /docs")
                )
            else:
                response = await self._answer(route, scope, params, receive)
        except TidemillError as error:
            response = _of_error(error)
        except ConnectionError:
            return
        except Exception as error:
            # A bug of ours. The client learns that, and no more; the log has the rest.
            _log.exception("request failed: %s %s", scope["method"], route.path if route else "", exc_info=error)
            response = _problem(500, "internal error")
        await self._send(response, scope, send)
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
        refusal = self._gate.refusal(route.rule, scope["headers"])
        if refusal is not None:
            extra = [(b"www-authenticate", b"Bearer")] if refusal[0] == 401 else []
            return _problem(*refusal, headers=extra)
        if route.rule != "open" and self.pending() > self._limit:
            raise OverloadedError("too many requests at once", retry_after=1.0)
        body = await _body(scope, receive, route.max_body) if route.method == "POST" else b""
        return await route.handler(Request(scope, params, body))

    async def _send(self, response: Response, scope: Scope, send: Send) -> None:
        headers = [*response.headers, (b"content-length", str(len(response.body)).encode())]
        if self.draining or response.status == 413:
            headers.append((b"connection", b"close"))
        body = b"" if scope["method"] == "HEAD" else response.body
        start: Message = {"type": "http.response.start", "status": response.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": body})

    # The handlers, in the order of the table.

    async def _score(self, request: Request) -> Response:
        scorer = self.scorers.get(request.params["endpoint"])
        if scorer is None:
            raise NotFoundError(
                "no such endpoint", wanted=f"one of {list(self.scorers)}", got=repr(request.params["endpoint"])[:80]
            )
        try:
            answer = scorer.score(request.body, request.flag("explain"))
        except RequestError as error:
            return _of_error(error, 422)
        return Response(_answer_json(answer))

    async def _infer(self, request: Request) -> Response:
        loaded = self._resolve(request)
        small = len(request.body) < 65_536
        header = request.header(oip.HEADER_LENGTH)
        # What takes more than some tens of microseconds goes to a thread, or every other request would wait for it.
        if small:
            asked = oip.decode(request.body, header, loaded.servable)
        else:
            asked = await asyncio.to_thread(oip.decode, request.body, header, loaded.servable)
        if hasattr(loaded.servable, "score") and small:
            outputs = loaded.servable.predict(asked.inputs)  # Some microseconds: a thread would cost more.
        else:
            outputs = await self.batcher.predict(loaded, asked.inputs)
        parameters: dict[str, Any] = {"delta": loaded.delta, "staleness": _finite(self.freshness.seconds())}
        body, headers = oip.encode(loaded, asked, outputs, parameters)
        return Response(body, 200, headers)

    async def _live(self, request: Request) -> Response:
        return _json({"live": True})

    async def _ready(self, request: Request) -> Response:
        missing = "draining" if self.draining else self.ready()
        return _json({"ready": not missing, **({"missing": missing} if missing else {})}, 503 if missing else 200)

    async def _model_ready(self, request: Request) -> Response:
        loaded = self._resolve(request)
        return _json({"name": loaded.model, "version": loaded.version, "ready": True})

    async def _model(self, request: Request) -> Response:
        loaded = self._resolve(request)
        found = oip.metadata(loaded, self.plane.versions(loaded.model))
        return _json({**found, "aliases": self.plane.aliases(loaded.model)})

    async def _models(self, request: Request) -> Response:
        return _json({"models": self.plane.models()})

    async def _server(self, request: Request) -> Response:
        return _json({"name": "tidemill", "version": __version__, "extensions": ["binary_tensor_data", "score"]})

    async def _endpoints(self, request: Request) -> Response:
        return _json({name: {"missing": s.waiting_for} for name, s in self.scorers.items()})

    async def _metrics(self, request: Request) -> Response:
        return Response(self.metrics.page(), 200, [(b"content-type", CONTENT_TYPE.encode())])

    async def _openapi(self, request: Request) -> Response:
        return _json(openapi.document(self.routes, self.scorers))

    async def _docs(self, request: Request) -> Response:
        page = openapi.page(openapi.document(self.routes, self.scorers))
        return Response(page.encode(), 200, openapi.PAGE_HEADERS)

    def _resolve(self, request: Request) -> Loaded:
        return self.plane.resolve(request.params["model"], request.params.get("version"))


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


def _answer_json(answer: Any) -> bytes:
    if answer.staleness == float("inf"):
        answer = msgspec.structs.replace(answer, staleness=-1.0)
    return msgspec.json.encode(answer)


def _finite(value: float) -> float | None:
    return None if value == float("inf") else round(value, 3)


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status)


def _problem(status: int, message: str, field: str = "", headers: list[tuple[bytes, bytes]] | None = None) -> Response:
    body = {"error": message, **({"field": field} if field else {})}
    return Response(orjson.dumps(body), status, [*_JSON, *(headers or [])])


def _of_error(error: TidemillError, status: int = 0) -> Response:
    field = error.field
    if isinstance(error, WrongTypeError) and not field and "missing required field `" in error.got:
        field = error.got.partition("missing required field `")[2].partition("`")[0]
    headers = []
    if isinstance(error, UnavailableError):
        wait = error.retry_after if isinstance(error, OverloadedError) else 1.0
        headers.append((b"retry-after", str(max(1, round(wait))).encode()))
    # A message may quote the request, which may hold half of a character.
    message = str(error).encode("utf-8", "replace").decode()
    return _problem(status or status_of(error), message, field.encode("utf-8", "replace").decode(), headers)

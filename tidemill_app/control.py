"""The control server: the verbs of jobs over HTTP, each by a token of its scope.

Nothing is read of a request before its token is known. Code that is uploaded is loaded by `apart`, in a process of its
own; then it is signed with the home's key and recorded. Every verb that is accepted is one line of the log, with the
token's name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, closing
from typing import Any, TypeVar

import msgspec

from serving import openapi
from serving.access import Refusal
from serving.routing import Request, Response, Route, Router, json_of, problem
from serving.workers import Workers
from tidemill.errors import (
    IntegrityError,
    MalformedError,
    OverloadedError,
    RequestError,
    SubmissionError,
    TidemillError,
    UserError,
)
from tidemill.events import JobChanged
from tidemill.stream import check_name
from tidemill_app import bundle as bundles
from tidemill_app.apart import SECONDS, Order, check_apart
from tidemill_app.bundle import SIGNED, Bundle
from tidemill_app.engines import check_options
from tidemill_app.home import Home
from tidemill_app.job_table import JobFiles
from tidemill_app.jobs import (
    MAX_LINES,
    POLL,
    Outcome,
    PlatformJobs,
    Remove,
    Removed,
    Rescale,
    Savepoint,
    Start,
    Stop,
    Submitted,
    Wait,
    provided,
)
from tidemill_app.log_lines import LogLines
from tidemill_app.submission import record
from tidemill_app.tokens import TokenGate, Tokens
from tidemill_app.wiring import Platform

WORKERS = 16
"""Verbs at once; a further one is answered 429. Each may wait for its job."""

CHECKS = 2
"""Job files that are loaded at once: each is a process."""

FOLLOWERS = 32
"""Logs that are followed at once."""

MAX_UPLOAD = bundles.MAX_BYTES * 4 // 3 + (1 << 20)
"""A bundle's bytes in base64, and its names."""

MAX_ASK = 4096

_log = logging.getLogger("tidemill.control")
_T = TypeVar("_T")
_SECURITY = {"bearer": {"type": "http", "scheme": "bearer"}}
_ERRORS = {
    "400": "Not JSON, or not of this form",
    "401": "No token, or an unknown one",
    "403": "The token lacks the scope",
    "404": "No such job, engine or bundle",
    "409": "Not as the job or its engine is now",
    "413": "Body too large",
    "415": "Not plain JSON",
    "422": "What was asked for cannot be",
    "429": "Too much at once; see Retry-After",
    "503": "Brokers, or the job, do not answer; see Retry-After",
}


class Submission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job to run: its code as `bundle` (contents in base64), or the digest of a stored bundle as `reference`, which a
    trusted key must have signed. `options` are those that the engine lists."""

    bundle: Bundle | None = None
    reference: str = ""
    engine: str = "local"
    options: dict[str, str] = {}
    reset: bool = False
    wait: Wait = 60.0


class ControlDoor(Router):
    """The ASGI application. `opened` opens the platform for one verb, as a command would; `seconds` is how long a job
    file may take to load."""

    def __init__(
        self,
        home: Home,
        opened: Callable[[], AbstractContextManager[Platform]] | None = None,
        *,
        seconds: float = SECONDS,
    ) -> None:
        self._home = home
        self._opened = opened or (lambda: closing(Platform.open(home.path)))
        self._seconds = seconds
        self._workers = Workers("control", WORKERS, retry_after=5.0)
        self._checking = self._following = 0
        job = "/api/jobs/{name}"
        lines = ("lines", "integer", f"How many of the last lines, at most {MAX_LINES}")
        follow = ("follow", "boolean", "Go on with each line that comes")
        routes = (
            Route("GET", "/health/live", "open", self._live, "Is the process alive"),
            Route("GET", "/api/jobs", "read", self._all, "List the jobs"),
            Route("POST", "/api/jobs", "submit", self._submit, "Submit a job", MAX_UPLOAD, Submission, Submitted),
            Route("GET", job, "read", self._show, "Everything known of a job"),
            Route("GET", job + "/logs", "read", self._logs, "What the job's process writes", query=(lines, follow)),
            Route("POST", job + "/stop", "operate", self._stop, "Stop a job", MAX_ASK, Stop, Outcome),
            Route("POST", job + "/start", "operate", self._start, "Start a job", MAX_ASK, Start, Outcome),
            Route(
                "POST", job + "/savepoint", "operate", self._savepoint, "Take a snapshot", MAX_ASK, Savepoint, Outcome
            ),
            Route("POST", job + "/rescale", "operate", self._rescale, "Change parallelism", MAX_ASK, Rescale, Outcome),
            Route("POST", job + "/remove", "operate", self._remove, "Remove a stopped job", MAX_ASK, Remove, Removed),
            Route("GET", "/api/engines", "read", self._engines, "What each engine provides"),
            Route("GET", "/openapi.json", "read", self._openapi, "This interface as OpenAPI 3.1"),
            Route("GET", "/docs", "read", self._docs, "This interface as a page"),
        )
        super().__init__(routes, TokenGate(Tokens(home)), limit=64)

    def close(self) -> None:
        self._workers.close()

    # The handlers, in the order of the table.

    async def _live(self, request: Request) -> Response:
        return json_of({"live": True})

    async def _all(self, request: Request) -> Response:
        return _answer(await self._with_jobs(lambda jobs: jobs.all()))

    async def _submit(self, request: Request) -> Response:
        asked = _asked(request, Submission)
        if isinstance(asked, Response):
            return asked
        if self._checking >= CHECKS:
            raise OverloadedError("other job files are being checked", retry_after=2.0)
        self._checking += 1
        try:
            wish, files, notes = await self._workers.do(lambda: self._submitted(asked))
        except TidemillError as error:
            _log.info("refused: token %s, submit, %s", request.caller, type(error).__name__)
            raise
        finally:
            self._checking -= 1
        _log.info("accepted: token %s, submit, job %s, bundle %s", request.caller, wish.job, wish.bundle)
        return _answer(await self._with_jobs(lambda jobs: jobs.submitted(wish, files, notes, asked.wait)))

    async def _show(self, request: Request) -> Response:
        name = _name(request)
        return _answer(await self._with_jobs(lambda jobs: jobs.show(name)))

    async def _logs(self, request: Request) -> Response:
        name, lines, follow = _name(request), _lines(request), request.flag("follow")
        log = await self._with_jobs(lambda jobs: jobs.log(name, lines))
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
        if not follow:
            return Response(_text(log.read()), 200, headers)
        if self._following >= FOLLOWERS:
            raise OverloadedError("too many logs are being followed", retry_after=10.0)
        return Response(b"", 200, headers, self._follow(log, request))

    async def _stop(self, request: Request) -> Response:
        return await self._verb(request, Stop, lambda jobs, name, ask: jobs.stop(name, ask))

    async def _start(self, request: Request) -> Response:
        return await self._verb(request, Start, lambda jobs, name, ask: jobs.start(name, ask), self._start_asks)

    async def _savepoint(self, request: Request) -> Response:
        return await self._verb(request, Savepoint, lambda jobs, name, ask: jobs.savepoint(name, ask))

    async def _rescale(self, request: Request) -> Response:
        return await self._verb(request, Rescale, lambda jobs, name, ask: jobs.rescale(name, ask))

    async def _remove(self, request: Request) -> Response:
        return await self._verb(request, Remove, lambda jobs, name, ask: jobs.remove(name, ask), _remove_asks)

    async def _engines(self, request: Request) -> Response:
        return _answer(await self._workers.do(provided))

    async def _openapi(self, request: Request) -> Response:
        return json_of(openapi.describe("Tidemill control", self.routes, _SECURITY, _ERRORS))

    async def _docs(self, request: Request) -> Response:
        page = openapi.page(openapi.describe("Tidemill control", self.routes, _SECURITY, _ERRORS))
        return Response(page.encode(), 200, openapi.PAGE_HEADERS)

    # What they share.

    async def _verb(
        self,
        request: Request,
        kind: type[_T],
        do: Callable[[PlatformJobs, str, _T], Any],
        asks: Callable[[str, _T], tuple[str, str] | None] = lambda name, ask: None,
    ) -> Response:
        """`asks` says which scope is needed beside the route's, and for what."""
        name = _name(request)
        ask = _asked(request, kind)
        if isinstance(ask, Response):
            return ask
        if more := asks(name, ask):
            admitted = self.gate.admit(more[0], request.scope["headers"], "")
            if isinstance(admitted, Refusal):
                return problem(admitted.status, f"{admitted.reason}, for {more[1]}")
        word, outcome = "accepted", "done"
        try:
            return _answer(await self._with_jobs(lambda jobs: do(jobs, name, ask)))
        except TidemillError as error:
            # A job that is slow to follow, or fails, was told to nevertheless.
            word, outcome = "refused" if isinstance(error, UserError) else "accepted", type(error).__name__
            raise
        finally:
            _log.info("%s: token %s, %s, job %s, %s", word, request.caller, kind.__name__.lower(), name, outcome)

    def _start_asks(self, name: str, ask: Start) -> tuple[str, str] | None:
        # A state that is restored can run code, and to look for it asks whatever host its address names.
        if ask.savepoint and ask.savepoint != JobFiles(self._home, name).read_status().get("savepoint"):
            return "submit", "a savepoint that the job's status does not name"
        return None

    async def _with_jobs(self, do: Callable[[PlatformJobs], _T]) -> _T:
        def work() -> _T:
            with self._opened() as platform:
                return do(PlatformJobs(platform))

        return await self._workers.do(work)

    def _submitted(self, asked: Submission) -> tuple[JobChanged, list[str], list[str]]:
        """Check, sign and record; what is refused changes nothing."""
        check_options(asked.engine, "", asked.options)
        with self._opened() as platform:
            bundle = _code(platform, asked)
            order = Order(
                home=str(self._home.path),
                bundle=bundle,
                engine=asked.engine,
                options=asked.options,
                reset=asked.reset,
            )
            name, notes, endpoint = check_apart(order, self._seconds)
            # What is referred to is signed already, by whom it was.
            digest = asked.reference or platform.artefacts.put_signed(SIGNED, bundle.encode())
            how = {"options": asked.options, "reset": asked.reset, "endpoint": endpoint}
            wish = record(platform, name, digest, bundle.entry, asked.engine, **how)  # type: ignore[arg-type]
            return wish, sorted(bundle.files), notes

    async def _follow(self, log: LogLines, request: Request) -> AsyncGenerator[bytes, None]:
        """What comes, until the server ends or the token is revoked."""
        self._following += 1
        try:
            while not self.draining:
                yield _text(log.read())
                await asyncio.sleep(POLL)
                if isinstance(self.gate.admit("read", request.scope["headers"], ""), Refusal):
                    return
        finally:
            self._following -= 1


def _remove_asks(name: str, ask: Remove) -> tuple[str, str] | None:
    return ("admin", "deleting topics") if ask.purge and not ask.dry else None


def _code(platform: Platform, asked: Submission) -> Bundle:
    """The code that is meant, verified where it is referred to."""
    if (asked.bundle is None) == (not asked.reference):
        raise RequestError("what is to run?", wanted="bundle or reference, one of them", field="bundle")
    if asked.bundle is not None:
        bundles.check(asked.bundle)
        return asked.bundle
    try:
        return bundles.decode(platform.artefacts.get_signed(SIGNED, asked.reference))
    except IntegrityError as error:
        raise SubmissionError(str(error)) from None


def _asked(request: Request, kind: type[_T]) -> _T | Response:
    """The request's body; an empty one is the defaults."""
    if request.header("content-encoding") not in (None, "identity"):
        return problem(415, "compressed bodies are not taken")
    if not request.body:
        return msgspec.json.decode(b"{}", type=kind) if kind is not Rescale else problem(400, "a body is needed")
    if (request.header("content-type") or "").partition(";")[0].strip().lower() != "application/json":
        return problem(415, "the body must be application/json")
    try:
        return msgspec.json.decode(request.body, type=kind)
    except msgspec.ValidationError as error:
        raise RequestError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("not JSON", got=str(error)) from None


def _name(request: Request) -> str:
    return check_name(request.params["name"], "job")


def _lines(request: Request) -> int:
    text = request.query("lines", "50")
    if not (text.isascii() and text.isdecimal()) or len(text) > 6 or int(text) > MAX_LINES:
        raise RequestError("not usable", wanted=f"0 to {MAX_LINES}", got=repr(text)[:40], field="lines")
    return int(text)


def _text(lines: list[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def _answer(value: Any) -> Response:
    return Response(msgspec.json.encode(value))

"""What the desks of the labelling service share: a desk is some of its routes, and the handlers behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from serving.labelling.service import Labelling
from serving.routing import Request, Response, Route
from tidemill.errors import MalformedError, OverloadedError, RequestError

WORKERS = 16
WAITING = 128
"""Requests that are worked on at once, and that wait for it; a further one is answered 429."""
SMALL = 65_536
"""The most bytes of an ordinary body."""
_T = TypeVar("_T")
_TYPE = b"content-type"


class Workers:
    """Threads for what waits: for the log, for Redis, for a password's digest."""

    def __init__(self, threads: int = WORKERS, waiting: int = WAITING) -> None:
        self._pool = ThreadPoolExecutor(threads, "labelling")
        self._most = threads + waiting
        self._busy = 0

    async def do(self, work: Callable[[], _T]) -> _T:
        if self._busy >= self._most:
            raise OverloadedError("too many requests at once", retry_after=1.0)
        self._busy += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._busy -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Desk:
    """Some routes, over one service. `routes` is the table."""

    def __init__(self, service: Labelling, workers: Workers) -> None:
        self.service = service
        self.workers = workers
        self.routes = self.table()

    def table(self) -> tuple[Route, ...]:
        raise NotImplementedError

    async def answer(self, work: Callable[[], Any]) -> Response:
        """What `work` gives, done in a thread, as JSON."""
        return Response(msgspec.json.encode(await self.workers.do(work)))


def asked(request: Request, kind: type[_T]) -> _T:
    """The body of a request. Raises `RequestError` that names the field, `MalformedError` for what is no JSON."""
    given = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if given != "application/json" or request.header("content-encoding") not in (None, "identity"):
        raise RequestError("the body must be plain application/json", got=ascii(given)[:80])
    try:
        return msgspec.json.decode(request.body, type=kind)
    except msgspec.ValidationError as error:
        raise RequestError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("not JSON", got=str(error)) from None

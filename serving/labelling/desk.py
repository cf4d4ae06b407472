"""What the desks of the labelling service share: a desk is some of its routes, and the handlers behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from serving.labelling.service import Labelling
from serving.routing import Request, Response, Route
from serving.workers import Workers
from tidemill.errors import MalformedError, RequestError

SMALL = 65_536
"""The most bytes of an ordinary body."""
_T = TypeVar("_T")
_TYPE = b"content-type"


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

"""A reviewer's routes: what is to be decided, any item by its id, the decision, and what was decided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from serving.labelling import figures, reviewing
from serving.labelling.desk import Desk, asked
from serving.labelling.item import Item
from serving.labelling.state import Project
from serving.labelling.values import check
from serving.routing import Request, Response, Route
from tidemill.errors import NotFoundError, RequestError
from tidemill.label_events import LabelReviewed

MAX_REVIEW = 1 << 20


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an item is, whatever annotators say (null: the decision is taken back)."""

    item: str
    value: Any
    note: Annotated[str, msgspec.Meta(max_length=2000)] = ""


class ReviewerDesk(Desk):
    """The routes of reviewers."""

    def table(self) -> tuple[Route, ...]:
        at, role = "/api/projects/{project}", "reviewer"
        most = ("count", "integer", "How many at most, 1 to 200")
        one = ("item", "string", "The id of an item, whatever stands of it")
        return (
            Route("GET", at + "/review", role, self._list, "Items to be decided, or the one named", query=(most, one)),
            Route("GET", at + "/decided", role, self._decided, "Items that were decided", query=(most,)),
            Route("POST", at + "/reviews", role, self._review, "Decide an item", MAX_REVIEW, Review),
        )

    async def _list(self, request: Request) -> Response:
        count, item = _count(request), request.query("item", "")
        if not item:
            return await self._look(request, lambda state: reviewing.undecided(state, count))
        return await self._look(request, lambda state: [_named(state, item).asked.about])

    async def _decided(self, request: Request) -> Response:
        count = _count(request)
        return await self._look(request, lambda state: reviewing.decided(state, count))

    async def _look(self, request: Request, read: Callable[[Project], list[str]]) -> Response:
        project = request.params["project"]

        def work() -> dict[str, Any]:
            with self.service.book.reading(project) as state:
                return {"items": [figures.shown(state, about) for about in read(state)]}

        return await self.answer(work)

    async def _review(self, request: Request) -> Response:
        ask, project = asked(request, Review), request.params["project"]

        def work() -> dict[str, Any]:
            with self.service.book.reading(project) as state:
                item = _named(state, ask.item)
                value = None if ask.value is None else check(state.now.schema, ask.value, item.size)
                later = item.reviewed[0] + 1  # than any decision before, by whichever clock
            made = LabelReviewed(id="", time=later, about=ask.item, by=request.caller, value=value, note=ask.note)
            self.service.record(project, made)
            return {"item": ask.item, "value": value}

        return await self.answer(work)


def _named(state: Project, about: str) -> Item:
    """The item of this id. Raises `NotFoundError`, for a gold question too: they would tell it."""
    item = state.items.get(about)
    if item is None or item.gold:
        raise NotFoundError("no such item", got=repr(about)[:80])
    return item


def _count(request: Request) -> int:
    text = request.query("count", "50")
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and 1 <= int(text) <= figures.MAX_SHOWN):
        raise RequestError("not usable", wanted=f"1 to {figures.MAX_SHOWN}", got=ascii(text)[:40], field="count")
    return int(text)

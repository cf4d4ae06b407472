"""A manager's routes: projects, classes, settings, items, members, and what there is to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from serving.labelling import figures
from serving.labelling.assigning import Assignment, assign
from serving.labelling.desk import SMALL, Desk, asked
from serving.labelling.managing import Invited, Managing, MemberSettings, NewMember, NewProject, Settings
from serving.labelling.schema import Change, hotkeys
from serving.labelling.service import Labelling
from serving.labelling.state import Project
from serving.labelling.uploads import NewItems, Uploads, close_items
from serving.routing import Request, Response, Route
from serving.workers import Workers

MAX_UPLOAD = 32 << 20
MAX_PROJECT = 1 << 20


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes of the classes, made together or not at all."""

    changes: Annotated[list[Change], msgspec.Meta(max_length=200)]


class Close(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the project is to be closed, or open again."""

    closed: bool = True


class Questions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Items that are to be asked no more, or again."""

    ids: Annotated[list[str], msgspec.Meta(max_length=1000)]
    closed: bool = True


class ManagerDesk(Desk):
    """The routes of managers."""

    def __init__(self, service: Labelling, workers: Workers) -> None:
        self._managing = Managing(service)
        self._uploads = Uploads(service)
        # What is uploaded is decoded: two requests at once, however many send.
        self._decoding = Workers("decoding", 2, 16)
        super().__init__(service, workers)

    def table(self) -> tuple[Route, ...]:
        at, role = "/api/projects/{project}", "manager"
        return (
            Route("POST", "/api/projects", "maker", self._create, "Make a project", MAX_PROJECT, NewProject),
            Route("POST", at + "/schema", role, self._schema, "Change the classes", MAX_PROJECT, Changes),
            Route("POST", at + "/settings", role, self._settings, "Change settings", MAX_PROJECT, Settings),
            Route("POST", at + "/close", role, self._close, "Close the project, or open it", SMALL, Close),
            Route("POST", at + "/items", role, self._items, "Add items", MAX_UPLOAD, NewItems),
            Route("POST", at + "/questions", role, self._questions, "Take questions back", MAX_PROJECT, Questions),
            Route("POST", at + "/assignments", role, self._assign, "Items for some alone", MAX_PROJECT, Assignment),
            Route("GET", at + "/members", role, self._members, "Who is in the project"),
            Route("POST", at + "/members", role, self._invite, "Have somebody in it", SMALL, NewMember, Invited),
            Route("POST", at + "/members/{name}", role, self._member, "Change a member", SMALL, MemberSettings),
            Route("GET", at + "/settings", role, self._standing, "Everything that stands of the project"),
            Route("GET", at + "/progress", role, self._progress, "How far it is"),
            Route("GET", at + "/annotators", role, self._annotators, "How each annotator does"),
            Route("GET", at + "/disputes", role, self._disputes, "What they do not agree on"),
            Route("GET", at + "/agreement", role, self._agreement, "Agreement beyond chance"),
            Route("GET", at + "/costs", role, self._costs, "Money"),
        )

    def close(self) -> None:
        self._decoding.close()

    async def _create(self, request: Request) -> Response:
        ask = asked(request, NewProject)
        return await self.answer(lambda: self._managing.create(ask, request.caller))

    async def _schema(self, request: Request) -> Response:
        ask, project = asked(request, Changes), request.params["project"]
        return await self.answer(lambda: self._managing.change_schema(project, ask.changes, request.caller))

    async def _settings(self, request: Request) -> Response:
        ask, project = asked(request, Settings), request.params["project"]
        return await self.answer(lambda: self._managing.settle(project, ask, request.caller))

    async def _close(self, request: Request) -> Response:
        ask, project = asked(request, Close), request.params["project"]

        def work() -> dict[str, bool]:
            self._managing.close(project, request.caller, closed=ask.closed)
            return {"closed": ask.closed}

        return await self.answer(work)

    async def _items(self, request: Request) -> Response:
        project = request.params["project"]

        def work() -> bytes:
            return msgspec.json.encode(self._uploads.add(project, asked(request, NewItems)))

        return Response(await self._decoding.do(work))

    async def _questions(self, request: Request) -> Response:
        ask, project = asked(request, Questions), request.params["project"]
        return await self.answer(lambda: {"changed": close_items(self.service, project, ask.ids, closed=ask.closed)})

    async def _assign(self, request: Request) -> Response:
        ask, project = asked(request, Assignment), request.params["project"]
        return await self.answer(lambda: {"assigned": assign(self.service, project, ask)})

    async def _members(self, request: Request) -> Response:
        return await self._look(request, lambda state: {"members": [m for _, m in sorted(state.members.items())]})

    async def _invite(self, request: Request) -> Response:
        ask, project = asked(request, NewMember), request.params["project"]
        return await self.answer(lambda: self._managing.invite(project, ask, request.caller))

    async def _member(self, request: Request) -> Response:
        ask, project, name = asked(request, MemberSettings), request.params["project"], request.params["name"]
        return await self.answer(lambda: self._managing.change_member(project, name, ask, request.caller))

    async def _standing(self, request: Request) -> Response:
        return await self._look(
            request,
            lambda s: {
                "project": s.now,
                "hotkeys": hotkeys(s.now.schema),
                "versions": [s.versions[v] for v in sorted(s.versions)],
            },
        )

    async def _progress(self, request: Request) -> Response:
        return await self._look(request, figures.progress)

    async def _annotators(self, request: Request) -> Response:
        project = request.params["project"]

        def work() -> Any:
            """One member at a time: nobody waits for all of them."""
            with self.service.book.reading(project) as state:
                names = sorted(state.members)
            made = []
            for name in names:
                with self.service.book.reading(project) as state:
                    made.append(figures.annotator(state, name))
            return {"annotators": made}

        return await self.answer(work)

    async def _disputes(self, request: Request) -> Response:
        return await self._look(
            request, lambda state: {"items": [figures.shown(state, about) for about in figures.disputed(state)]}
        )

    async def _agreement(self, request: Request) -> Response:
        project = request.params["project"]

        def work() -> Any:
            with self.service.book.reading(project) as state:
                found = figures.agreement(state)
            return found()

        return await self.answer(work)

    async def _costs(self, request: Request) -> Response:
        return await self._look(request, figures.costs)

    async def _look(self, request: Request, read: Callable[[Project], Any]) -> Response:
        project = request.params["project"]

        def work() -> Any:
            with self.service.book.reading(project) as state:
                return msgspec.to_builtins(read(state))

        return await self.answer(work)

"""What every member of a project can see of it: its schema, how far they are, and its items' bytes."""

from __future__ import annotations

from typing import Any

from serving.labelling import figures, media
from serving.labelling.desk import Desk
from serving.labelling.ranges import ranged
from serving.labelling.schema import hotkeys
from serving.routing import Request, Response, Route
from tidemill.errors import NotFoundError


class ProjectDesk(Desk):
    """The routes of members."""

    def table(self) -> tuple[Route, ...]:
        at = "/api/projects/{project}"
        return (
            Route("GET", "/api/projects", "login", self._all, "The projects one is in"),
            Route("GET", at, "member", self._show, "A project: schema, settings, one's own progress"),
            Route("GET", at + "/media/{digest}", "member", self._media, "The bytes of an item"),
        )

    async def _all(self, request: Request) -> Response:
        name, book = request.caller, self.service.book

        def work() -> list[dict[str, Any]]:
            with book.all() as projects:
                return [
                    {
                        "project": p.name,
                        "kind": p.now.schema.kind,
                        "medium": p.now.schema.medium,
                        "roles": list(m.roles),
                        "closed": p.now.closed,
                    }
                    for p in projects
                    if (m := p.members.get(name)) is not None and m.state != "removed"
                ]

        return await self.answer(work)

    async def _show(self, request: Request) -> Response:
        project, name, book = request.params["project"], request.caller, self.service.book

        def work() -> dict[str, Any]:
            with book.reading(project) as state:
                now, member = state.now, state.members[name]
                return {
                    "project": project,
                    "schema": now.schema,
                    "hotkeys": hotkeys(now.schema),
                    "overlap": now.overlap,
                    "sure": now.sure,
                    "cost": now.cost,
                    "lease": now.lease,
                    "closed": now.closed,
                    "roles": list(member.roles),
                    "restricted": member.restricted,
                    "progress": figures.mine(state, name),
                }

        return await self.answer(work)

    async def _media(self, request: Request) -> Response:
        project, digest = request.params["project"], request.params["digest"]
        objects = self.service.objects

        def work() -> bytes:
            with self.service.book.reading(project) as state:
                if digest not in state.media:
                    raise NotFoundError("no item of this project has these bytes", got=repr(digest)[:80])
            return objects.get(digest)

        data = await self.workers.do(work)
        return ranged(data, request.header("range"), media.headers(data))

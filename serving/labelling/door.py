"""The labelling service's HTTP door: the desks' routes in one table, and what a rule means in a project."""

from __future__ import annotations

import functools

from serving.access import OPEN
from serving.labelling.annotator_desk import AnnotatorDesk
from serving.labelling.desk import Desk
from serving.labelling.gate import LabellingGate, forged
from serving.labelling.manager_desk import ManagerDesk
from serving.labelling.page_desk import PageDesk
from serving.labelling.project_desk import ProjectDesk
from serving.labelling.reviewer_desk import ReviewerDesk
from serving.labelling.service import Labelling
from serving.labelling.session_desk import SessionDesk
from serving.routing import Request, Response, Route, Router, problem
from serving.workers import Workers

WORKERS, WAITING = 16, 128
"""Requests that are worked on at once, and that wait for it; a further one is answered 429."""
BODIES = 128 << 20
"""Bytes of requests that are held at once."""
NOSNIFF = (b"x-content-type-options", b"nosniff")


class LabellingDoor(Router):
    """The ASGI application of the labelling service. `secure`: it is reached by TLS."""

    def __init__(self, service: Labelling, *, secure: bool = False) -> None:
        self._service = service
        self._workers = Workers("labelling", WORKERS, WAITING)
        self._sessions = SessionDesk(service, self._workers, secure)
        desks = (PageDesk, AnnotatorDesk, ReviewerDesk, ProjectDesk, ManagerDesk)
        self.desks: tuple[Desk, ...] = (self._sessions, *(desk(service, self._workers) for desk in desks))
        routes = [self._guarded(route) for desk in self.desks for route in desk.routes]
        super().__init__(routes, LabellingGate(service.accounts), limit=256, bodies=BODIES)

    def close(self) -> None:
        self._sessions.close()
        self._workers.close()

    def refusal(self, request: Request, route: Route) -> Response | None:
        """Whoever the rule does not mean is told so before a byte of their body is taken."""
        why = forged(request.scope["headers"]) if route.method == "POST" else ""
        if not why and route.rule != OPEN:
            why = self._refusal(route.rule, request)
        return problem(403, why) if why else None

    def _guarded(self, route: Route) -> Route:
        """The route, whose answers are taken for what they say they are."""
        inner = route.handler

        @functools.wraps(inner)
        async def handler(request: Request) -> Response:
            answer = await inner(request)
            return answer if NOSNIFF in answer.headers else answer._replace(headers=[*answer.headers, NOSNIFF])

        return route._replace(handler=handler)

    def _refusal(self, rule: str, request: Request) -> str:
        """Why the caller may not; empty where they may."""
        if rule == "login":
            return ""
        if rule == "maker":
            return "" if self._service.accounts.is_maker(request.caller) else "you may not make projects"
        # A project that is not there looks as one that one is no member of.
        roles = self._service.roles(request.params["project"], request.caller)
        if not roles or (rule != "member" and rule not in roles):
            return f"this needs the role {rule} in the project" if roles else "you are no member of such a project"
        return ""

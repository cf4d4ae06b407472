"""An annotator's routes: the next tasks, answers, skips, undo, drafts."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from serving.labelling.desk import SMALL, Desk, asked
from serving.labelling.leasing import Task
from serving.routing import Request, Response, Route

MAX_ANSWER = 1 << 20


class Next(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many tasks to have in hand: those that are there already come first."""

    count: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1


class Tasks(msgspec.Struct, frozen=True):
    """Tasks in hand. `restricted` says why nothing more is leased (empty: it is)."""

    tasks: list[Task]
    restricted: str = ""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the item of a lease is taken for, and how many seconds it took."""

    lease: str
    value: Any
    seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None


class Skip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lease to give back, and why."""

    lease: str
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


class Withdraw(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to take back."""

    answer: str


class Draft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not an answer yet."""

    lease: str
    value: Any


class AnnotatorDesk(Desk):
    """The routes of annotators."""

    def table(self) -> tuple[Route, ...]:
        at, role = "/api/projects/{project}", "annotator"
        return (
            Route("POST", at + "/next", role, self._next, "Have tasks in hand", SMALL, Next, Tasks),
            Route("POST", at + "/answers", role, self._answer, "Answer a task", MAX_ANSWER, Answer),
            Route("POST", at + "/skip", role, self._skip, "Give a task back", SMALL, Skip),
            Route("POST", at + "/withdraw", role, self._withdraw, "Take an answer back", SMALL, Withdraw),
            Route("POST", at + "/drafts", role, self._draft, "Keep a draft", MAX_ANSWER, Draft),
        )

    async def _next(self, request: Request) -> Response:
        ask, project, leasing = asked(request, Next), request.params["project"], self.service.leasing
        return await self.answer(lambda: Tasks(*leasing.next(project, request.caller, ask.count)))

    async def _answer(self, request: Request) -> Response:
        ask, project, leasing = asked(request, Answer), request.params["project"], self.service.leasing
        return await self.answer(
            lambda: {"answer": leasing.answer(project, request.caller, ask.lease, ask.value, ask.seconds)}
        )

    async def _skip(self, request: Request) -> Response:
        ask, project, leasing = asked(request, Skip), request.params["project"], self.service.leasing

        def work() -> dict[str, str]:
            leasing.skip(project, request.caller, ask.lease, ask.reason)
            return {"skipped": ask.lease}

        return await self.answer(work)

    async def _withdraw(self, request: Request) -> Response:
        ask, project, leasing = asked(request, Withdraw), request.params["project"], self.service.leasing
        return await self.answer(
            lambda: {"withdrawn": ask.answer, "task": leasing.withdraw(project, request.caller, ask.answer)}
        )

    async def _draft(self, request: Request) -> Response:
        ask, project, leasing = asked(request, Draft), request.params["project"], self.service.leasing
        return await self.answer(lambda: {"kept": leasing.draft(project, request.caller, ask.lease, ask.value)})

"""Label Studio's ML backend: what its server asks for is answered from here, and what its users answer comes here.

Label Studio is given the address `https://HOST/PROJECT` and appends `/health`, `/setup`, `/predict` and `/webhook`. It
can show a credential only by basic authentication, so the password may be an API key; the name is nothing to us.

`/predict` asks the live model, by an `Asker` that the roof hands in; `/webhook` hands annotations to
`serving.labelling.label_studio_hook`.

A task is about the item that `id` in its data names; else about the stored bytes that its image or sound names, by
digest or by the path `/api/projects/<project>/media/<digest>`; else, for texts and rows, about its own data. Nothing
that a task names is ever fetched. Source: Label Studio's webhook reference, label-studio-ml 1.0.9 and label-studio-sdk.
"""

from __future__ import annotations

import base64
import binascii
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from serving.access import Gatekeeper, Headers, Refusal
from serving.labelling import label_studio_values as written
from serving.labelling.desk import asked
from serving.labelling.label_config import MAX_CONFIG, control
from serving.labelling.label_studio_hook import Hook, Webhook
from serving.labelling.label_studio_tasks import question
from serving.labelling.prelabels import Asker, Guess, Question
from serving.labelling.service import Labelling
from serving.routing import Request, Response, Route, Router, json_of
from serving.workers import Workers
from tidemill.errors import RequestError, TooLargeError
from tidemill.label_events import LabelSchema

MAX_BODY = 64 << 20
"""Label Studio sends all tasks that were selected in one call, and annotations 5000 at once (`WEBHOOK_BATCH_SIZE`)."""
MAX_TASKS = 20_000
PATIENCE = 60.0
"""Seconds after which a call for predictions is answered with those there are: Label Studio waits for 100."""

MAX_PARTS = 2_000_000
"""A body holds no more lists and objects: three bytes of it become seventy once it is read."""

_AT_ONCE = 64

_log = logging.getLogger("tidemill.labelling")


_T = TypeVar("_T")


class NoModel:
    """An asker without a model: what is asked is answered by nothing, and the webhook is heard all the same."""

    def version(self, project: str) -> str:
        return ""

    def ask(self, project: str, schema: LabelSchema, questions: Sequence[Question]) -> Sequence[Guess | None]:
        return [None] * len(questions)


class Setup(msgspec.Struct, frozen=True):
    """Label Studio's `/setup`. Its address and access token are neither kept nor used."""

    project: Any = None
    schema: str = ""
    label_config: str = ""


class Predict(msgspec.Struct, frozen=True):
    """Label Studio's `/predict`. `params.context` is what an annotator has drawn so far, where one asks at work."""

    tasks: list[dict[str, Any]]
    label_config: str = ""
    params: Any = None


class LabelStudioGate:
    """The gate of API keys, which also takes a key as the password of basic authentication."""

    rules = Gatekeeper.rules

    def __init__(self, keys: list[str]) -> None:
        self._keys = Gatekeeper(keys)

    def admit(self, rule: str, headers: Headers, peer: str) -> str | Refusal:
        return self._keys.admit(rule, [_plain(name, value) for name, value in headers], peer)


def _plain(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    scheme, _, text = value.partition(b" ")
    if name != b"authorization" or scheme.lower() != b"basic":
        return name, value
    try:
        return name, b"Bearer " + base64.b64decode(text.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return name, b""


class LabelStudioDoor(Router):
    """The ASGI application of the ML backend. `default` is the project of an address that names none."""

    def __init__(
        self,
        service: Labelling,
        asker: Asker,
        *,
        keys: list[str] | None = None,
        default: str = "",
        patience: float = PATIENCE,
    ) -> None:
        self._service = service
        self._asker = asker
        self._default = default
        self._patience = patience
        self._hook = Hook(service)
        self._workers = Workers("label-studio", 8, 64)
        routes = [
            route
            for at in ("", "/{project}")
            for route in (
                Route("GET", at + "/health", "key", self._health, "Is the backend there"),
                Route("POST", at + "/setup", "key", self._setup, "Does the configuration fit", MAX_CONFIG * 2, Setup),
                Route("GET", at + "/versions", "key", self._versions, "Which models can be asked"),
                Route("POST", at + "/predict", "key", self._predict, "What the model says", MAX_BODY, Predict),
                Route("POST", at + "/webhook", "key", self._webhook, "What people said", MAX_BODY, Webhook),
            )
        ]
        super().__init__(routes, LabelStudioGate(keys or []), limit=256, bodies=MAX_BODY * 4)

    def close(self) -> None:
        self._workers.close()

    async def _health(self, request: Request) -> Response:
        return json_of({"status": "UP", "model_class": "tidemill", "v2": True})

    async def _setup(self, request: Request) -> Response:
        ask, project = asked(request, Setup), self._project(request)

        def work() -> dict[str, Any]:
            with self._service.book.reading(project) as state:
                schema = state.now.schema
            try:
                control(ask.schema or ask.label_config, schema)
            except RequestError as error:
                # Label Studio shows no more of it than the status.
                _log.warning("project %s: Label Studio's configuration does not fit: %s", project, error)
                raise
            return {"model_version": self._asker.version(project)}

        return json_of(await self._workers.do(work))

    async def _versions(self, request: Request) -> Response:
        project = self._project(request)
        version = await self._workers.do(lambda: self._asker.version(project))
        return json_of({"versions": [version] if version else []})

    async def _predict(self, request: Request) -> Response:
        ask, project = _asked(request, Predict), self._project(request)
        return json_of(await self._workers.do(lambda: self._guesses(project, ask)))

    async def _webhook(self, request: Request) -> Response:
        ask, project = _asked(request, Webhook), self._project(request)
        return json_of(await self._workers.do(lambda: self._hook.heard(project, ask)), 201)

    def _project(self, request: Request) -> str:
        name = request.params.get("project", self._default)
        if not name:
            raise RequestError("which project?", wanted="the address https://HOST/PROJECT in Label Studio")
        return name

    def _guesses(self, project: str, ask: Predict) -> dict[str, Any]:
        """A prediction for each task, an empty list in the place of one that is not ours or of which the model says
        nothing. Label Studio asks for all tasks at once, and a refusal of one would be the refusal of all."""
        if len(ask.tasks) > MAX_TASKS:
            raise RequestError("too many tasks at once", wanted=f"at most {MAX_TASKS}", field="tasks")
        with self._service.book.reading(project) as state:
            schema = state.now.schema
        found = control(ask.label_config, schema)
        questions: dict[int, Question] = {}
        refused: list[RequestError] = []
        with self._service.book.reading(project) as state:
            for i, task in enumerate(ask.tasks):
                try:
                    questions[i] = question(state, found, task, f"tasks[{i}]")
                except RequestError as error:
                    refused.append(error)
        if refused and not questions:
            raise refused[0]
        version = self._asker.version(project)
        made: list[Any] = [[] for _ in ask.tasks]
        for i, guess in self._asked(project, schema, questions):
            if guess is None:
                continue
            try:
                result = written.results(found, schema, guess.value, questions[i].size, guess.confidence)
            except RequestError as error:
                refused.append(error)
                continue
            if result or schema.kind in ("boxes", "multi"):  # of which nothing is something
                made[i] = {"result": result, "score": guess.confidence or 0.0, "model_version": version}
        if refused:
            _log.warning(
                "project %s: %d of %d tasks are refused: %s", project, len(refused), len(ask.tasks), refused[0]
            )
        if isinstance(ask.params, dict) and ask.params.get("context") and made == [[]]:
            made = [{"result": [], "score": 0.0, "model_version": version}]  # who asks at work waits for one
        return {"results": made, "model_version": version}

    def _asked(
        self, project: str, schema: LabelSchema, questions: dict[int, Question]
    ) -> Iterator[tuple[int, Guess | None]]:
        """Guesses, by the numbers of their questions, as many as there is patience for."""
        end = time.monotonic() + self._patience
        numbers = list(questions)
        for at in range(0, len(numbers), _AT_ONCE):
            if at and time.monotonic() >= end:
                _log.warning(
                    "project %s: %d of %d tasks have to be asked about again", project, len(numbers) - at, len(numbers)
                )
                return
            some = numbers[at : at + _AT_ONCE]
            yield from zip(some, self._asker.ask(project, schema, [questions[i] for i in some]), strict=True)


def _asked(request: Request, kind: type[_T]) -> _T:
    """The body of a large request. Raises `TooLargeError` for one of too many parts before it is read, and else what
    `asked` does."""
    parts = request.body.count(b"{") + request.body.count(b"[")
    if parts > MAX_PARTS:
        raise TooLargeError("too much at once", wanted=f"at most {MAX_PARTS} lists and objects", got=f"{parts}")
    return asked(request, kind)

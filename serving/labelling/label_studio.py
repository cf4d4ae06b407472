"""Label Studio's ML backend: what its server asks for is answered from here, and what its users answer comes here.

Label Studio is given the address `https://HOST/PROJECT` and appends `/health`, `/setup`, `/predict` and `/webhook`. It
can show a credential only by basic authentication, so the password may be an API key; the name is nothing to us.

`/predict` asks the live model, by an `Asker` that the roof hands in. `/webhook` makes of annotations `answer.given.v1`
and `answer.withdrawn.v1` on `labels.<project>`, by annotator `label-studio-<id of completed_by>`. An answer's id is
made of the annotation's id and of when it was last changed: what is delivered twice is one.

A task is about the item that `id` in its data names; else about the stored bytes that its image or sound names, by
digest or by the path `/api/projects/<project>/media/<digest>`; else, for texts and rows, about its own data. Nothing
that a task names is ever fetched. Source: Label Studio's webhook reference, label-studio-ml 1.0.9 and label-studio-sdk.
"""

from __future__ import annotations

import base64
import binascii
import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec

from connectors.label_studio import BY, annotator, answer_id
from serving.access import Gatekeeper, Headers, Refusal
from serving.labelling import label_studio_values as written
from serving.labelling.annotations_seen import AnnotationsSeen, annotation_in, stamp_in, stamp_of
from serving.labelling.desk import asked
from serving.labelling.label_config import MAX_CONFIG, control
from serving.labelling.label_studio_tasks import Question, question
from serving.labelling.service import Labelling
from serving.labelling.state import Project
from serving.routing import Request, Response, Route, Router, json_of
from serving.workers import Workers
from tidemill.errors import IncompatibleError, RequestError
from tidemill.event import Event
from tidemill.label_events import AnswerGiven, AnswerWithdrawn, LabelAsked, LabelSchema, MemberChanged

MAX_BODY = 64 << 20
"""Label Studio sends all tasks that were selected in one call, and annotations 5000 at once (`WEBHOOK_BATCH_SIZE`)."""
MAX_TASKS = 20_000
PATIENCE = 60.0
"""Seconds after which a call for predictions is answered with those there are: Label Studio waits for 100."""

_AT_ONCE = 64

_log = logging.getLogger("tidemill.labelling")


class Guess(msgspec.Struct, frozen=True):
    """What a model takes an item for, and how sure it is."""

    value: Any
    confidence: float | None = None


class Asker(Protocol):
    """Asks a project's live model."""

    def version(self, project: str) -> str:
        """The model and version that answers now; empty where there is none."""
        ...

    def ask(self, project: str, schema: LabelSchema, questions: Sequence[Question]) -> Sequence[Guess | None]:
        """A guess for each question; None where the model says nothing."""
        ...


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


class Webhook(msgspec.Struct, frozen=True):
    """A call of Label Studio's webhooks. `annotation` and `task` are lists for several at once."""

    action: str
    annotation: Any = None
    annotations: Any = None
    task: Any = None
    project: Any = None


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
        self._seen = AnnotationsSeen()
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
        ask, project = asked(request, Predict), self._project(request)
        return json_of(await self._workers.do(lambda: self._guesses(project, ask)))

    async def _webhook(self, request: Request) -> Response:
        ask, project = asked(request, Webhook), self._project(request)
        return json_of(await self._workers.do(lambda: self._heard(project, ask)), 201)

    def _project(self, request: Request) -> str:
        name = request.params.get("project", self._default)
        if not name:
            raise RequestError("which project?", wanted="the address https://HOST/PROJECT in Label Studio")
        return name

    # --- what the model says

    def _guesses(self, project: str, ask: Predict) -> dict[str, Any]:
        """A prediction for each task, an empty list in the place of one that is not ours or of which the model says
        nothing. Label Studio asks for all tasks at once, and a refusal of one would be the refusal of all."""
        if len(ask.tasks) > MAX_TASKS:
            raise RequestError("too many tasks at once", wanted=f"at most {MAX_TASKS}", field="tasks")
        questions: dict[int, Question] = {}
        refused: list[RequestError] = []
        by_media: dict[str, Question] = {}
        with self._service.book.reading(project) as state:
            schema = state.now.schema
            found = control(ask.label_config, schema)
            for i, task in enumerate(ask.tasks):
                try:
                    questions[i] = question(state, found, task, f"tasks[{i}]", by_media)
                except RequestError as error:
                    refused.append(error)
        if refused:
            _log.warning(
                "project %s: %d of %d tasks are refused: %s", project, len(refused), len(ask.tasks), refused[0]
            )
            if not questions:
                raise refused[0]
        version = self._asker.version(project)
        made: list[Any] = [[] for _ in ask.tasks]
        for i, guess in self._asked(project, schema, questions):
            if guess is not None:
                result = written.results(found, schema, guess.value, questions[i].size, guess.confidence)
                if result or schema.kind in ("boxes", "multi"):  # of which nothing is something
                    made[i] = {"result": result, "score": guess.confidence or 0.0, "model_version": version}
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

    # --- what people said

    def _heard(self, project: str, call: Webhook) -> dict[str, Any]:
        if call.action in ("ANNOTATIONS_DELETED", "ANNOTATION_DELETED"):
            gone = call.annotations if call.annotations is not None else call.annotation
            return {"withdrawn": self._deleted(project, _several(gone, "annotations"))}
        if call.action not in ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED"):
            return {"ignored": call.action[:80]}
        config = call.project.get("label_config") if isinstance(call.project, dict) else None
        if not isinstance(config, str):
            raise RequestError("no configuration", wanted="send_payload of the webhook", field="project.label_config")
        annotations = _several(call.annotation, "annotation")
        tasks = _several(call.task, "task")
        taken, refused = 0, []
        for i, annotation in enumerate(annotations):
            task = tasks[i] if len(tasks) == len(annotations) else _task_of(annotation, tasks)
            try:
                taken += self._answered(project, config, annotation, task)
            except RequestError as error:
                # One that cannot be taken keeps none of the others from being; all that is wrong is said at the end.
                refused.append(error)
        if refused:
            _log.warning("project %s: %d annotations of Label Studio are refused", project, len(refused))
            if len(annotations) > 1:
                raise RequestError(f"{len(refused)} of {len(annotations)} annotations are refused", got=str(refused[0]))
            raise refused[0]
        return {"answers": taken}

    def _answered(self, project: str, config: str, annotation: dict[str, Any], task: dict[str, Any]) -> int:
        """One annotation; 1 where an answer of it stands now."""
        name, by, stamp = _number(annotation, "id"), _who(annotation), stamp_of(annotation)
        now = self._service.clock.now()
        with self._service.book.reading(project) as state:
            if state.now.closed:
                raise IncompatibleError("the project is closed", where=f"project {project}")
            schema = state.now.schema
            found = control(config, schema)
            one = question(state, found, task, "task")
            known = state.items.get(one.item)
            standing = known.answers.get(by) if known is not None else None
            if self._seen.older(state, name, stamp) or (standing is not None and stamp < stamp_in(standing.id)):
                return 0  # webhooks come in any order, and the newer one stands
            id, wrong = answer_id(name, stamp), None
            if id in state.leases:
                return 1  # delivered again
            made: list[Event] = []
            if by not in state.members:
                made.append(_member(project, by, now))
            if known is None or not known.asked.id:
                made.append(_asked(one, now))
            result = annotation.get("result")
            if annotation.get("was_cancelled"):
                made += self._silent(state, name, stamp, standing, "skipped in Label Studio")
            elif written.says_nothing(found, schema, result):
                made += self._silent(state, name, stamp, standing, "nothing chosen in Label Studio")
            else:
                at = known.after(by, now) if known is not None else now
                try:
                    value = written.value_of(found, schema, result, one.size)
                except RequestError as error:
                    # What the annotation said before, it says no more.
                    own = standing is not None and annotation_in(standing.id) == name
                    wrong = error
                    made = self._silent(state, name, stamp, standing, "changed in Label Studio") if own else []
                else:
                    seconds = _seconds(annotation.get("lead_time"))
                    version = schema.version
                    made.append(
                        AnswerGiven(id=id, time=at, about=one.item, by=by, value=value, schema=version, seconds=seconds)
                    )
        self._service.book.append(project, made)
        if wrong is not None:
            raise wrong
        return int(bool(made) and isinstance(made[-1], AnswerGiven))

    def _silent(
        self, state: Project, annotation: int, stamp: int, standing: AnswerGiven | None, reason: str
    ) -> list[Event]:
        """The annotation says nothing from `stamp` on: whatever its annotator said of the item counts no more."""
        self._seen.skipped(state, annotation, stamp)
        return [_withdrawn(standing, self._service.clock.now(), reason)] if standing is not None else []

    def _deleted(self, project: str, annotations: list[dict[str, Any]]) -> int:
        now = self._service.clock.now()
        gone: list[Event] = []
        with self._service.book.reading(project) as state:
            for name in {_number(one, "id") for one in annotations}:
                self._seen.skipped(state, name, now)  # what was said of it before may yet come
                lease = state.leases.get(id := self._seen.newest(state, name))
                if lease is None or lease.fate != "answered":
                    continue
                # An annotator's later annotation of the item may have taken this one's place.
                answer = state.items[lease.about].answers.get(lease.by)
                if answer is not None and answer.id == id:
                    gone.append(_withdrawn(answer, now, "deleted in Label Studio"))
        self._service.book.append(project, gone)
        return len(gone)


def _several(given: Any, field: str) -> list[dict[str, Any]]:
    found = given if isinstance(given, list) else [given]
    if len(found) > MAX_TASKS or not all(isinstance(one, dict) for one in found):
        raise RequestError("not what a webhook sends", wanted=f"objects, at most {MAX_TASKS}", field=field)
    return found


def _task_of(annotation: dict[str, Any], tasks: list[dict[str, Any]]) -> dict[str, Any]:
    found = next((task for task in tasks if task.get("id") == annotation.get("task")), None)
    if found is None:
        raise RequestError("the annotation's task is missing", got=ascii(annotation.get("task"))[:40], field="task")
    return found


def _number(given: dict[str, Any], field: str) -> int:
    found = given.get(field)
    if type(found) is not int or found < 0:
        raise RequestError("not a number of Label Studio's", got=ascii(found)[:40], field=field)
    return found


def _who(annotation: dict[str, Any]) -> str:
    who = annotation.get("completed_by")
    return annotator(_number(who if isinstance(who, dict) else {"id": who}, "id"))


def _seconds(given: Any) -> float | None:
    return float(given) if type(given) in (int, float) and 0 <= given <= 86_400 else None


def _member(project: str, by: str, now: int) -> MemberChanged:
    return MemberChanged(
        id=uuid.uuid4().hex, time=now, project=project, member=by, roles=["annotator"], state="joined", by=BY
    )


def _asked(one: Question, now: int) -> LabelAsked:
    """What makes an item known that Label Studio alone asks about: nobody here is asked for it."""
    return LabelAsked(id=uuid.uuid4().hex, time=now, about=one.item, payload=one.payload, reason=BY, closed=True)


def _withdrawn(answer: AnswerGiven, now: int, reason: str) -> AnswerWithdrawn:
    return AnswerWithdrawn(
        id=uuid.uuid4().hex, time=now, about=answer.about, by=answer.by, reason=reason, answer=answer.id
    )

"""What Label Studio's users say and take back, as its webhooks tell it: `answer.given.v1` and `answer.withdrawn.v1`.

An answer is by annotator `label-studio-<id of completed_by>`; its id is made of the annotation's id and of when it was
last changed, and its time is that too (or now, where Label Studio's clock is ahead of ours). So what is delivered twice
is one, and of two changes the later stands, in whatever order and by whichever process they are taken. Within a process
they are taken one after the other, and each is judged by what the one before it left.

Source: Label Studio's webhook reference, and what Label Studio 1.23.2 sends.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from connectors.label_studio import BY, annotator, answer_id, seconds_of
from serving.labelling import label_studio_values as written
from serving.labelling.annotations_seen import AnnotationsSeen, annotation_in, number_of, stamp_in, stamp_of
from serving.labelling.label_config import Control, control
from serving.labelling.label_studio_tasks import question
from serving.labelling.prelabels import Question
from serving.labelling.service import Labelling
from serving.labelling.state import Project
from tidemill.errors import IncompatibleError, RequestError, UnavailableError
from tidemill.event import Event
from tidemill.label_events import AnswerGiven, AnswerWithdrawn, LabelAsked, LabelSchema, MemberChanged

MAX_ANNOTATIONS = 20_000
TURN = 30.0
"""Seconds that an annotation waits for others of its project to be taken."""

_log = logging.getLogger("tidemill.labelling")


class Webhook(msgspec.Struct, frozen=True):
    """A call of Label Studio's webhooks. `annotation` and `task` are lists for several at once."""

    action: str
    annotation: Any = None
    annotations: Any = None
    task: Any = None
    project: Any = None


class Form:
    """The labelling configuration of one call, read once for all its annotations."""

    def __init__(self, config: str) -> None:
        self._config = config
        self._read: tuple[LabelSchema, Control] | None = None

    def under(self, schema: LabelSchema) -> Control:
        """What it says under the project's schema. Raises `RequestError` where it does not fit."""
        if self._read is None or self._read[0] is not schema:
            self._read = schema, control(self._config, schema)
        return self._read[1]


class Taken(NamedTuple):
    """What comes of an annotation: events, whether an answer of it stands then, and what was wrong with it."""

    made: list[Event]
    stands: bool = False
    wrong: RequestError | IncompatibleError | None = None


class Hook:
    """Hears the webhooks of all projects of a service."""

    def __init__(self, service: Labelling) -> None:
        self._service = service
        self._seen = AnnotationsSeen()
        self._turns: dict[str, threading.Lock] = {}

    def heard(self, project: str, call: Webhook) -> dict[str, Any]:
        """What came of a call. Raises `RequestError` or `IncompatibleError` for what cannot be taken, once all is
        taken that can be."""
        if call.action in ("ANNOTATIONS_DELETED", "ANNOTATION_DELETED"):
            gone = call.annotations if call.annotations is not None else call.annotation
            return {"withdrawn": self._deleted(project, _several(gone, "annotations"))}
        if call.action not in ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED"):
            return {"ignored": call.action[:80]}
        config = call.project.get("label_config") if isinstance(call.project, dict) else None
        if not isinstance(config, str):
            raise RequestError("no configuration", wanted="send_payload of the webhook", field="project.label_config")
        annotations, form = _several(call.annotation, "annotation"), Form(config)
        tasks = _tasks_of(annotations, _several(call.task, "task"))
        with self._service.book.reading(project) as state:
            schema = state.now.schema
        form.under(schema)  # here, where it keeps nobody else waiting
        taken, refused = 0, []
        for annotation, task in zip(annotations, tasks, strict=True):
            try:
                taken += self._answered(project, form, annotation, task)
            except (RequestError, IncompatibleError) as error:
                refused.append(error)
        if refused:
            _log.warning("project %s: %d annotations of Label Studio are refused", project, len(refused))
            if len(annotations) > 1:
                raise RequestError(f"{len(refused)} of {len(annotations)} annotations are refused", got=str(refused[0]))
            raise refused[0]
        return {"answers": taken}

    @contextmanager
    def _turn(self, project: str) -> Iterator[None]:
        """One at a time looks at what stands, and writes what comes of it. Raises `UnavailableError` where those before
        it do not get done."""
        with self._service.book.reading(project):
            turn = self._turns.setdefault(project, threading.Lock())
        if not turn.acquire(timeout=TURN):
            raise UnavailableError("annotations before this one are not written yet", where=f"project {project}")
        try:
            yield
        finally:
            turn.release()

    def _answered(self, project: str, form: Form, annotation: dict[str, Any], task: dict[str, Any] | None) -> int:
        """One annotation; 1 where an answer of it stands now."""
        if task is None:
            got = ascii(annotation.get("task"))[:40]
            raise RequestError("the annotation's task is missing", wanted="its number", got=got, field="task")
        now = self._service.clock.now()
        with self._turn(project):
            with self._service.book.reading(project) as state:
                if state.now.closed:
                    raise IncompatibleError("the project is closed", where=f"project {project}")
                taken = self._taken(state, form.under(state.now.schema), annotation, task, now)
            self._service.book.append(project, taken.made)
        if taken.wrong is not None:
            raise taken.wrong
        return int(taken.stands)

    def _taken(
        self, state: Project, found: Control, annotation: dict[str, Any], task: dict[str, Any], now: int
    ) -> Taken:
        name, by, stamp = number_of(annotation, "id"), _who(annotation), stamp_of(annotation)
        one, schema = question(state, found, task, "task"), state.now.schema
        self._seen.heard(state, stamp, now)
        known = state.items.get(one.item)
        standing = known.answers.get(by) if known is not None else None
        if self._seen.older(state, name, stamp) or (standing is not None and stamp < stamp_in(standing.id)):
            return Taken([])  # webhooks come in any order, and the newer one stands
        id, result, wrong, value = answer_id(name, stamp), annotation.get("result"), None, None
        if id in state.leases:
            return Taken([], state.leases[id].fate == "answered")  # delivered again
        if annotation.get("was_cancelled"):
            silent = "skipped in Label Studio"
        elif written.says_nothing(found, schema, result):
            silent = "nothing chosen in Label Studio"
        else:
            silent = ""
            try:
                _may_answer(state.members.get(by))
                value = written.value_of(found, schema, result, one.size)
            except (RequestError, IncompatibleError) as error:
                silent, wrong = "changed in Label Studio", error
        if silent:
            # What the annotation said before it says no more; what its annotator said by another they still say.
            self._seen.silent(state, name, stamp)
            own = standing is not None and annotation_in(standing.id) == name
            return Taken([_withdrawn(standing, now, silent)] if standing is not None and own else [], wrong=wrong)
        made: list[Event] = [] if by in state.members else [_member(state.name, by, now)]
        made += [_shown(one, now)] if known is None or not known.asked.id else []
        at = min(stamp, now)
        at = at if known is None else known.after(by, at)
        seconds, version = seconds_of(annotation.get("lead_time")), schema.version
        answer = AnswerGiven(id=id, time=at, about=one.item, by=by, value=value, schema=version, seconds=seconds)
        return Taken([*made, answer], True)

    def _deleted(self, project: str, annotations: list[dict[str, Any]]) -> int:
        now, names = self._service.clock.now(), {number_of(one, "id") for one in annotations}
        with self._service.book.reading(project) as state:
            # Before all that waits for its turn: thousands that were created may be there, and these not among them.
            for name in names:
                self._seen.deleted(state, name, now)
        with self._turn(project):
            gone: list[Event] = []
            with self._service.book.reading(project) as state:
                for name in names:
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
    if len(found) > MAX_ANNOTATIONS or not all(isinstance(one, dict) for one in found):
        raise RequestError("not what a webhook sends", wanted=f"objects, at most {MAX_ANNOTATIONS}", field=field)
    return found


def _tasks_of(annotations: list[dict[str, Any]], tasks: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
    """Each annotation's task, by the number it names, or by its place where it names none."""
    by_number = {task["id"]: task for task in reversed(tasks) if type(task.get("id")) is int}
    found: list[dict[str, Any] | None] = []
    for i, annotation in enumerate(annotations):
        number = annotation.get("task")
        if number is None and len(tasks) == len(annotations):
            found.append(tasks[i])
        else:
            found.append(by_number.get(number) if type(number) is int else None)
    return found


def _who(annotation: dict[str, Any]) -> str:
    who = annotation.get("completed_by")
    return annotator(number_of(who if isinstance(who, dict) else {"id": who}, "id"))


def _may_answer(member: MemberChanged | None) -> None:
    """Raises `IncompatibleError` for who was restricted here, or removed."""
    if member is not None and (member.restricted or member.state == "removed"):
        what = "removed from the project" if member.state == "removed" else f"restricted: {member.restricted}"
        raise IncompatibleError("the annotator may not answer", where=member.member, got=what[:200])


def _member(project: str, by: str, now: int) -> MemberChanged:
    return MemberChanged(
        id=uuid.uuid4().hex, time=now, project=project, member=by, roles=["annotator"], state="joined", by=BY
    )


def _shown(one: Question, now: int) -> LabelAsked:
    """What makes an item known that Label Studio alone asks about: nobody here is asked for it."""
    return LabelAsked(
        id=uuid.uuid4().hex, time=now, about=one.item, payload=one.payload, reason=BY, closed=True, shows=True
    )


def _withdrawn(answer: AnswerGiven, now: int, reason: str) -> AnswerWithdrawn:
    return AnswerWithdrawn(
        id=uuid.uuid4().hex, time=now, about=answer.about, by=answer.by, reason=reason, answer=answer.id
    )

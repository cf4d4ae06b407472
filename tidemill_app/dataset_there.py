"""What a project has already, so that an import sends nothing twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from connectors import arrow
from connectors.datasets.assembling import gather_items
from connectors.datasets.formats.annotators import read_as
from connectors.label_studio import BY
from tidemill import events
from tidemill.decode import Decoder, type_of
from tidemill.errors import BadEvent
from tidemill.event import Event
from tidemill.events import LabelGiven
from tidemill.label_events import (
    AnswerGiven,
    AnswerWithdrawn,
    LabelAsked,
    LabelReviewed,
    LabelSchema,
    LabelSettled,
    MemberChanged,
    ProjectChanged,
)
from tidemill.log import MAX_RECORD_BYTES
from tidemill.project_standing import Standing, after
from tidemill.state import digest
from tidemill.stream import StreamSpec
from tidemill.time import MIN_TIME
from tidemill.version import Span
from tidemill_app.reading import pieces, read_all
from tidemill_app.wiring import Platform

SOURCE = "/imports"
_IDS = frozenset({"label.given.v1", "label.reviewed.v1", "project.changed.v1"})
_CROWD = frozenset(
    {"answer.given.v1", "answer.withdrawn.v1", "label.asked.v1", "label.settled.v1", "member.changed.v1"}
)


def digest_of(value: Any) -> str:
    """What tells a label from another."""
    return digest(msgspec.json.encode(value))[:16]


@dataclass
class Heard:
    """What one annotator said of one item so far: time and id of the last answer, the digest of what an import told
    last, and times and digests of everything; of an annotator of ours who is called so in an export, times alone, for
    an export names classes as they are called later."""

    last: tuple[int, str] = (MIN_TIME, "")
    told: str = ""
    times: set[tuple[int, str]] = field(default_factory=set)


@dataclass
class There:
    """Items with the digests of their bytes and of their texts; the ids of the labels and decisions that imports gave,
    by item the digests of the last of each, and when it was last decided; and the schema.

    Where it was asked for, also (item, annotator) by id of every answer, what each said of each item, (annotator,
    answer) that are withdrawn, the items that a crowd labels and those that who labels knows, the members, and the
    fields of the items that Label Studio's tasks named.
    """

    items: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    labels: dict[str, str] = field(default_factory=dict)
    decided: dict[str, str] = field(default_factory=dict)
    reviewed: dict[str, int] = field(default_factory=dict)
    schema: LabelSchema | None = None
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)
    heard: dict[tuple[str, str], Heard] = field(default_factory=dict)
    withdrawn: set[tuple[str, str]] = field(default_factory=set)
    crowd: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    tasks: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def item(self, id: str, payload: Mapping[str, Any]) -> None:
        """An item with this id is there."""
        self.items[id] = payload.get("media") or ""
        if isinstance(text := payload.get("text"), str):
            self.texts[id] = digest(text.encode())
        self._task(id, payload)

    def take(self, event: Event) -> None:
        """An event of the project is there, after all those that were taken."""
        ours = event.source == SOURCE
        if isinstance(event, LabelGiven):
            if ours:
                self.told.add(event.id)
                self.labels[event.about] = digest_of(event.value)
            if (event.by or "").startswith("consensus:"):
                self.crowd.add(event.about)
        elif isinstance(event, LabelReviewed):
            self.crowd.add(event.about)
            self.reviewed[event.about] = max(event.time, self.reviewed.get(event.about, MIN_TIME))
            if ours:
                self.told.add(event.id)
                self.decided[event.about] = digest_of(event.value)
        elif isinstance(event, AnswerGiven):
            self._answer(event)
        elif isinstance(event, AnswerWithdrawn):
            self.withdrawn.add((event.by, event.answer))
        elif isinstance(event, LabelSettled):
            self.crowd.add(event.about)
        elif isinstance(event, LabelAsked):
            self.asked.add(event.about)
            if event.payload:
                self._task(event.about, event.payload)
        elif isinstance(event, MemberChanged):
            self.members.add(event.member)

    def unused(self, id: str) -> str:
        """An id that nothing has which an import told: `id`, or one made of it."""
        count, made = 1, id
        while made in self.told or made in self.answers:
            count += 1
            made = f"{id}/{count}"
        return made

    def _answer(self, event: AnswerGiven) -> None:
        self.answers[event.id] = event.about, event.by
        self.crowd.add(event.about)
        # An annotator of ours has another name in an export, and says no second time what comes back in it.
        if (back := read_as(event.by)) != event.by:
            self.heard.setdefault((event.about, back), Heard()).times.add((event.time, ""))
        heard, digest = self.heard.setdefault((event.about, event.by), Heard()), digest_of(event.value)
        heard.times.add((event.time, digest))
        heard.last = max(heard.last, (event.time, event.id))
        heard.told = digest if event.source == SOURCE else heard.told

    def _task(self, id: str, payload: Mapping[str, Any]) -> None:
        if f"{BY}-" in id and not payload.get("media"):
            self.tasks.setdefault(id, payload)


def there(platform: Platform, spec: StreamSpec, crowd: bool) -> There:
    """Read what the project has; with `crowd`, what people said and were asked too."""
    found, log = There(), platform.log
    decoder = Decoder(spec, arrow.decode, max_event_bytes=MAX_RECORD_BYTES)
    for p in log.partitions(spec.topic):
        for records in pieces(log, Span(p.topic, p.number, log.begin(p), log.end(p))):
            items, _ = gather_items(decoder, records, lambda partition, these: these)
            for one in items:
                found.item(one.id, one.payload)
    stands: Standing | None = None
    read = _IDS | (_CROWD if crowd else frozenset())
    for record in read_all(log, f"labels.{spec.name}"):
        if type_of(record) not in read:
            continue
        try:
            event = events.decode(record.value or b"")
        except BadEvent:
            continue
        if isinstance(event, ProjectChanged) and event.project == spec.name:
            stands = after(stands, event)
        else:
            found.take(event)
    found.schema = None if stands is None else stands.schema
    return found

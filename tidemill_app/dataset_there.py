"""What a project has already, so that an import sends nothing twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors import arrow
from connectors.datasets.assembling import gather_items
from connectors.label_studio import BY
from tidemill import events
from tidemill.decode import Decoder, type_of
from tidemill.errors import BadEvent
from tidemill.events import LabelGiven
from tidemill.label_events import AnswerGiven, LabelAsked, LabelReviewed, LabelSchema, MemberChanged, ProjectChanged
from tidemill.log import MAX_RECORD_BYTES
from tidemill.project_standing import Standing, after
from tidemill.state import digest
from tidemill.stream import StreamSpec
from tidemill.version import Span
from tidemill_app.reading import pieces, read_all
from tidemill_app.wiring import Platform

_IDS = frozenset({"label.given.v1", "label.reviewed.v1"})
_CROWD = frozenset({"answer.given.v1", "label.asked.v1", "member.changed.v1"})


@dataclass
class There:
    """Items with the digests of their bytes and of their texts, ids of the labels and decisions that imports gave, and
    the schema; where it was asked for, (item, annotator) by id of every answer, the items that are known to who labels
    them, the members, and the fields of the items that Label Studio's tasks named."""

    items: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    schema: LabelSchema | None = None
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    tasks: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def item(self, id: str, payload: Mapping[str, Any]) -> None:
        """An item with this id is there."""
        self.items[id] = payload.get("media") or ""
        if isinstance(text := payload.get("text"), str):
            self.texts[id] = digest(text.encode())
        self._task(id, payload)

    def asked_about(self, id: str, payload: Mapping[str, Any]) -> None:
        """An item with this id is known to who labels."""
        self.asked.add(id)
        if payload:
            self._task(id, payload)

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
    read = _IDS | {"project.changed.v1"} | (_CROWD if crowd else frozenset())
    for record in read_all(log, f"labels.{spec.name}"):
        if type_of(record) not in read:
            continue
        try:
            event = events.decode(record.value or b"")
        except BadEvent:
            continue
        if isinstance(event, LabelGiven | LabelReviewed) and event.source == "/imports":
            found.told.add(event.id)
        elif isinstance(event, ProjectChanged) and event.project == spec.name:
            stands = after(stands, event)
        elif isinstance(event, AnswerGiven):
            found.answers[event.id] = event.about, event.by
        elif isinstance(event, LabelAsked):
            found.asked_about(event.about, event.payload)
        elif isinstance(event, MemberChanged):
            found.members.add(event.member)
    found.schema = None if stands is None else stands.schema
    return found

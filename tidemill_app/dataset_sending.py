"""The items of an import on their way into the log, batch by batch: bytes first, then items and labels in one
transaction.

What is there is known by its id, so nothing is sent twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from connectors.datasets.assembling import merges
from connectors.datasets.examples import PLACED
from connectors.datasets.formats.files import MAX_MEDIA
from connectors.datasets.formats.item import Incoming, RawItem, classes_in
from connectors.datasets.images import probe
from connectors.label_studio import item_name
from serving.labelling.book import INDEX
from tidemill import events
from tidemill.cloudevents import headers_of, to_headers
from tidemill.decode import Bad, Decoder
from tidemill.errors import UserError
from tidemill.event import Event
from tidemill.events import LabelGiven
from tidemill.label_events import LabelAsked, LabelClass, LabelSchema, ProjectChanged
from tidemill.log import MAX_RECORD_BYTES, Record, TopicSpec
from tidemill.state import digest
from tidemill.stream import RECORD_TIME, StreamSpec
from tidemill.time import to_rfc3339
from tidemill_app.dataset_answers import Crowd
from tidemill_app.dataset_there import SOURCE, digest_of, there
from tidemill_app.wiring import Platform


@dataclass
class Imported:
    """What an import did: items, labels, several annotators' answers and questions sent now, items there before, what
    of the source was left out."""

    project: str
    format: str
    items: int = 0
    labels: int = 0
    answers: int = 0
    asked: int = 0
    there: int = 0
    bytes: int = 0
    left_out: list[str] = field(default_factory=list)


class Sending:
    """One import under way: it is over with `close`."""

    def __init__(
        self, platform: Platform, spec: StreamSpec, incoming: Incoming, done: Imported, prefix: str, ask: bool
    ) -> None:
        self._platform, self._spec, self._incoming, self._done, self._prefix = platform, spec, incoming, done, prefix
        self._ask = ask
        self._names = {f.name for f in spec.fields}
        self._begun: set[str] = set()
        self._dropped: set[str] = set()
        self._decoder = Decoder(spec, max_event_bytes=MAX_RECORD_BYTES)
        self._type = spec.tag or f"{spec.name}.v{spec.version}"
        self._writer = platform.log.writer(f"tidemill.import.{spec.name}")  # an earlier import is over from here on
        try:
            self._there = there(platform, spec, incoming.people)
            schema = self._schema(self._there.schema)
        except BaseException:
            self._writer.close()
            raise
        self._into = merges(schema)
        self._crowd = Crowd(spec.name, schema, self._there, prefix, self._ids, self._send)

    def _schema(self, schema: LabelSchema | None) -> LabelSchema:
        """The project's schema, which has the source's classes. One without a schema is given it, and an overlap of no
        more than the fewest annotators of an item, so that what they agree on is settled."""
        incoming, project = self._incoming, self._spec.name
        if schema is None:
            classes = tuple(LabelClass(name, name) for name in incoming.classes)
            schema = LabelSchema(kind=incoming.kind, medium=incoming.medium, classes=classes)
            event = ProjectChanged(
                id=f"import/{project}",
                time=self._platform.clock.now(),
                source=SOURCE,
                project=project,
                schema=schema,
                overlap=(min(3, incoming.fewest or 3), 5),
                by="import",
            )
            self._writer.begin()
            self._send(event, project)
            self._writer.commit()
            self._named(event)
        elif schema.kind != incoming.kind and incoming.classes:
            raise UserError("the project's labels are of another kind", wanted=schema.kind, got=incoming.kind)
        into = merges(schema)
        if unknown := sorted(set(incoming.classes) - into.keys()):
            raise UserError(
                "the project has no such classes",
                where=f"project {project}",
                wanted=f"some of {', '.join(into)}",
                got=", ".join(unknown[:10]),
                fix="Add them to the project's schema first, or import into a project of its own.",
            )
        return schema

    def _named(self, event: ProjectChanged) -> None:
        """Say in the index that there is this project, so that it can be labelled. One whose events stand in several
        partitions cannot: they have no order between them."""
        log = self._platform.log
        if len(log.partitions(f"labels.{event.project}")) != 1:
            return
        log.create(INDEX, TopicSpec(compacted=True))
        self._writer.begin()
        self._writer.send(INDEX, events.encode(event), key=event.project.encode(), headers=headers_of(event))
        self._writer.commit()

    def send(self, items: list[RawItem]) -> None:
        """Store and write one batch."""
        now = self._platform.clock.now()
        stored = iter(self._platform.artefacts.put_all(item.data for item in items if item.data is not None))
        media_of = [next(stored) if item.data is not None else "" for item in items]
        ids = [self._called(item) for item in items]
        items = [self._counted(item, id) for item, id in zip(items, ids, strict=True)]
        rows = [self._item(item, id, media, now) for item, id, media in zip(items, ids, media_of, strict=True)]
        new = [row for row in rows if row is not None]
        self._check(new)
        spec = self._spec
        self._writer.begin()
        try:
            for id, payload, value, at in new:
                key = None if spec.key is None else str(payload[spec.key]).encode()
                headers = to_headers(id, spec.source, self._type, None if spec.time == RECORD_TIME else at)
                self._writer.send(spec.topic, value, key=key, headers=headers)
            labelled = {id for item, id in zip(items, ids, strict=True) if item.label is not None}
            for id, payload, _, at in new:
                if self._ask and id not in labelled:
                    self._question(id, payload, at)
            for item, id, media in zip(items, ids, media_of, strict=True):
                if item.label is not None:
                    self._label(id, self._ids(item.label), now)
                if item.answers or item.task is not None:
                    self._crowd.say(item, id, *self._shown(self._payload(item, id, media, now)), now)
        except BaseException:
            self._writer.abort()
            raise
        self._writer.commit()
        self._done.items += len(new)
        self._done.there += len(items) - len(new)
        self._done.bytes += sum(len(item.data or b"") for item in items)

    def _called(self, item: RawItem) -> str:
        """The item's id in the project."""
        if item.task is None:
            return self._prefix + item.id
        named = self._there.tasks
        id = self._prefix + item_name(*item.task, lambda name: named.get(self._prefix + name))
        named.setdefault(id, item.task[1])  # another task of this source may have its number
        return id

    def _counted(self, item: RawItem, id: str) -> RawItem:
        """The item with the one annotator's label as an answer, where a crowd labels the item: one voice among them."""
        if item.said is None or id not in self._there.crowd:
            return item
        return replace(item, label=None, answers=(item.said,))

    def _item(self, item: RawItem, id: str, media: str, now: int) -> tuple[str, dict[str, Any], bytes, int] | None:
        """Id, payload, its JSON, and event time of an item; None where it is there already."""
        if not id.isprintable():
            raise UserError("not a usable id", wanted="printable characters", got=ascii(id)[:120])
        if id in self._begun:
            raise UserError("two items of the source have one id", got=id)
        self._begun.add(id)
        if id in self._there.items:
            # An import once kept every image as it came.
            if self._there.items[id] not in (media, item.original or media):
                raise self._another(id, "bytes")
            text, there = item.fields.get("text"), self._there.texts.get(id)
            if isinstance(text, str) and there not in (None, digest(text.encode())):
                raise self._another(id, "text")
            return None
        at = item.fields.get(self._spec.time)  # Parquet of ours holds it, as microseconds
        at = at if isinstance(at, int) else now
        payload = self._payload(item, id, media, at)
        return id, payload, msgspec.json.encode(payload), at

    def _another(self, id: str, what: str) -> UserError:
        return UserError(
            f"an item of this id is there with other {what}",
            where=f"project {self._spec.name}",
            got=id,
            fix="Give the source's ids a --prefix of their own.",
        )

    def _check(self, rows: list[tuple[str, dict[str, Any], bytes, int]]) -> None:
        """What is sent is what readers can use: decoded as they do. Raises `UserError` naming the first that is not."""
        records = [Record(self._spec.topic, 0, i, None, value, (), at) for i, (_, _, value, at) in enumerate(rows)]
        for one in self._decoder.decode(records):
            if isinstance(one, Bad):
                raise UserError("an item does not fit the stream", where=rows[one.place.offset][0], got=str(one.error))

    def _payload(self, item: RawItem, id: str, media: str, at: int) -> dict[str, Any]:
        spec = self._spec
        own: dict[str, Any] = {"media": media, "media_type": "", "group": item.group, "split": item.split}
        if item.data is not None:
            own |= _facts(item)
        given = {n: v for n, v in (item.fields | own).items() if v is not None}
        payload = {n: v for n, v in given.items() if n in self._names}
        self._dropped |= {n for n, v in given.items() if n not in self._names and v != ""}
        assert spec.id is not None
        payload[spec.id] = id
        if spec.time != RECORD_TIME:
            payload[spec.time] = at
        for f in spec.fields:
            if f.type == "time" and isinstance(payload.get(f.name), int):
                payload[f.name] = _in_unit(payload[f.name], spec.time_unit)
        return payload

    def _label(self, id: str, value: Any, now: int) -> None:
        if self._there.labels.get(id) == digest_of(value):
            return
        told = self._there.unused(f"import/{id}/{digest_of(value)}")
        event = LabelGiven(id=told, time=now, source=SOURCE, about=id, value=value, by="import")
        self._send(event, id)
        self._there.take(event)
        self._done.labels += 1

    def _question(self, id: str, payload: dict[str, Any], now: int) -> None:
        shown, own = self._shown(payload)
        event = LabelAsked(id=f"import/{id}/asked", time=now, source=SOURCE, about=id, payload=shown, reason="import")
        event = msgspec.structs.replace(event, **own)
        self._send(event, id)
        self._there.take(event)
        self._done.asked += 1

    def _shown(self, payload: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """What people are shown of an item, and which bytes."""
        shown = {n: v for n, v in payload.items() if n not in (*PLACED, self._spec.id, self._spec.time)}
        return shown, {n: payload.get(n) or "" for n in ("media", "media_type", "group")}

    def _send(self, event: Event, key: str) -> None:
        self._writer.send(
            f"labels.{self._spec.name}", events.encode(event), key=key.encode(), headers=headers_of(event)
        )

    def _ids(self, label: Any) -> Any:
        kind, into = self._incoming.kind, self._into
        for name in classes_in(label, kind):
            if name not in into:
                raise UserError(
                    "a label names no class of the source", wanted=", ".join(self._incoming.classes), got=name
                )
        if kind == "single":
            return into[label]
        if kind == "multi":
            return [into[name] for name in label]
        return [[into[name], *box] for name, *box in label] if kind == "boxes" else label

    def close(self) -> None:
        self._done.answers = self._crowd.answers
        self._done.left_out += [*self._incoming.passed_over, *self._crowd.left_out()]
        dropped = sorted(self._dropped - {"id", "time"})
        if dropped:
            self._done.left_out.append(f"fields that the stream does not have: {', '.join(dropped)}")
        self._writer.close()


def _facts(item: RawItem) -> dict[str, Any]:
    """Type and size of an item's bytes. Raises `UserError` for what is too large, or no image though said to be one."""
    data = item.data or b""
    if len(data) > MAX_MEDIA:
        raise UserError("an item is too large", where=item.id, wanted=f"at most {MAX_MEDIA:,} bytes")
    if item.media_type and not item.media_type.startswith("image/"):
        return {"media_type": item.media_type}
    found = probe(data, item.id)
    return {"media_type": found.media_type, "width": found.width, "height": found.height}


def _in_unit(micros: int, unit: str) -> int | str:
    """A time as a stream's payloads hold it."""
    return to_rfc3339(micros) if unit == "rfc3339" else micros // {"us": 1, "ms": 1000, "s": 1_000_000}[unit]

"""Items from a manager: each becomes an event of `data.<project>` and a `label.asked.v1`, all of a request or none.

Nothing is fetched. What an item names is either in the request, or in the artefact store by its digest.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Container, Mapping
from typing import Annotated, Any

import msgspec

from connectors.images import MAX_BYTES, MAX_PIXELS
from serving.labelling.assigning import named, overlap_for
from serving.labelling.media import checked
from serving.labelling.service import Labelling
from serving.labelling.state import Project
from serving.labelling.streamed import Streamed
from serving.labelling.values import check
from tidemill.errors import IncompatibleError, NotFoundError, RequestError, TidemillError, TooLargeError
from tidemill.label_events import LabelAsked, LabelSchema
from tidemill.state import digest as digest_of
from tidemill.stream import Field, StreamSpec

MAX_ITEMS = 1000
MAX_TEXT = 200_000
MAX_PAYLOAD = 64_000
MAX_ID = 200
PIXELS_AT_ONCE = 5 * MAX_PIXELS
"""Pixels of all images of one request."""


class NewItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An item to be labelled: an image or sound as `media` (base64) or as the `digest` of an item of the project, a
    `text`, a row as `payload`; or only the `id` of an `event` that is in the stream already, which says the rest.
    `annotators` alone may have it (none: whoever)."""

    id: str = ""
    media: str = ""
    digest: str = ""
    text: str = ""
    payload: dict[str, Any] = {}
    group: str = ""
    event: bool = False
    priority: Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)] = 0.0
    overlap: tuple[int, int] | None = None
    skills: list[str] = []
    gold: Any = None
    prelabel: dict[str, Any] | None = None
    annotators: list[str] = []


class NewItems(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Items, and why they are asked for."""

    items: list[NewItem]
    reason: Annotated[str, msgspec.Meta(max_length=200)] = "import"


def stream_of(project: str) -> StreamSpec:
    """The stream that holds a project's items, where none of that name was declared before."""
    return StreamSpec(
        name=project,
        fields=(
            Field("id", "string"),
            Field("time", "time"),
            Field("media", "string", default=""),
            Field("media_type", "string", default=""),
            Field("width", "int", default=0),
            Field("height", "int", default=0),
            Field("group", "string", default=""),
            Field("split", "string", default=""),
            Field("text", "string", default=""),
            Field("payload", "json", nullable=True),
        ),
        key="id",
        time="time",
        id="id",
        time_unit="us",
    )


class Uploads:
    """Takes items."""

    def __init__(self, service: Labelling) -> None:
        self._service = service
        self._book = service.book

    def add(self, project: str, wish: NewItems, events: Mapping[str, Streamed] | None = None) -> dict[str, list[str]]:
        """The ids of the items that were `added`, and of those that were `known` already, so that a request can be
        sent again. `events` are the stream's that are named, where somebody has read them (None: they are looked up).
        Raises `RequestError` naming the first item that cannot be taken, `IncompatibleError` naming the first whose id
        another item has; then none is taken."""
        if not 1 <= len(wish.items) <= MAX_ITEMS:
            raise RequestError("so many at once are not taken", wanted=f"1 to {MAX_ITEMS}", field="items")
        with self._book.reading(project) as state:
            schema = state.now.schema
            there = {i.id: state.items[i.id] for i in wish.items if i.id in state.items}
            events_of = {i.id for i in wish.items if i.event}
            # What was only answered elsewhere is asked about like any other event of the stream.
            known = {id: i.asked for id, i in there.items() if i.asked.id and not (i.outside and id in events_of)}
            own = {i.digest for i in wish.items if i.digest in state.media}
            if state.now.closed:
                raise IncompatibleError("the project is closed", where=f"project {project}")
            wish = NewItems([_assigned(state, item, f"items[{i}]") for i, item in enumerate(wish.items)], wish.reason)
        if not all(item.event for item in wish.items) and not self._service.streams.takes_items(project):
            raise IncompatibleError(
                "the stream has fields of its own",
                where=f"data.{project}",
                fix="Publish to it, and ask about its events: `tidemill labelling items --events`, or event=true.",
            )
        if events is None:
            named = {item.id for item in wish.items if item.event and item.id and item.id not in known}
            events = self._service.streams.find(project, named) if named else {}
        data: list[tuple[str, bytes]] = []
        asked: list[LabelAsked] = []
        stored: list[bytes] = []
        pixels = 0
        for i, item in enumerate(wish.items):
            if item.id in known:
                _same(item, known[item.id], f"items[{i}]")
                continue
            made, event, content, size = self._made(schema, item, f"items[{i}]", wish.reason, events, own)
            pixels += size
            if pixels > PIXELS_AT_ONCE:
                raise TooLargeError("too many pixels at once", wanted=f"at most {PIXELS_AT_ONCE}", where=f"items[{i}]")
            asked.append(made)
            data += [] if item.event else [(made.about, event)]
            stored += [content] if content else []
        ids = [event.about for event in asked]
        if len(set(ids)) != len(ids):
            twice = next(id for i, id in enumerate(ids) if id in ids[:i])
            raise RequestError("two items have one id", wanted="an id for each", got=twice, field="items")
        for content in stored:
            self._service.objects.put(content)
        # First the bytes, then the events that name them, then the questions about these: what is asked is there.
        self._book.publish(f"data.{project}", data)
        self._book.append(project, asked)
        return {"added": ids, "known": sorted(known)}

    def _made(
        self,
        schema: LabelSchema,
        item: NewItem,
        field: str,
        reason: str,
        events: Mapping[str, Streamed],
        own: Container[str],
    ) -> tuple[LabelAsked, bytes, bytes, int]:
        """The question, the event's payload, bytes to be stored, and the pixels of an image. `own` are digests of the
        project's own bytes: to know another's is not to be shown what it is of."""
        self._check(schema, item, field)
        if item.event:
            return self._there(schema, item, field, reason, events.get(item.id))
        content, digest, media_type, width, height = b"", item.digest, "", 0, 0
        if item.digest and item.digest not in own:
            raise RequestError(
                "no item of this project has such bytes",
                wanted="media (base64), or id and event=true for an event that names them",
                got=ascii(item.digest)[:80],
                field=f"{field}.digest",
            )
        if item.media or digest:
            content = _decoded(item.media, f"{field}.media") if item.media else self._stored(digest, f"{field}.digest")
            part = f"{field}.media" if item.media else f"{field}.digest"
            kind = checked(content, schema.medium, part)
            digest, media_type, width, height = digest_of(content), kind.type, kind.width, kind.height
        id = item.id or uuid.uuid4().hex
        now = self._service.clock.now()
        event = {
            "id": id,
            "time": now,
            "media": digest,
            "media_type": media_type,
            "width": width,
            "height": height,
            "group": item.group,
            "text": item.text,
            "payload": item.payload or None,
        }
        shown = {**({"text": item.text} if item.text else {}), **item.payload}
        if width:
            shown |= {"width": width, "height": height}
        size = (width, height) if width else None
        about = Streamed(media=digest, media_type=media_type, group=item.group, shown=shown)
        asked = self._asked(schema, item, id, about, size, field, reason)
        return asked, msgspec.json.encode(event), content if item.media else b"", width * height

    def _there(
        self, schema: LabelSchema, item: NewItem, field: str, reason: str, event: Streamed | None
    ) -> tuple[LabelAsked, bytes, bytes, int]:
        """The same for an event of the stream: it says what is shown, and which bytes."""
        if event is None:
            raise RequestError("no such event in the stream", got=repr(item.id)[:80], field=f"{field}.id")
        if item.digest not in ("", event.media):
            raise RequestError(
                "not the event's bytes",
                wanted=event.media or "none",
                got=ascii(item.digest)[:80],
                field=f"{field}.digest",
            )
        size, pixels = event.size, 0
        if schema.medium in ("image", "audio"):
            if not event.media:
                raise RequestError("the event names no bytes", wanted="a digest in its field media", field=field)
            if not event.media_type.startswith(f"{schema.medium}/") or (schema.medium == "image" and size is None):
                kind = checked(self._stored(event.media, field), schema.medium, field)
                size, pixels = ((kind.width, kind.height) if kind.width else None), kind.width * kind.height
                event = msgspec.structs.replace(event, media_type=kind.type)
            elif not self._has(event.media):
                raise RequestError("the event's bytes are not stored", got=ascii(event.media)[:80], field=field)
        elif schema.medium == "text" and not isinstance(event.shown.get("text"), str):
            raise RequestError("the event has no text", wanted="a field text", field=field)
        elif schema.medium == "row" and not event.shown:
            raise RequestError("the event has no fields", field=field)
        sides = {} if size is None else {"width": size[0], "height": size[1]}
        event = msgspec.structs.replace(
            event, group=event.group or item.group, shown=item.payload | event.shown | sides
        )
        return self._asked(schema, item, item.id, event, size, field, reason), b"", b"", pixels

    def _asked(
        self,
        schema: LabelSchema,
        item: NewItem,
        id: str,
        about: Streamed,
        size: tuple[int, int] | None,
        field: str,
        reason: str,
    ) -> LabelAsked:
        gold = None if item.gold is None else _labelled(schema, item.gold, size, f"{field}.gold")
        prelabel = item.prelabel
        if prelabel is not None:
            prelabel = {**prelabel, "value": _labelled(schema, prelabel.get("value"), size, f"{field}.prelabel")}
        return LabelAsked(
            id=uuid.uuid4().hex,
            time=self._service.clock.now(),
            about=id,
            media=about.media,
            media_type=about.media_type,
            payload=about.shown,
            group=about.group,
            priority=item.priority,
            overlap=item.overlap,
            skills=sorted(set(item.skills)),
            gold=gold,
            reason=reason,
            prelabel=prelabel,
            annotators=item.annotators or None,
        )

    def _check(self, schema: LabelSchema, item: NewItem, field: str) -> None:
        """Raises `RequestError` for what an item cannot be."""
        if item.id and (len(item.id) > MAX_ID or not item.id.isprintable() or item.id != item.id.strip()):
            raise RequestError("not a usable id", wanted=f"at most {MAX_ID} printable characters", field=f"{field}.id")
        _encodable(item, field)
        has = {name for name in ("media", "digest", "text", "payload") if getattr(item, name)}
        if item.event:
            if not item.id or has - {"payload", "digest"}:
                raise RequestError("an event that is there is named by its id alone", field=f"{field}.event")
        elif schema.medium in ("image", "audio"):
            if len(has & {"media", "digest"}) != 1:
                raise RequestError("where are the bytes?", wanted="media (base64) or digest, one of them", field=field)
        elif has & {"media", "digest"}:
            raise RequestError(f"a project of {schema.medium}s takes no bytes", field=field)
        elif schema.medium not in ("row",) and not item.text:
            raise RequestError("the item has no text", field=f"{field}.text")
        elif schema.medium == "row" and not item.payload:
            raise RequestError("the row has no fields", field=f"{field}.payload")
        if item.overlap is not None and not 1 <= item.overlap[0] <= item.overlap[1] <= 100:
            raise RequestError("not usable", wanted="1 <= least <= most <= 100", field=f"{field}.overlap")
        if len(item.skills) > 50 or any(not s or len(s) > 50 for s in item.skills):
            raise RequestError("not usable", wanted="words of at most 50 characters", field=f"{field}.skills")

    def _has(self, digest: str) -> bool:
        try:
            return self._service.objects.has(digest)
        except TidemillError:
            return False  # no digest at all

    def _stored(self, digest: str, field: str) -> bytes:
        try:
            return self._service.objects.get(digest)
        except NotFoundError:
            raise RequestError("nothing is stored under this digest", got=digest[:80], field=field) from None
        except TidemillError as error:
            # A URL or a path is no digest: it is said so, and not looked at.
            raise RequestError("not a digest of stored bytes", got=ascii(digest)[:80], field=field) from error


def close_items(service: Labelling, project: str, ids: list[str], *, closed: bool = True) -> list[str]:
    """Take questions back, or ask them again; the ids that were changed. Of an item of which an answer is all that is
    known there is nothing to ask."""
    with service.book.reading(project) as state:
        all_asked = [state.items[id].asked for id in ids if id in state.items]
    found, now = [asked for asked in all_asked if asked.id and asked.closed != closed], service.clock.now()
    # Another question, with no doubt of its own: one that was there stays.
    reason = "taken back" if closed else "asked again"
    made = [
        msgspec.structs.replace(asked, id=uuid.uuid4().hex, time=now, closed=closed, shows=False, reason=reason)
        for asked in found
    ]
    service.book.append(project, made)
    return [asked.about for asked in found]


def _same(item: NewItem, there: LabelAsked, field: str) -> None:
    """Raises `IncompatibleError` where an item gives bytes, a text or fields other than the one that has its id."""
    _encodable(item, field)
    there_shown = {k: v for k, v in there.payload.items() if not there.media or k not in ("width", "height")}
    digest = digest_of(_decoded(item.media, f"{field}.media")) if item.media else item.digest
    # An event that is in the stream says its fields itself.
    given = {} if item.event else item.payload
    fields = {k: v for k, v in given.items() if not there.media or k not in ("width", "height")}
    if digest and digest != there.media:
        what = "other bytes"
    elif item.text and item.text != there_shown.get("text"):
        what = "another text"
    elif fields and fields != {k: v for k, v in there_shown.items() if not item.text or k != "text"}:
        what = "other fields"
    else:
        return
    raise IncompatibleError(
        f"an item of this id is there with {what}",
        where=field,
        got=item.id,
        fix="Give it an id of its own: a prefix before the names of a second source, say.",
        field=f"{field}.id",
    )


def _assigned(state: Project, item: NewItem, field: str) -> NewItem:
    """The item with those it is assigned to, each once, and an overlap that they can give. Raises `RequestError`."""
    if not item.annotators:
        return item
    names = named(state, item.annotators, f"{field}.annotators")
    overlap = overlap_for(item.overlap, state.now.overlap, len(names), f"{field}.overlap")
    return msgspec.structs.replace(item, annotators=names, overlap=overlap)


def _labelled(schema: LabelSchema, value: Any, size: tuple[int, int] | None, field: str) -> Any:
    try:
        return check(schema, value, size)
    except RequestError as error:
        error.field = field
        raise


def _encodable(item: NewItem, field: str) -> None:
    try:
        size = len(msgspec.json.encode(item.payload)) + len(msgspec.json.encode(item.prelabel))
        (item.id + item.text + item.group + "".join(item.skills)).encode()
    except (UnicodeEncodeError, RecursionError):
        raise RequestError("not text", wanted="whole characters", field=field) from None
    if size > MAX_PAYLOAD or len(item.text) > MAX_TEXT or len(item.group) > MAX_ID:
        wanted = f"a payload of {MAX_PAYLOAD} bytes, a text of {MAX_TEXT} characters, a group of {MAX_ID}"
        raise TooLargeError("the item is too large", where=field, wanted=f"at most {wanted}")


def _decoded(text: str, field: str) -> bytes:
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise TooLargeError("too large", where=field, wanted=f"at most {MAX_BYTES} bytes")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        # Also what would be an address: nothing is ever fetched.
        raise RequestError("not base64", wanted="the bytes themselves", got=ascii(text)[:40], field=field) from None

"""Declared streams: the fields, key, event time, id and topic of a user's own data, and how they may change."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from tidemill.errors import DeclarationError, IncompatibleError
from tidemill.label_events import LABELLING
from tidemill.log import TopicSpec

FieldType = Literal["int", "float", "bool", "string", "time", "json"]
TimeUnit = Literal["rfc3339", "us", "ms", "s"]

RECORD_TIME = "@record"
"""As `StreamSpec.time`: the broker's append time is the event time of the whole stream."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}(\.[a-z0-9][a-z0-9_-]{0,99})*")


def check_name(name: str, what: str) -> str:
    """`name` itself, where it can name a topic, a folder and a URL part; else raises `DeclarationError`."""
    if len(name) > 150 or not _NAME.fullmatch(name):
        raise DeclarationError(
            f"{what} name cannot be used", wanted="lower-case letters, digits, - and _, parted by dots", got=repr(name)
        )
    return name


class Field(msgspec.Struct, frozen=True):
    """One field of a payload. A missing field takes `default`; without one it must be nullable, and is null then.

    Types: `int` (64 bits), `float` (finite, 64 bits; whole numbers are taken), `bool`, `string`, `time` (in the
    stream's `time_unit`) and `json` (any value, passed through).
    """

    name: str
    type: FieldType
    nullable: bool = False
    default: Any = None


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration of a stream.

    `key`, `time`, `id` and `label` name fields. `time` may be `@record`. Without `id`, an event's id is its place in
    the log. Headers `ce_id` and `ce_time` override the payload. `tag`, where given, is the platform event type that
    every payload carries in its `type` field. `beside` are platform event types that stand in the same topic and are
    none of this stream's: they are passed over, and move no clock. Compatibility is backward and transitive: a consumer
    of this version reads everything written under every earlier version.
    """

    name: str
    fields: tuple[Field, ...]
    time: str
    key: str | None = None
    id: str | None = None
    label: str | None = None
    time_unit: TimeUnit = "rfc3339"
    topic: str = ""
    partitions: int = 1
    retention_ms: int = -1
    tag: str = ""
    beside: tuple[str, ...] = ()
    version: int = 1

    def __post_init__(self) -> None:
        check_name(self.name, "stream")
        names = [f.name for f in self.fields]
        where = f"stream {self.name}"
        if not names:
            raise DeclarationError("no fields", where=where, wanted="at least one field")
        if odd := [n for n in names if not n or not n.isprintable() or '"' in n or "\\" in n]:
            raise DeclarationError(
                "a field's name cannot be used", where=where, wanted='printable, without " and \\', got=repr(odd[0])
            )
        if doubled := sorted({n for n in names if names.count(n) > 1}):
            raise DeclarationError("a field is declared twice", where=where, got=", ".join(doubled))
        for role in ("key", "time", "id", "label"):
            field = getattr(self, role)
            if field is None or (role == "time" and field == RECORD_TIME):
                continue
            if field not in names:
                raise DeclarationError(f"{role} is no field", where=where, wanted=f"one of {names}", got=repr(field))
            if role in ("time", "id") and self.field(field).nullable:
                raise DeclarationError(f"{role} field cannot be nullable", where=where, got=repr(field))
        if self.partitions < 1:
            raise DeclarationError("no partitions", where=where, wanted="1 or more", got=str(self.partitions))
        if not self.topic:
            msgspec.structs.force_setattr(self, "topic", f"data.{self.name}")

    def field(self, name: str) -> Field:
        return next(f for f in self.fields if f.name == name)

    @property
    def source(self) -> str:
        """The CloudEvents source of events that carry none: `/streams/<name>`."""
        return f"/streams/{self.name}"

    def topic_spec(self) -> TopicSpec:
        return TopicSpec(partitions=self.partitions, retention_ms=self.retention_ms)


def label_stream(name: str, *, partitions: int = 1) -> StreamSpec:
    """The declaration of `labels.<name>`: `label.given.v1` events about the events of stream `name`."""
    return StreamSpec(
        name=f"labels.{name}",
        topic=f"labels.{name}",
        tag="label.given.v1",
        beside=LABELLING,
        fields=(
            Field("id", "string"),
            Field("time", "time"),
            Field("about", "string"),
            Field("value", "json"),
            Field("by", "string", nullable=True),
        ),
        key="about",
        time="time",
        id="id",
        label="value",
        time_unit="us",
        partitions=partitions,
    )


_ANSWERS = (
    "answer.given.v1",
    "answer.withdrawn.v1",
    "label.reviewed.v1",
    "label.asked.v1",
    "estimation.asked.v1",
    "project.changed.v1",
)


def answer_stream(name: str, *, partitions: int = 1) -> StreamSpec:
    """The declaration of `answers.<name>`: what people said about the items of project `name`, what is asked of them
    (an item's own overlap, and the known answer of a gold question), and when its consensus is to be estimated anew, as
    they stand in the topic `labels.<name>`; `type` tells which."""
    return StreamSpec(
        name=f"answers.{name}",
        topic=f"labels.{name}",
        beside=("label.given.v1", *(tag for tag in LABELLING if tag not in _ANSWERS)),
        fields=(
            Field("type", "string"),
            Field("id", "string"),
            Field("time", "time"),
            Field("about", "string", nullable=True),
            Field("by", "string", nullable=True),
            Field("value", "json", nullable=True),
            Field("schema", "json", nullable=True),
            Field("seconds", "float", nullable=True),
            Field("cost", "float", nullable=True),
            Field("overlap", "json", nullable=True),
            Field("sure", "float", nullable=True),
            Field("gold", "json", nullable=True),
            Field("answer", "string", nullable=True),
            Field("revision", "int", default=0),
        ),
        key="about",
        time="time",
        id="id",
        time_unit="us",
        partitions=partitions,
    )


def prediction_stream(name: str, *, partitions: int = 1) -> StreamSpec:
    """The declaration of `predictions.<name>`: the `prediction.made.v1` events of an endpoint or a job, so that a job
    can read them."""
    return StreamSpec(
        name=f"predictions.{name}",
        topic=f"predictions.{name}",
        tag="prediction.made.v1",
        fields=(
            Field("id", "string"),
            Field("time", "time"),
            Field("about", "string"),
            Field("model", "string"),
            Field("version", "string"),
            Field("score", "float"),
            Field("delta", "int", default=0),
            Field("feature_sequence", "int", default=0),
            Field("features", "json", nullable=True),
            Field("outputs", "json", nullable=True),
            Field("inputs_digest", "string", default=""),
        ),
        key="about",
        time="time",
        id="id",
        time_unit="us",
        partitions=partitions,
    )


def drift_stream(name: str) -> StreamSpec:
    """The declaration of the `drift.detected.v1` events on `metrics.<name>`, so that a job can read them."""
    return StreamSpec(
        name=f"metrics.{name}",
        topic=f"metrics.{name}",
        tag="drift.detected.v1",
        fields=(
            Field("id", "string"),
            Field("time", "time"),
            Field("model", "string"),
            Field("detector", "string"),
            Field("value", "float"),
            Field("by", "string", default=""),
            Field("region", "string", default=""),
        ),
        key="model",
        time="time",
        id="id",
        time_unit="us",
    )


def check_compatible(earlier: tuple[StreamSpec, ...], new: StreamSpec) -> None:
    """Raises `IncompatibleError`, naming the field, where `new` cannot read what some `earlier` version wrote.

    Allowed: a new field that is nullable or has a default, a removed field that is no role, a field made nullable,
    `int` widened to `float` and anything to `json` (but not the key or the id, whose text would change), more
    partitions only where the stream has no key.
    """
    for old in earlier:
        where = f"stream {new.name} (version {old.version} to {new.version})"

        def refuse(message: str, field: str, wanted: str, got: str, where: str = where) -> None:
            raise IncompatibleError(
                message, where=where, wanted=wanted, got=got, field=field, fix="Declare a new stream for a new shape."
            )

        for role in ("topic", "key", "time", "id", "time_unit", "tag"):
            if getattr(old, role) != getattr(new, role):
                refuse(f"{role} cannot change", role, repr(getattr(old, role)), repr(getattr(new, role)))
        if new.partitions < old.partitions or (new.partitions != old.partitions and new.key is not None):
            refuse("partitions of a keyed stream cannot change", "partitions", str(old.partitions), str(new.partitions))
        before = {f.name: f for f in old.fields}
        for field in new.fields:
            was = before.get(field.name)
            if was is None:
                if not field.nullable and field.default is None:
                    refuse(f"new field {field.name!r} has no default", field.name, "nullable, or a default", "neither")
                continue
            if was.type != field.type:
                if field.name in (new.key, new.id):
                    refuse(
                        f"field {field.name!r} is the key or id, and changed its type", field.name, was.type, field.type
                    )
                if field.type != "json" and (was.type, field.type) != ("int", "float"):
                    refuse(f"field {field.name!r} changed its type", field.name, was.type, field.type)
            if was.nullable and not field.nullable:
                refuse(f"field {field.name!r} is no longer nullable", field.name, "nullable", "not nullable")
            if was.default is not None and field.default is None and not field.nullable:
                refuse(f"field {field.name!r} lost its default", field.name, "nullable, or a default", "neither")

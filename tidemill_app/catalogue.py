"""The catalogue: every stream that was declared, with all its versions, in topic `streams`.

A declaration is a `StreamDeclared` event keyed `<name>/<version>` in a compacted topic. The version is part of the
key, so compaction keeps every version: a consumer must be able to read everything that was written under any of them,
and what a model version learned from names the version it was read with. Declaring runs in a transaction of one fixed
id, so of two people who declare at the same moment one is refused by the broker, reads what the other declared, and
tries again.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Mapping

import msgspec

from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.errors import BadEvent, DeclarationError, FencedError, NotFoundError, UnavailableError
from tidemill.events import StreamDeclared
from tidemill.log import Log, Record, TopicSpec
from tidemill.stream import StreamSpec, check_compatible, label_stream
from tidemill.time import Clock, SystemClock, parse_time
from tidemill_app.reading import read_all

_log = logging.getLogger("tidemill.catalogue")

TOPIC = "streams"
_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "string": str}
_WRITER = "tidemill.catalogue"


class _UnsureError(Exception):
    """Whether a commit was made is not known. A broker says so, too, where two of one name commit at one moment."""


class Catalogue:
    """The declared streams of one log, as they stand when asked."""

    def __init__(self, log: Log, clock: Clock | None = None) -> None:
        self._log = log
        self._clock = clock or SystemClock()

    def versions(self) -> dict[str, tuple[StreamSpec, ...]]:
        """Every version of every stream, by name, oldest first."""
        found: dict[str, dict[int, StreamSpec]] = {}
        if TOPIC in self._log.topics():
            for record in read_all(self._log, TOPIC):
                if (spec := _spec_of(record)) is not None:
                    found.setdefault(spec.name, {})[spec.version] = spec
        return {name: tuple(found[name][v] for v in sorted(found[name])) for name in sorted(found)}

    def newest(self) -> dict[str, StreamSpec]:
        """The newest version of every stream, by name: what an engine takes as `Parts.streams`."""
        return {name: specs[-1] for name, specs in self.versions().items()}

    def get(self, name: str, version: int | None = None) -> StreamSpec:
        """One declaration; the newest where no version is named. Raises `NotFoundError`, listing what there is."""
        versions = self.versions()
        if name not in versions:
            raise NotFoundError(
                f"no stream {name!r}",
                wanted=f"one of {', '.join(versions)}" if versions else "",
                fix=f"Declare it: tidemill stream create {name} --infer FILE",
            )
        for spec in reversed(versions[name]):
            if version is None or spec.version == version:
                return spec
        raise NotFoundError(f"stream {name!r} has no version {version}", wanted=f"1 to {len(versions[name])}")

    def declare(self, spec: StreamSpec, *, update: bool = False) -> StreamSpec:
        """Declare `spec`, make its topic, and return it with its version.

        Declaring again what is declared already changes nothing. Another shape under a known name is a new version:
        asked for with `update`, and refused with `IncompatibleError` where it cannot read what every earlier version
        wrote. Raises `DeclarationError` where the name is taken and `update` is not set, or the topic belongs to
        another stream; `NotFoundError` where there is nothing to update.
        """
        self._log.create(TOPIC, TopicSpec(compacted=True))
        deadline = time.monotonic() + 30.0
        while True:
            try:
                made = self._declare(spec, update)
                break
            except (FencedError, _UnsureError) as error:
                # Somebody else declares: what they declared is heeded by the next attempt, as is what this one did if
                # its commit was made after all.
                if time.monotonic() > deadline:
                    raise error.__cause__ or error from None
                time.sleep(random.uniform(0.01, 0.5))
        self._await(made)
        return made

    def _declare(self, spec: StreamSpec, update: bool) -> StreamSpec:
        writer = self._log.writer(_WRITER)
        try:
            versions = self.versions()
            earlier = versions.get(spec.name, ())
            made = self._next(spec, earlier, update)
            _check_topic(made, versions)
            _check_labels(made)
            _check_defaults(made)
            self._log.create(made.topic, made.topic_spec())
            if earlier and made.version == earlier[-1].version:
                return made
            event = StreamDeclared(id=uuid.uuid4().hex, time=self._clock.now(), source="/streams", spec=made)
            writer.begin()
            writer.send(
                TOPIC,
                events.encode(event),
                key=f"{made.name}/{made.version}".encode(),
                headers=headers_of(event),
                partition=0,
            )
            try:
                writer.commit()
            except UnavailableError as error:
                raise _UnsureError from error
            return made
        finally:
            writer.close()

    def _await(self, made: StreamSpec) -> None:
        """A broker answers a commit before readers see it: wait, so that what was declared can be used at once."""
        deadline = time.monotonic() + 30.0
        while made.version not in [spec.version for spec in self.versions().get(made.name, ())]:
            if time.monotonic() > deadline:
                raise UnavailableError("the declaration does not show in the log", where=f"stream {made.name}")
            time.sleep(0.02)

    def declare_labels(self, name: str) -> StreamSpec:
        """Declare `labels.<name>`, where labels about the events of stream `name` are given; one of your own stays."""
        if there := self.versions().get(f"labels.{name}"):
            return there[-1]
        return self.declare(label_stream(name, partitions=self.get(name).partitions))

    def _next(self, spec: StreamSpec, earlier: tuple[StreamSpec, ...], update: bool) -> StreamSpec:
        if not earlier:
            if update:
                raise NotFoundError(f"no stream {spec.name!r} to update", fix="tidemill stream create declares one.")
            return msgspec.structs.replace(spec, version=1)
        newest = earlier[-1]
        same = msgspec.structs.replace(spec, version=newest.version)
        if same == newest:
            return newest
        if not update:
            raise DeclarationError(
                f"stream {spec.name!r} is declared already, with another shape",
                got=difference(newest, same),
                fix=f"tidemill stream update {spec.name} declares a new version where the change is compatible.",
            )
        made = msgspec.structs.replace(spec, version=newest.version + 1)
        check_compatible(earlier, made)
        return made


def _check_labels(spec: StreamSpec) -> None:
    """Jobs join what is on `labels.<stream>` by these fields."""
    about = next((f for f in spec.fields if f.name == "about"), None)
    fits = about is not None and about.type == "string" and not about.nullable
    if spec.name.startswith("labels.") and not (fits and any(f.name == "value" for f in spec.fields)):
        raise DeclarationError(
            "labels must say what they are about",
            where=f"stream {spec.name}",
            wanted="a field `about`, a string that is never null, and a field `value`",
            got=", ".join(f"{f.name} {describe(f)}" for f in spec.fields),
        )


def _check_defaults(spec: StreamSpec) -> None:
    """What an event without the field is read with must be what an event could hold."""
    for field in spec.fields:
        if field.default is None:
            continue
        try:
            if field.type == "time":
                parse_time(field.default, spec.time_unit)
            elif field.type != "json":
                msgspec.convert(field.default, _TYPES[field.type])
        except (msgspec.ValidationError, BadEvent):
            raise DeclarationError(
                f"the default of field {field.name!r} is of another type",
                where=f"stream {spec.name}",
                wanted=field.type,
                got=repr(field.default),
            ) from None


def difference(old: StreamSpec, new: StreamSpec) -> str:
    """What differs between two declarations, in words."""
    out = [
        f"{name} {getattr(old, name)} -> {getattr(new, name)}"
        for name in ("topic", "key", "time", "id", "label", "time_unit", "partitions", "retention_ms", "tag")
        if getattr(old, name) != getattr(new, name)
    ]
    was, now = ({f.name: f for f in spec.fields} for spec in (old, new))
    out += [f"without field {name!r}" for name in was if name not in now]
    out += [f"a new field {name!r}" for name in now if name not in was]
    out += [f"field {n!r} {describe(f)} -> {describe(now[n])}" for n, f in was.items() if n in now and f != now[n]]
    if not out:
        out.append("the fields in another order")
    return "; ".join(out)


def describe(field: object) -> str:
    """A field's type in a few characters: `int`, `float?` where it can be null, `int = 0` with a default."""
    type, nullable, default = (getattr(field, name) for name in ("type", "nullable", "default"))
    return f"{type}{'?' if nullable else ''}" + (f" = {default!r}" if default is not None else "")


def _spec_of(record: Record) -> StreamSpec | None:
    if record.value is None:
        return None
    try:
        event = events.decode(record.value)
    except BadEvent as error:
        # Anybody's stray record must not take every command with it.
        _log.warning("%s/%d at %d is passed over: %s", record.topic, record.partition, record.offset, error)
        return None
    return event.spec if isinstance(event, StreamDeclared) else None


def _check_topic(spec: StreamSpec, versions: Mapping[str, tuple[StreamSpec, ...]]) -> None:
    for name, others in versions.items():
        if name != spec.name and others[-1].topic == spec.topic:
            raise DeclarationError(
                f"topic {spec.topic!r} belongs to stream {name!r}",
                where=f"stream {spec.name}",
                wanted="one stream for a topic",
            )

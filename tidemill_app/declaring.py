"""Making a declaration from what a person has: a file that declares, a sample of rows, or a topic with messages."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec

from tidemill.decode import ADVANCED
from tidemill.errors import ConfigError, DeclarationError, NotFoundError
from tidemill.log import Log, Partition
from tidemill.stream import Field, StreamSpec
from tidemill_app.declaration import read_declaration
from tidemill_app.durations import show_millis
from tidemill_app.infer import SAMPLE, Inference, infer
from tidemill_app.reading import read_spans
from tidemill_app.rows import Row, kind_of, read_rows

_KAFKA_DEFAULT = 604_800_000
"""How long Kafka keeps records where neither the topic nor the cluster says: a week."""

Settings = dict[str, Any]
"""What the person settled: fields of `StreamSpec`; None where they did not."""


def from_file(name: str, path: str, settings: Settings) -> tuple[StreamSpec, tuple[str, ...]]:
    """The declaration in a file (`tidemill_app.declaration`), and notes."""
    return read_declaration(name, path, **settings)


def from_sample(name: str, path: str, settings: Settings) -> Inference:
    """The declaration judged by the rows of a file."""
    return infer(name, read_rows(path), text=kind_of(path) in ("csv", "tsv"), **_given(settings))


def from_topic(
    name: str, log: Log, topic: str, settings: Settings, configs: Mapping[str, str] | None = None
) -> Inference:
    """The declaration of a topic of JSON messages that is there already, judged by its newest messages.

    The topic stays as it is; `configs` are its settings, as far as they are not the cluster's. Where
    every message's key is the text of one same field, that is the stream's key.
    Raises `NotFoundError` where there is no such topic, `DeclarationError` where it holds no JSON objects.
    """
    topics = log.topics()
    if topic not in topics:
        raise NotFoundError(f"no topic {topic!r}", wanted=f"one of {', '.join(sorted(topics)) or 'none yet'}")
    if settings.get("partitions") not in (None, topics[topic]):
        raise ConfigError(
            "the topic has its partitions already",
            where=topic,
            wanted=str(topics[topic]),
            got=str(settings["partitions"]),
        )
    rows, keys = _newest(log, topic)
    if not any(row.data is not None for row in rows):
        raise DeclarationError(
            "cannot judge the topic by what it holds",
            where=topic,
            wanted="JSON objects",
            got=f"{len(rows)} messages, none of them one",
            fix="Declare it with --schema FILE instead.",
        )
    if settings.get("retention_ms") is not None:
        raise ConfigError("the topic stays as it is", where=topic, got="--retention", fix="Declare it, then update it.")
    kept = int((configs or {}).get("retention.ms", _KAFKA_DEFAULT))
    given = _given(settings) | {"topic": topic, "partitions": topics[topic], "retention_ms": kept}
    if "key" not in given and (key := _key_field(rows, keys)) is not None:
        given["key"] = key
    made = infer(name, rows, text=False, **given)
    notes = list(made.notes)
    if bad := sum(row.data is None for row in rows):
        notes.append(f"{bad} of {len(rows)} messages are no JSON objects: jobs will dead-letter them")
    if given.get("key") and not settings.get("key"):
        notes.append(f"key is {given['key']!r}: the messages' own key")
    if kept >= 0:
        notes.append(f"the topic keeps messages {show_millis(kept)}: what model versions learn from is archived")
    return Inference(made.spec, made.rows, tuple(notes))


def _given(settings: Settings) -> Settings:
    return {name: value for name, value in settings.items() if value is not None}


def _newest(log: Log, topic: str) -> tuple[list[Row], list[bytes | None]]:
    partitions = log.partitions(topic)
    share = SAMPLE // len(partitions) + 1
    spans: dict[Partition, tuple[int, int]] = {}
    for partition in partitions:
        end = log.end(partition)
        spans[partition] = (max(log.begin(partition), end - share), end)
    rows, keys = [], []
    for i, record in enumerate(islice(read_spans(log, spans), SAMPLE)):
        if ("ce_type", ADVANCED.encode()) in record.headers:
            continue
        try:
            data = msgspec.json.decode(record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            data = None
        rows.append(Row(i, record.value or b"", data if isinstance(data, dict) else None))
        keys.append(record.key)
    return rows, keys


def _key_field(rows: list[Row], keys: list[bytes | None]) -> str | None:
    pairs = [(row.data, key) for row, key in zip(rows, keys, strict=True) if row.data is not None]
    if any(key is None for _, key in pairs):
        return None
    names = [n for n in pairs[0][0] if all(n in data and str(data[n]).encode() == key for data, key in pairs)]
    return names[0] if len(names) == 1 else None


def widened(old: StreamSpec, sample: StreamSpec) -> StreamSpec:
    """`old`, widened to read what `sample` (judged by rows) holds as well.

    Fields keep their types, but for whole numbers that turned out to be any; what the sample lacks or has null becomes
    nullable, and so do new fields. A type that cannot be widened is taken as judged, for the compatibility check to
    refuse by name.
    """
    now = {f.name: f for f in sample.fields}
    fields = [_wider(f, now.pop(f.name, None)) for f in old.fields]
    fields += [msgspec.structs.replace(f, nullable=True) for f in now.values()]
    return msgspec.structs.replace(old, fields=tuple(fields))


def _wider(was: Field, now: Field | None) -> Field:
    if now is None:
        return was if was.default is not None else msgspec.structs.replace(was, nullable=True)
    keeps = was.type in (now.type, "json") or (was.type, now.type) in (("float", "int"), ("string", "time"))
    missing = now.nullable and was.default is None
    return msgspec.structs.replace(was, type=was.type if keeps else now.type, nullable=was.nullable or missing)

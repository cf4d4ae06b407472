"""The items that are in a project's stream already: looked up by id, or all that filters let through."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from connectors import arrow
from connectors.datasets.assembling import Found, Labels, gather_items, gather_labels, schema_of
from connectors.datasets.examples import Example
from connectors.datasets.filters import Filter
from serving.labelling.streamed import Streamed, streamed
from streams.erasures import Erasures
from tidemill.decode import Decoder
from tidemill.errors import ConfigError
from tidemill.log import MAX_RECORD_BYTES, Log, Partition
from tidemill.stream import StreamSpec
from tidemill_app.reading import read_all, read_spans

_CHUNK = 5000


def find(log: Log, spec: StreamSpec, ids: Collection[str]) -> dict[str, Streamed]:
    """The events of these ids, those that there are and that were not erased: of several the newest of a partition. The
    stream is read from its end, as far as is needed."""
    reading, left, found = _Reading(log, spec), set(ids), dict[str, Streamed]()
    for partition in log.partitions(spec.topic):
        begin, end = log.begin(partition), log.end(partition)
        while left and end > begin:
            first = max(begin, end - _CHUNK)
            for one in reversed(reading.between(partition, first, end)):
                if one.id in left:
                    left.remove(one.id)
                    found[one.id] = streamed(spec, one.payload)
            end = first
    return found


def matching(log: Log, spec: StreamSpec, where: Sequence[str]) -> Iterator[tuple[str, Streamed]]:
    """Every event that all filters let through, each id once, in the order of the log; `@label` is the label that an
    item has now (null: none). Raises `ConfigError` for a filter that can be none, and a stream without ids."""
    if spec.id is None:
        raise ConfigError("the stream has no id field", where=f"stream {spec.name}", wanted="ids, to label items by")
    filters = [Filter(text, (f.name for f in spec.fields)) for text in where]
    labels = None
    if any(one.field in ("@label", "@confidence") for one in filters):
        told = list(gather_labels(read_all(log, f"labels.{spec.name}")))
        labels = Labels(told, schema_of(spec.name, told), {})
    reading, seen = _Reading(log, spec), set[str]()
    for partition in log.partitions(spec.topic):
        at, end = log.begin(partition), log.end(partition)
        while at < end:
            for one in reading.between(partition, at, min(end, at + _CHUNK)):
                if one.id not in seen and all(f(_example(spec, partition, one, labels)) for f in filters):
                    seen.add(one.id)
                    yield one.id, streamed(spec, one.payload)
            at += _CHUNK


class _Reading:
    """The events of ranges of offsets, without what was erased."""

    def __init__(self, log: Log, spec: StreamSpec) -> None:
        self._log = log
        self._decoder = Decoder(spec, arrow.decode, max_event_bytes=MAX_RECORD_BYTES)
        self._erased = Erasures()
        self._erased.read(log)

    def between(self, partition: Partition, first: int, end: int) -> list[Found]:
        records = list(read_spans(self._log, {partition: (first, end)}))
        return gather_items(self._decoder, records, self._erased.absent)[0]


def _example(spec: StreamSpec, partition: Partition, one: Found, labels: Labels | None) -> Example:
    label, confidence = (None, None) if labels is None else labels.of(one.id)
    media, media_type, group = (str(one.payload.get(name) or "") for name in ("media", "media_type", "group"))
    return Example(
        topic=spec.topic,
        partition=partition.number,
        offset=one.offset,
        id=one.id,
        media=media,
        media_type=media_type,
        payload=one.payload,
        label=label,
        group=group,
        split="",
        confidence=confidence,
    )

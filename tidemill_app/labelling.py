"""Labels that a person gives: their value, and what may be amiss: they name nothing known, or nobody reads them.

Neither is a mistake for certain: under order `arrival` a label may come before its event, and a job may be submitted
later and read the labels from their beginning. So the label is given, and the doubt is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from connectors import arrow
from streams import progress
from tidemill.block import Block
from tidemill.decode import Decoder
from tidemill.errors import ConfigError
from tidemill.log import Log, Partition, Record
from tidemill.stream import StreamSpec, prediction_stream
from tidemill_app.erasing import naming
from tidemill_app.job_table import JobTable
from tidemill_app.reading import read_spans

LOOK_BACK = 200_000
"""Offsets of each partition in which an id is looked for, newest first: what a person labels by hand is not old."""
_CHUNK = 20_000
_KEPT = "predictions."


def value_of(text: str) -> Any:
    """The label that a person typed: JSON, or else the text itself. Raises `ConfigError` for a number that no event
    can hold, and for what is no UTF-8."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.ValidationError, UnicodeError, RecursionError) as error:
        shown = ascii(text if len(text) < 60 else text[:60] + "…")
        raise ConfigError("the label cannot be sent", wanted="finite numbers, UTF-8", got=f"{shown}: {error}") from None
    except msgspec.DecodeError:
        return text


def doubts(log: Log, jobs: JobTable, stream: StreamSpec, labels: StreamSpec, id: str) -> list[str]:
    """A sentence for each thing that may be amiss with a label about event `id` of `stream`."""
    found = []
    there = log.topics()
    # Also where the jobs that read the labels look for answers: of a deployed model, say.
    kept = {topic for topic in _read_with(log, jobs, labels) if topic.startswith(_KEPT)} | {_KEPT + stream.name}
    answers = [prediction_stream(topic.removeprefix(_KEPT)) for topic in sorted(kept)]
    places = [s for s in (stream, *answers) if s.topic in there]
    if not any(_holds(log, spec, id) for spec in places):
        where = " or ".join(spec.topic for spec in places) or stream.topic
        found.append(f"no event {id!r} is among the newest of {where}: a label that names no event is dead-lettered")
    found += _unread(log, jobs, labels)
    return found


def _read_with(log: Log, jobs: JobTable, labels: StreamSpec) -> set[str]:
    """All topics that are read by jobs which read the labels."""
    found: set[str] = set()
    for name in jobs.jobs:
        made = progress.last(log, name)
        topics = set() if made is None else {topic for topic, _, _ in made.offsets}
        found |= topics if labels.topic in topics else set()
    return found


def _unread(log: Log, jobs: JobTable, labels: StreamSpec) -> list[str]:
    """Whether no job reads the labels now."""
    readers = {}
    for name, wish in jobs.jobs.items():
        made = progress.last(log, name)
        if made is not None and any(topic == labels.topic for topic, _, _ in made.offsets):
            readers[name] = wish.wanted
    if not readers:
        return [f"no job reads {labels.topic}: the label stays there until one does"]
    if "running" not in readers.values():
        name, state = next(iter(sorted(readers.items())))
        return [f"job {name}, which reads {labels.topic}, is {state}: `tidemill job start {name}` lets it go on"]
    return []


def _holds(log: Log, spec: StreamSpec, id: str) -> bool:
    """Whether the newest part of a stream holds the id."""
    decoder = Decoder(spec, arrow.decode)
    for partition in log.partitions(spec.topic):
        for records in _newest_first(log, partition):
            for item in decoder.decode(records):
                if isinstance(item, Block) and naming(spec, item, id).any():
                    return True
    return False


def _newest_first(log: Log, partition: Partition) -> Iterator[list[Record]]:
    begin, end = log.begin(partition), log.end(partition)
    begin = max(begin, end - LOOK_BACK)
    while end > begin:
        first = max(begin, end - _CHUNK)
        yield list(read_spans(log, {partition: (first, end)}))
        end = first

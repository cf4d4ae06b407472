"""From records to examples: which items there are in ranges of the log, and the label that each had at the watermark.

Reading is cut apart as anybody likes: `gather_items` and `gather_labels` take records of one partition, in any pieces,
and `assemble` sorts what they found. So the result is the same for every number of readers.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from connectors.datasets.examples import Example
from connectors.datasets.filters import Filter
from connectors.datasets.splits import SplitRule
from connectors.datasets.version import DatasetManifest
from tidemill import events
from tidemill.block import Block, Place
from tidemill.decode import Bad, Decoder, Item, type_of
from tidemill.errors import BadEvent
from tidemill.events import LabelGiven
from tidemill.label_events import (
    AnswerGiven,
    AnswerWithdrawn,
    LabelReviewed,
    LabelRevised,
    LabelSchema,
    LabelSettled,
    ProjectChanged,
)
from tidemill.label_values import ends, merged
from tidemill.log import Partition, Record
from tidemill.project_standing import Standing, after

Absent = Callable[[Partition, Sequence[Item]], Sequence[Item]]
"""What is left of a partition's items when those erased on request are taken out (`streams.erasures`)."""

_READ = frozenset({"label.given.v1", "label.settled.v1", "label.revised.v1", "project.changed.v1"})
_ANSWERS = _READ | {"answer.given.v1", "answer.withdrawn.v1", "label.reviewed.v1"}


_TOLD = LabelGiven, LabelSettled, LabelRevised, LabelReviewed, ProjectChanged, AnswerGiven, AnswerWithdrawn


class Found(msgspec.Struct):
    """An item where it stands."""

    partition: int
    offset: int
    row: int
    time: int
    id: str
    payload: dict[str, Any]


class Told(msgspec.Struct):
    """What one event of `labels.<project>` said, where it stands."""

    partition: int
    offset: int
    event: LabelGiven | LabelSettled | LabelRevised | LabelReviewed | ProjectChanged | AnswerGiven | AnswerWithdrawn


def gather_items(decoder: Decoder, records: Sequence[Record], absent: Absent) -> tuple[list[Found], int]:
    """The items in consecutive records of one partition, and how many records or rows cannot be used."""
    found: list[Found] = []
    bad = 0
    if not records:
        return found, bad
    partition = Partition(records[0].topic, records[0].partition)
    for item in absent(partition, decoder.decode(records)):
        if isinstance(item, Block):
            times, ids = item.time.tolist(), item.ids.tolist()
            for i, payload in enumerate(item.rows()):
                at = int(item.offset[i]), int(item.row[i])
                found.append(Found(partition.number, *at, times[i], ids[i], payload))
        else:
            bad += isinstance(item, Bad)
    return found, bad


def gather_labels(records: Iterable[Record], erased: Container[Place] = (), *, answers: bool = False) -> Iterator[Told]:
    """What the records of `labels.<project>` say of labels and of the project, with `answers` also what people said,
    and none of the rest."""
    read = _ANSWERS if answers else _READ
    for record in records:
        if type_of(record) not in read:
            continue
        if erased and Place(record.topic, record.partition, record.offset) in erased:
            continue
        try:
            event = events.decode(record.value or b"")
        except BadEvent:
            continue
        if isinstance(event, _TOLD):
            yield Told(record.partition, record.offset, event)


def schema_of(project: str, told: Iterable[Told]) -> LabelSchema | None:
    """The label schema that stands after all changes of the project which were told (`tidemill.project_standing`)."""
    stands: Standing | None = None
    for one in sorted(told, key=lambda t: (t.partition, t.offset)):
        if isinstance(one.event, ProjectChanged) and one.event.project == project:
            stands = after(stands, one.event)
    return None if stands is None else stands.schema


class Labels:
    """The label that every item has after all that was told: in its partition the last `label.given.v1` that was not
    retracted, unless the consensus said after it that the item is settled no more. An item that has labels in two
    partitions, which no writer of ours makes, takes the one of the later time.

    Classes that were merged are what they were merged into.
    """

    def __init__(self, told: Iterable[Told], schema: LabelSchema | None, void: dict[str, int]) -> None:
        self._into = merges(schema)
        self._said: dict[str, dict[int, tuple[Any, float | None, int]]] = {}
        for one in sorted(told, key=lambda t: (t.partition, t.offset)):
            event = one.event
            if not isinstance(event, LabelGiven | LabelSettled | LabelRevised):
                continue
            if event.time <= void.get(event.about, -1):
                continue
            mine = self._said.setdefault(event.about, {})
            value, sure, time = mine.get(one.partition, (None, None, event.time))
            if isinstance(event, LabelGiven):
                value, time = event.value, event.time
                sure = sure if (event.by or "").startswith("consensus:") else None
            else:
                sure = event.confidence
                if isinstance(event, LabelRevised) and event.value is None:
                    value, sure = None, None
            mine[one.partition] = value, sure, time

    def of(self, id: str) -> tuple[Any, float | None]:
        """The value that an item has, None where it has none, and how sure the consensus was (None: nobody said)."""
        mine = self._said.get(id)
        if not mine:
            return None, None
        value, sure, _ = max(mine.items(), key=lambda said: (said[1][2], said[0]))[1]
        return (None, None) if value is None else (merged(value, self._into), sure)


def merges(schema: LabelSchema | None) -> dict[str, str]:
    """For every class, by id and by name, the id of the class that it is now."""
    if schema is None:
        return {}
    end = {c.id: c.id for c in schema.classes} | ends(schema)
    return end | {c.name: end[c.id] for c in reversed(schema.classes) if c.name not in end}


def rule_of(manifest: DatasetManifest) -> SplitRule:
    """The rule by which a version's items have their groups and splits."""
    by = manifest.by or ("group" if "group" in {f.name for f in manifest.stream.fields} else "")
    return SplitRule(manifest.splits, by, manifest.fixed, manifest.salt)


def assemble(manifest: DatasetManifest, found: Iterable[Found], told: Sequence[Told]) -> list[Example]:
    """The examples of a version, by place. Of items with one id the first counts (by time, then place), as for jobs."""
    gone = {r.about for r in manifest.retracted if not r.label_only}
    void = {r.about: r.time for r in manifest.retracted if r.label_only}
    labels = Labels(told, manifest.schema, void)
    spec = manifest.stream
    names = {f.name for f in spec.fields}
    rule = rule_of(manifest)
    filters = [Filter(text, names) for text in manifest.where]
    seen: set[str] = set()
    out: list[Example] = []
    for item in sorted(found, key=lambda f: (f.time, f.partition, f.offset, f.row)):
        if item.id in seen or item.id in gone:
            continue
        seen.add(item.id)
        payload = item.payload
        label, sure = labels.of(item.id)
        if label is None and spec.label is not None and item.id not in void:
            label = payload.get(spec.label)
        example = Example(
            spec.topic,
            item.partition,
            item.offset,
            item.id,
            _text(payload.get("media")),
            _text(payload.get("media_type")),
            payload,
            label,
            rule.group(payload),
            rule.split(item.id, payload),
            item.row,
            sure,
        )
        if (label is None and manifest.labelled) or not all(keep(example) for keep in filters):
            continue
        out.append(example)
    return sorted(out, key=lambda e: (e.partition, e.offset, e.row))


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else str(value)

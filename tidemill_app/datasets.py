"""Versions of data sets: made of the log, announced in topic `datasets`, and read again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import msgspec

from connectors import arrow
from connectors.datasets.answers import answers_at, undecided
from connectors.datasets.assembling import Found, Told, assemble, gather_items, gather_labels, schema_of
from connectors.datasets.examples import Example
from connectors.datasets.filter_check import check_filter
from connectors.datasets.splits import check_splits
from connectors.datasets.version import (
    DATASET,
    DatasetManifest,
    DatasetVersion,
    augmentation_digest,
    decode_dataset,
    encode_dataset,
    examples_digest,
)
from streams.archived import ArchivedLog
from streams.erasures import Erasures
from tidemill.decode import Decoder
from tidemill.errors import BadEvent, ConfigError, IntegrityError, NotFoundError, UserError
from tidemill.label_events import AnswerGiven
from tidemill.log import MAX_RECORD_BYTES, Log
from tidemill.run_events import DatasetPublished
from tidemill.stream import check_name
from tidemill.version import Span
from tidemill_app.dataset_log import DatasetLog, announce, new_id
from tidemill_app.reading import pieces
from tidemill_app.wiring import Platform
from training.augmentation import declared

LEAST = 1000
"""Offsets of the smallest part that a reader of its own reads."""


@dataclass(frozen=True)
class Wanted:
    """What a new version is to be: see `DatasetManifest` for the fields of these names."""

    project: str
    splits: Mapping[str, float] = field(default_factory=lambda: {"train": 0.8, "valid": 0.1, "test": 0.1})
    by: str = ""
    fixed: str = ""
    salt: str = ""
    where: Sequence[str] = ()
    labelled: bool = False
    augmentation: Sequence[dict[str, Any]] = ()


def create(platform: Platform, name: str, wanted: Wanted, workers: int = 1) -> tuple[DatasetPublished, bool]:
    """Make a version of what the log holds now, and whether it is new: where the newest says the same, that is it.

    What it names of topics that forget is archived before it is announced. Raises `NotFoundError` for a project
    without a stream, `ConfigError` for splits, filters, fields or transforms that cannot be, a name that another
    project's versions have, and a version that would hold no example.
    """
    check_name(name, "data set")
    check_splits(wanted.splits)
    made: DatasetPublished | None = None

    def make(there: DatasetLog) -> DatasetPublished | None:
        nonlocal made
        mine = there.of(name)
        before = _manifest(platform, mine[-1].digest) if mine else None
        if before is not None and before.project != wanted.project:
            raise ConfigError(
                "a data set is of one project",
                where=f"data set {name}",
                wanted=f"--project {before.project}, as its versions are",
                got=wanted.project,
                fix="Give this one a name of its own.",
            )
        manifest = _describe(platform, name, wanted, there, before, mine[-1].digest if mine else "")
        manifest, _ = _fill(platform, manifest, workers)
        if before is not None and msgspec.structs.replace(manifest, parent=before.parent) == before:
            made = mine[-1]
            return None
        missing = platform.keep([*manifest.data, *manifest.labels])
        if missing:
            raise UserError("records went while the version was made", got="; ".join(missing), fix="Make it again.")
        digest = platform.artefacts.put_signed(DATASET, encode_dataset(manifest))
        made = DatasetPublished(
            id=new_id(),
            time=platform.clock.now(),
            source="/datasets",
            dataset=name,
            version=str(1 + max((int(e.version) for e in mine if e.version.isdecimal()), default=0)),
            digest=digest,
            examples=manifest.examples,
            parent=mine[-1].version if mine else "",
        )
        return made

    new = announce(platform.log, make)
    assert made is not None
    return made, new is not None


def load(
    platform: Platform, text: str, workers: int = 1, copy: Log | None = None, *, answers: bool = False
) -> DatasetVersion:
    """The version that `NAME[@VERSION]` names, its examples read from the log, or the archive of what the log has lost;
    of `copy`, from that copied log and no archive. With `answers` also what annotators said of them.

    Raises `NotFoundError`, `SignatureError` for a manifest that no trusted key signed, `GoneError` naming the range
    that is in neither, `DigestError` where the log holds others than the version was made of.
    """
    event = DatasetLog(platform.log).find(text)
    manifest = _manifest(platform, event.digest)
    examples, erased, told, _ = _read(platform, manifest, workers, copy, answers=answers)
    return DatasetVersion(
        manifest,
        event.digest,
        examples,
        platform.artefacts.get,
        version=event.version,
        erased=erased - manifest.erased,
        answers=_answers(manifest, examples, told) if answers else {},
    )


def manifest_of(platform: Platform, text: str) -> tuple[DatasetPublished, DatasetManifest]:
    """The announcement and the verified manifest of a version, without its examples."""
    event = DatasetLog(platform.log).find(text)
    return event, _manifest(platform, event.digest)


def versions(platform: Platform, name: str | None = None) -> list[dict[str, Any]]:
    """A row for each version of data set `name`, or of all; `refused` says why one cannot be taken."""
    rows = []
    for event in DatasetLog(platform.log).versions:
        if name not in (None, event.dataset):
            continue
        project, splits, examples, refused = "", {}, "", ""
        try:
            manifest = _manifest(platform, event.digest)
            project, examples = manifest.project, manifest.examples_digest
            splits = {k: v for k, v in manifest.counts.items() if not k.startswith("@")}
        except (IntegrityError, NotFoundError, BadEvent) as error:
            refused = str(error)
        rows.append(
            {
                "dataset": event.dataset,
                "version": event.version,
                "project": project,
                "examples": event.examples,
                "splits": splits,
                "created": event.time,
                "digest": event.digest,
                "examples_digest": examples,
                "refused": refused,
            }
        )
    return rows


def _answers(
    manifest: DatasetManifest, examples: Sequence[Example], told: Sequence[Told]
) -> dict[str, list[AnswerGiven]]:
    """What annotators said of the examples."""
    void = {r.about: r.time for r in manifest.retracted if r.label_only}
    found = answers_at(manifest.project, told, manifest.schema, void)
    return {e.id: found[e.id] for e in examples if e.id in found}


def _manifest(platform: Platform, digest: str) -> DatasetManifest:
    return decode_dataset(platform.artefacts.get_signed(DATASET, digest))


def _describe(
    platform: Platform, name: str, wanted: Wanted, there: DatasetLog, before: DatasetManifest | None, parent: str
) -> DatasetManifest:
    """The manifest but for what the records say."""
    spec = platform.catalogue().get(wanted.project)
    names = [f.name for f in spec.fields]
    for role, of in (("--by", wanted.by), ("--split-field", wanted.fixed)):
        if of and of not in names:
            raise ConfigError(f"{role} names no field", where=f"stream {spec.name}", wanted=f"one of {names}", got=of)
    for text in wanted.where:
        check_filter(text, {f.name: f.type for f in spec.fields}, None)
    labels = f"labels.{wanted.project}"
    topics = platform.log.topics()
    augmentation = declared(wanted.augmentation).plain()
    return DatasetManifest(
        name=name,
        project=wanted.project,
        data=_spans(platform.log, spec.topic, before.data if before else []),
        labels=_spans(platform.log, labels, before.labels if before else []) if labels in topics else [],
        stream=spec,
        augmentation=augmentation,
        augmentation_digest=augmentation_digest(augmentation),
        splits=dict(sorted(wanted.splits.items())),
        by=wanted.by,
        fixed=wanted.fixed,
        salt=wanted.salt,
        where=sorted(set(wanted.where)),
        labelled=wanted.labelled,
        retracted=there.retracted(wanted.project),
        parent=parent,
    )


def _spans(log: Log, topic: str, before: Sequence[Span]) -> list[Span]:
    """All that a topic holds, and what the version before still names though the log has lost it: that is archived."""
    first = {s.partition: s.first for s in before if s.topic == topic}
    out = []
    for p in log.partitions(topic):
        out.append(Span(topic, p.number, min(log.begin(p), first.get(p.number, 1 << 62)), log.end(p)))
    return out


def _fill(platform: Platform, manifest: DatasetManifest, workers: int) -> tuple[DatasetManifest, list[Example]]:
    """The manifest with what the records of its ranges say, and the examples."""
    examples, erased, told, bad = _read(platform, manifest, workers, answers=True)
    schema = schema_of(manifest.project, told)
    for text in manifest.where:
        check_filter(text, {f.name: f.type for f in manifest.stream.fields}, schema)
    if not examples:
        records = sum(s.next - s.first for s in manifest.data)
        raise ConfigError(
            "no example is left",
            where=f"data set {manifest.name}",
            wanted="at least one",
            got=f"none of {records:,} records of {manifest.stream.topic}",
            fix="See what --where and --labelled leave out, and what was retracted." if records else "",
        )
    counts: dict[str, int] = dict.fromkeys(manifest.splits, 0)
    for example in examples:
        counts[example.split] += 1
    counts |= {"@bad": bad, "@unlabelled": sum(e.label is None for e in examples)}
    waits = undecided(told)
    waiting = _answers(manifest, [e for e in examples if e.label is None or waits(e.id)], told)
    counts |= {"@answered": len(waiting)} if waiting else {}
    filled = msgspec.structs.replace(
        manifest,
        schema=schema,
        erased=erased,
        examples=len(examples),
        examples_digest=examples_digest(examples),
        counts=counts,
    )
    return filled, examples


def _read(
    platform: Platform, manifest: DatasetManifest, workers: int, copy: Log | None = None, *, answers: bool
) -> tuple[list[Example], int, list[Told], int]:
    """Examples, how many records of the ranges were erased, what was told of labels (with `answers`, by annotators
    too), and records that are no items."""
    log = platform.log if copy is None else copy
    whole = ArchivedLog(log, [*manifest.data, *manifest.labels], platform.archive if copy is None else None)
    gone = Erasures()
    gone.read(log)
    places = gone.within([*manifest.data, *manifest.labels])

    def work(span: Span) -> tuple[list[Found], list[Told], int]:
        found: list[Found] = []
        told: list[Told] = []
        bad = 0
        decoder = Decoder(manifest.stream, arrow.decode, max_event_bytes=MAX_RECORD_BYTES)
        for records in pieces(whole, span):
            if span.topic == manifest.stream.topic:
                items, wrong = gather_items(decoder, records, gone.absent)
                found += items
                bad += wrong
            else:
                told += gather_labels(records, places, answers=answers)
        return found, told, bad

    spans = [piece for span in (*manifest.data, *manifest.labels) for piece in _cut(span, workers)]
    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(work, spans))
    told = [t for _, more, _ in parts for t in more]
    if manifest.schema is None:
        manifest = msgspec.structs.replace(manifest, schema=schema_of(manifest.project, told))
    examples = assemble(manifest, [f for found, _, _ in parts for f in found], told)
    return examples, len(places), told, sum(bad for _, _, bad in parts)


def _cut(span: Span, pieces: int) -> Iterator[Span]:
    """A span in about equal parts."""
    size = max(LEAST, -(-(span.next - span.first) // pieces))
    for first in range(span.first, span.next, size):
        yield msgspec.structs.replace(span, first=first, next=min(first + size, span.next))

"""Rebuilding a model version from its lineage: the same records, in the same order, through the same step.

What was read is fixed by the lineage's spans; their order by the watermark rule (`event_time`) or by the recorded
segments (`arrival`). The version is the cut with the lineage's number, and it lies after the event the lineage names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.archived import Archive, ArchivedLog
from streams.erasures import Erasures
from streams.intake import Intake, balance
from streams.journal import Entry, Moves, chain
from streams.pipeline import Pipeline, Source
from streams.provenance import records_hash
from streams.sources import HISTORY, Segments, Sources
from tidemill.decode import ArrowDecoder
from tidemill.errors import IntegrityError, SubmissionError, UnavailableError
from tidemill.job import Job, VersionCut
from tidemill.log import Log, Partition, Record
from tidemill.order import Arrival
from tidemill.stream import StreamSpec
from tidemill.version import Lineage, Span

_BATCH = 50_000
_BUFFERED = 1_000_000
_PATIENCE = 30


@dataclass(frozen=True)
class Reproduced:
    """A version cut anew. `records` and `records_hash` are of what was read now, to compare with the lineage's;
    `erased` counts the records on the way that were erased on request since or before."""

    cut: VersionCut
    records: int
    records_hash: str
    erased: int


def reproduce(
    job: Job[Any],
    lineage: Lineage,
    model: str = "",
    *,
    log: Log,
    streams: Mapping[str, StreamSpec],
    arrow_decode: ArrowDecoder | None = None,
    history: Callable[[str, StreamSpec], Log] | None = None,
    archive: Archive | None = None,
    objects: Callable[[str], bytes] | None = None,
) -> Reproduced:
    """Cut the version again: of `model`, or the first of the lineage's number.

    `history` gives the log over an input's history files, `objects` the bytes of a digest.

    Raises `GoneError` naming the range that neither `log` nor `archive` holds, `IntegrityError` where the history's
    files changed or the replay cuts no such version, `SubmissionError` where `job` is not of the lineage's order.
    """
    arrival = isinstance(job.order, Arrival)
    if arrival != (lineage.order == "arrival"):
        raise SubmissionError(
            "the job's order is not the lineage's", where=f"job {job.name}", wanted=lineage.order, got=str(job.order)
        )
    spans = {Partition(s.topic, s.partition): s for s in lineage.read}
    sources = _sources(job, streams, spans)
    whole = ArchivedLog(log, [s for s in lineage.read if not s.topic.startswith(HISTORY)], archive)
    erasures = Erasures()
    erasures.read(log)
    pipeline = Pipeline(job, streams, sources, lineage.after)
    intake = Intake(job, streams, sources, pipeline, erasures, arrow_decode)
    histories = _histories(job, lineage, streams, history)
    replay = _segments if arrival else _spans
    cuts = [
        cut
        for cut in replay(pipeline, intake, sources, whole, histories, _journal(lineage, objects), lineage)
        if cut.number == lineage.number and model in ("", cut.model)
    ]
    if not cuts:
        raise IntegrityError(
            "the replay cuts no such version",
            where=f"job {job.name}",
            wanted=f"version {lineage.number} after {lineage.last}",
            got=f"{pipeline.counts.stepped} events to {pipeline.last}",
        )
    count, digest = records_hash(intake.hashes.items())
    return Reproduced(cuts[0], count, digest, erasures.met)


def _journal(lineage: Lineage, objects: Callable[[str], bytes] | None) -> list[Entry]:
    """The segments read, or the clocks moved, from the beginning."""
    if lineage.journal and objects is None:
        raise SubmissionError(
            "most of the order is kept by digest, and nothing here has it", where=f"job {lineage.job}", got="no objects"
        )
    before = chain(lineage.journal, objects) if objects is not None else ()
    moved = [(m.topic, m.partition, m.offset, m.time) for m in lineage.moved]
    return [*before, *((s.topic, s.partition, s.first, s.next) for s in lineage.segments), *moved]


def _histories(
    job: Job[Any],
    lineage: Lineage,
    streams: Mapping[str, StreamSpec],
    history: Callable[[str, StreamSpec], Log] | None,
) -> dict[str, Log]:
    out: dict[str, Log] = {}
    for read in job.reads:
        if not read.history:
            continue
        if history is None:
            raise SubmissionError("begins on files, and nothing here reads them", where=f"job {job.name}")
        files = out[read.stream] = history(read.history, streams[read.stream])
        was, now = lineage.history.get(read.history, ""), getattr(files, "digest", "")
        if was != now:
            raise IntegrityError("the files the job began on changed", where=read.history, wanted=was, got=now)
    return out


def _sources(job: Job[Any], streams: Mapping[str, StreamSpec], spans: Mapping[Partition, Span]) -> list[Source]:
    by_topic = {streams[i.stream].topic: i.stream for i in job.reads}
    out = []
    for p in spans:
        history = p.topic.startswith(HISTORY)
        stream = p.topic.removeprefix(HISTORY) if history else by_topic.get(p.topic)
        if stream is None:
            raise SubmissionError("the job does not read what the version learned from", got=p.topic)
        out.append(Source(p, stream, history))
    return out


def _spans(
    pipeline: Pipeline[Any],
    intake: Intake,
    all_sources: Sequence[Source],
    log: Log,
    histories: Mapping[str, Log],
    journal: Sequence[Entry],
    lineage: Lineage,
) -> list[VersionCut]:
    moves = Moves(journal)
    first = {Partition(s.topic, s.partition): s.first for s in lineage.read}
    until = {Partition(s.topic, s.partition): s.next for s in lineage.read}
    sources = Sources(all_sources, log, histories, first, until=until)

    def feed(partition: Partition, records: Sequence[Record]) -> int:
        return moves.feed(intake, partition, records)[0]

    return read_through(pipeline, sources, feed, lambda: moves.reach(intake, sources.positions()))


def read_through(
    pipeline: Pipeline[Any],
    sources: Sources,
    feed: Callable[[Partition, Sequence[Record]], int],
    polled: Callable[[], None] = lambda: None,
) -> list[VersionCut]:
    """Read `sources` to their end through the pipeline, and close them; the versions cut on the way. `feed` takes a run
    of records and says how many events it held. Raises `UnavailableError` where the log gives no more."""
    cuts: list[VersionCut] = []
    rows = silent = 0
    try:
        while not sources.done():
            runs = sources.poll(_BATCH, 1.0)
            silent = 0 if runs else silent + 1
            for partition, records in runs:
                rows += feed(partition, records)
            polled()
            for stream in sources.ended():
                pipeline.finish_history(stream)
            if rows >= _BATCH or not runs or sources.paused:
                cuts += [cut for _, cut in pipeline.step().versions]
                rows = 0
            balance(sources, pipeline, _BUFFERED)
            if silent >= _PATIENCE:
                raise UnavailableError("the log gives no more records", where=str(sources.positions()))
    finally:
        sources.close()
    return cuts + [cut for _, cut in pipeline.step().versions]


def _segments(
    pipeline: Pipeline[Any],
    intake: Intake,
    all_sources: Sequence[Source],
    log: Log,
    histories: Mapping[str, Log],
    journal: Sequence[Entry],
    lineage: Lineage,
) -> list[VersionCut]:
    history = {s.partition: s.history for s in all_sources}
    reader = Segments(log, histories)
    cuts: list[VersionCut] = []
    try:
        for partition, records in reader.runs(journal):
            if not history[partition]:
                for stream in histories:  # all of them were read before anything else
                    pipeline.finish_history(stream)
            intake.take(partition, records)
            if pipeline.buffered >= _BATCH:
                cuts += [cut for _, cut in pipeline.step().versions]
    finally:
        reader.close()
    return cuts + [cut for _, cut in pipeline.step().versions]

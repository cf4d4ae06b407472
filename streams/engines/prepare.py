"""What every engine does before it runs a job: it refuses settings that cannot work, and makes the topics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streams import progress
from streams.engines.publication import MODELS
from tidemill import state as states
from tidemill.engine import Parts
from tidemill.errors import SubmissionError, TidemillError
from tidemill.job import Job, needs_of
from tidemill.log import MAX_RECORD_BYTES, TopicSpec
from tidemill.order import Arrival, EventTime
from tidemill.time import MAX_TIME, show_span

_OVERHEAD = 64 * 1024
"""Room for a dead letter's headers beside a payload of the largest size."""


FITS: Mapping[str, tuple[str, ...]] = {"number": ("int", "float", "bool", "time", "json"), "text": ("string", "json")}
"""The types of declared fields that can hold what `Input.types` asks for."""


def make_topics(job: Job[Any], parts: Parts) -> None:
    """Make the topics of a job that are not there."""
    log = parts.log
    for read in job.reads:
        spec = parts.streams[read.stream]
        log.create(spec.topic, spec.topic_spec())
    log.create(progress.topic_of(job.name).topic, progress.TOPIC)
    log.create(f"dead.{job.name}", TopicSpec(max_bytes=MAX_RECORD_BYTES + _OVERHEAD))
    log.create("models", MODELS)
    for output in job.writes:
        log.create(output.topic, output.made)


def check_settings(job: Job[Any], parts: Parts) -> None:
    """Raises `SubmissionError` for what could only fail later: said at submission, with the setting named."""
    where = f"job {job.name}"

    def refuse(message: str, wanted: str = "", got: str = "", field: str = "") -> None:
        raise SubmissionError(message, where=where, wanted=wanted, got=got, field=field)

    order = job.order
    if isinstance(order, EventTime) and order.lateness < 0:
        refuse("lateness cannot be negative", "0 or more microseconds", show_span(order.lateness), "lateness")
    if isinstance(order, EventTime) and order.idle_after is not None and order.idle_after <= 0:
        refuse("idle_after cannot be zero", "seconds, or None for never", str(order.idle_after), "idle_after")
    if isinstance(order, Arrival) and order.dedupe < 0:
        refuse("dedupe cannot be negative", "a number of ids", str(order.dedupe), "dedupe")
    if not 0 < order.max_ahead <= MAX_TIME // 2:
        wanted = f"microseconds, more than 0 and at most {show_span(MAX_TIME // 2)}"
        refuse("max_ahead must let the clock move", wanted, show_span(order.max_ahead), "max_ahead")
    if not 0 < job.commit_every <= 30:
        refuse(
            "commit_every out of range", "seconds, more than 0 and at most 30", str(job.commit_every), "commit_every"
        )
    if not 0 < job.max_event_bytes <= MAX_RECORD_BYTES:
        refuse(
            "max_event_bytes out of range", f"at most {MAX_RECORD_BYTES}", str(job.max_event_bytes), "max_event_bytes"
        )
    if parts.publisher is None and "versions" in needs_of(job):
        refuse("publishes versions, and nothing here keeps them", "a publisher")
    for output in job.writes:
        if output.format == "arrow" and parts.arrow_encode is None:
            refuse(f"output {output.name} writes Arrow blocks, and nothing here encodes them", "an Arrow encoder")
    _check_reads(job, parts, refuse)
    if job.cannot_save:
        return
    try:
        states.decode(states.encode(job.init()), job.state)
    except TidemillError as error:
        refuse("its first state cannot be saved and read back", f"a {job.state.__qualname__}", str(error), "state")


def _check_reads(job: Job[Any], parts: Parts, refuse: Callable[..., None]) -> None:
    passed: dict[str, frozenset[str]] = {}
    for read in job.reads:
        spec = parts.streams.get(read.stream)
        if spec is None:
            refuse(f"reads stream {read.stream}, which is not declared", "a declared stream", read.stream, "reads")
            continue
        beside = frozenset(spec.beside)
        passed[spec.topic] = passed.get(spec.topic, beside) & beside
        key = read.key or spec.key
        names = [f.name for f in spec.fields]
        if read.key is not None and read.key not in names:
            refuse(f"stream {read.stream} has no field to key by", ", ".join(names), read.key, "key")
        for name, asks in read.fields:
            if name not in names:
                refuse(f"stream {read.stream} has no field {name!r}, for {asks}", ", ".join(names), name, name)
            for what in (wanted for field, wanted in read.types if field == name):
                if (type := spec.field(name).type) not in FITS[what]:
                    said = f"field {name!r} of stream {read.stream} is no {what}, for {asks}"
                    refuse(said, " or ".join(FITS[what]), type, name)
        if job.groups > 1 and key is None:
            refuse(f"stream {read.stream} has no key, and the job has {job.groups} groups", "a key", "none", "key")
        if read.history and parts.history is None:
            refuse(f"stream {read.stream} begins on files, and nothing here reads them", "a history log")
        if read.history and spec.id is None:
            refuse(
                f"stream {read.stream} begins on files, and its events have no id",
                "an id field, so that an event in the files and in the log is known to be one",
                field="id",
            )
    for output in job.writes:
        # Where every stream it reads there passes events of this type over, it does not read what it writes.
        if output.topic in passed and output.tag not in passed[output.topic]:
            refuse(f"output {output.name} writes into a topic that the job reads", "another topic", output.topic)

"""The local engine: runs a job in this process, exactly once, over any log.

Outputs, dead letters, live state, the progress record and the consumer offsets commit in one transaction under the
identity `tidemill.<job>`. The job's state is snapshotted beside it and caught up by silent re-runs, so nothing needs
two-phase agreement between disk and log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from streams import progress
from streams.engines.patience import Patience, patiently
from streams.engines.publication import MODELS
from streams.engines.session import Session
from streams.engines.snapshot import Snapshot, check_fits
from streams.engines.status import Status
from streams.sources import sources_of
from tidemill import state as states
from tidemill.engine import Parts, refuse_unless_fit
from tidemill.errors import SubmissionError, TidemillError
from tidemill.job import NEEDS, Job, needs_of
from tidemill.log import MAX_RECORD_BYTES, Log, TopicSpec
from tidemill.order import Arrival, EventTime
from tidemill.time import MAX_TIME, show_span

_OVERHEAD = 64 * 1024
"""Room for a dead letter's headers beside a payload of the largest size."""


class LocalEngine:
    """An `Engine` in this process. `max_buffered` bounds the events that wait for the watermark, `max_batch` those of
    one step; `snapshot_every` is seconds between snapshots, which bounds how much a restart re-runs; where taking one
    keeps the job for more than a 200th of that, they come at 200 times what it takes; `unknown_for` is
    for how many seconds the log may not know a topic that it was told to make."""

    name: ClassVar[str] = "local"
    provides: ClassVar[frozenset[str]] = frozenset(NEEDS) - {"rescale"}
    options: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        *,
        max_buffered: int = 1_000_000,
        max_batch: int = 50_000,
        snapshot_every: float = 10.0,
        unknown_for: float = 60.0,
    ) -> None:
        self.max_buffered = max_buffered
        self.max_batch = max_batch
        self.snapshot_every = snapshot_every
        self.unknown_for = unknown_for

    @staticmethod
    def check_saved(job: Job[Any], saved: bytes) -> None:
        """Raises `IncompatibleError`, naming what differs, where the snapshot is of a job that `job` cannot go on
        from."""
        check_fits(job, states.decode(saved, Snapshot).fingerprint)

    def run(self, job: Job[Any], parts: Parts, stop: Callable[[], bool]) -> None:
        """Run until `stop()`. While the log does not answer it waits and tries again.

        Raises `SubmissionError` for settings that cannot work, `IncompatibleError` where the saved state does not fit,
        `FencedError` where another process runs this job, `GoneError` and `IntegrityError` where the log no longer
        holds what the job needs or the step is not deterministic, and `StepError` where the step raises. It is tried
        once more then, event by event, so that the one it raises on is named.
        """
        refuse_unless_fit(job, self, [self])
        check_settings(job, parts)
        histories = _histories(job, parts)
        status = Status(job, parts.log, parts.report)
        job.warm()

        def attempt(careful_until: int) -> None:
            make_topics(job, parts)
            sources = sources_of(job, parts.streams, parts.log, histories)
            Session(
                job,
                parts,
                stop,
                status,
                histories,
                sources,
                max_buffered=self.max_buffered,
                max_batch=self.max_batch,
                snapshot_every=self.snapshot_every,
                careful_until=careful_until,
            ).run()

        patiently(attempt, Patience(self.unknown_for), status, stop)


def _histories(job: Job[Any], parts: Parts) -> Mapping[str, Log]:
    assert parts.history is not None or not any(i.history for i in job.reads)
    return {
        i.stream: parts.history(i.history, parts.streams[i.stream]) for i in job.reads if i.history and parts.history
    }


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
    topics = set()
    for read in job.reads:
        spec = parts.streams.get(read.stream)
        if spec is None:
            refuse(f"reads stream {read.stream}, which is not declared", "a declared stream", read.stream, "reads")
            continue
        topics.add(spec.topic)
        key = read.key or spec.key
        names = [f.name for f in spec.fields]
        if read.key is not None and read.key not in names:
            refuse(f"stream {read.stream} has no field to key by", ", ".join(names), read.key, "key")
        for name, asks in read.fields:
            if name not in names:
                refuse(f"stream {read.stream} has no field {name!r}, for {asks}", ", ".join(names), name, name)
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
        if output.topic in topics:
            refuse(f"output {output.name} writes into a topic that the job reads", "another topic", output.topic)

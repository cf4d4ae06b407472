"""The log protocol: topics of partitions of records, read by position, written in transactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from tidemill.errors import GoneError, TooLargeError

MAX_RECORD_BYTES = 16 * 1024 * 1024
"""The largest record a data or dead-letter topic takes; larger ones are refused at publish."""

Headers = Sequence[tuple[str, bytes]]


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


class Record(NamedTuple):
    """One record as it stands in the log. `timestamp` is the append time in UTC microseconds."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


def check_size(topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> int:
    """The bytes of a record's key, value and headers together; raises `TooLargeError` above `MAX_RECORD_BYTES`.

    Every writer checks so before it hands a record over: a broker's own limit counts compressed batches, and would
    let through today what it refuses tomorrow.
    """
    size = (len(key) if key else 0) + (len(value) if value else 0)
    for name, content in headers:
        size += len(name) + (len(content) if content else 0)
    if size > MAX_RECORD_BYTES:
        raise TooLargeError(
            "record is too large",
            where=topic,
            wanted=f"at most {MAX_RECORD_BYTES} bytes of key, value and headers",
            got=f"{size} bytes",
            fix="Split it, or publish a reference to it",
        )
    return size


def gone(partition: Partition, position: int, begin: int, end: int) -> GoneError:
    """The error for a position outside `begin`..`end` of a partition; it names the range that cannot be read."""
    where = f"{partition.topic}/{partition.number}"
    if position > end:
        return GoneError(
            "the log ends before this position: it was cut or made anew",
            where=where,
            wanted=f"offset {position}",
            got=f"offsets {begin} to {end}",
        )
    return GoneError(
        f"offsets {position} to {begin - 1} are gone",
        where=where,
        wanted=f"offset {position}",
        got=f"a log that begins at {begin}",
        fix="Read them from an archive, or start at the first offset kept",
    )


class TopicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a topic is made. `retention_ms` and `retention_bytes` (of each partition) -1 keep everything; `compacted`
    keeps the newest record of each key, and every record at least `uncompacted_ms`."""

    partitions: int = 1
    retention_ms: int = -1
    retention_bytes: int = -1
    compacted: bool = False
    uncompacted_ms: int = 0
    max_bytes: int = MAX_RECORD_BYTES


class Reader(Protocol):
    """Reads assigned partitions from given positions on, in offset order within each partition.

    Transactional records that were aborted are never returned, nor those of a transaction still open.
    """

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """Up to `max_records` records; an empty list after `timeout` seconds without any.

        Raises `GoneError` where a position lies before the first offset kept (naming the range), and
        `UnavailableError` where the log cannot be reached.
        """
        ...

    def positions(self) -> dict[Partition, int]:
        """The next offset to be returned, per partition. Steps over control records and aborted ones, so it can
        pass the last returned offset by more than one, and reaches `Log.end` when everything was read."""
        ...

    def close(self) -> None: ...


class Writer(Protocol):
    """Appends records. Made with a transactional id, it writes only between `begin` and `commit` or `abort`."""

    def send(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: Headers = (), partition: int = -1
    ) -> None:
        """Hand over one record; `partition` -1 lets the key decide (murmur2 as every Kafka client, or spread evenly
        without a key). Blocks while the queue is full. Raises `TooLargeError` above the limit."""
        ...

    def flush(self, timeout: float = 30.0) -> None:
        """Wait until everything sent is acknowledged by all in-sync replicas; raises what went wrong."""
        ...

    def begin(self) -> None:
        """Begin a transaction."""
        ...

    def commit(self, offsets: Mapping[Partition, int] | None = None, group: str = "") -> None:
        """Commit the transaction, with the consumer offsets of `group` in it.

        Raises `FencedError` where a newer writer has this transactional id, `UnavailableError` where the outcome is
        unknown: then close this writer, make a new one (which settles the outcome), and read what was committed.
        """
        ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


class Log(Protocol):
    """A log: Kafka, files, or memory. `tidemill.checks.logs` is its conformance suite."""

    def topics(self) -> dict[str, int]:
        """Names of the topics, with their number of partitions."""
        ...

    def create(self, topic: str, spec: TopicSpec) -> bool:
        """Make a topic; False where it exists already. Raises `IncompatibleError` where it exists with fewer
        partitions than asked, `UserError` where this log is read-only."""
        ...

    def partitions(self, topic: str) -> list[Partition]:
        """Raises `NotFoundError` for an unknown topic."""
        ...

    def begin(self, partition: Partition) -> int:
        """The first offset kept."""
        ...

    def end(self, partition: Partition) -> int:
        """The offset after the last one that a reader could return now (the last stable offset)."""
        ...

    def reader(self, positions: Mapping[Partition, int]) -> Reader:
        """A reader of exactly these partitions from these offsets."""
        ...

    def writer(self, transactional_id: str = "") -> Writer:
        """A writer; idempotent, all replicas acknowledging. With an id: transactional, and any earlier writer of the
        same id is fenced and its open transaction aborted before this returns."""
        ...

    def close(self) -> None: ...


_NEAR = 2_000


def offset_before(log: Log, partition: Partition, time: int) -> int:
    """An offset before which every record was appended before `time` (µs), and no more than 2,000 from the first that
    was not; found by bisection, as append times never fall within a partition."""
    low, high = log.begin(partition), log.end(partition)
    while high - low > _NEAR:
        middle = (low + high) // 2
        reader = log.reader({partition: middle})
        try:
            found = reader.poll(1, 2.0)
        finally:
            reader.close()
        if found and found[0].timestamp < time:
            low = found[0].offset + 1
        else:
            high = middle
    return low

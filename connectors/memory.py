"""A log in memory: for tests and for trying things out. It keeps what Kafka keeps, offsets of control records included.

A commit or an abort takes one offset in every partition the transaction wrote to, as Kafka's markers do, so code that
counts on consecutive offsets fails here as it would there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from tidemill.errors import FencedError, IncompatibleError, NotFoundError, TooLargeError, UserError
from tidemill.hashing import partition_of
from tidemill.log import Headers, Partition, Record, TopicSpec, check_size, gone


class _Transaction:
    def __init__(self) -> None:
        self.outcome: Literal["open", "committed", "aborted"] = "open"
        self.touched: dict[Partition, int] = {}
        """The first offset written in each partition."""


class _Kept:
    """One partition: its records from offset `begin` on; None stands for a control record."""

    def __init__(self) -> None:
        self.begin = 0
        self.records: list[tuple[Record | None, _Transaction | None]] = []
        self.open: set[_Transaction] = set()
        self.newest = 0

    @property
    def next(self) -> int:
        return self.begin + len(self.records)


class MemoryLog:
    """See `tidemill.log.Log`. Safe to use from many threads. `clock` gives append times in UTC microseconds."""

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock or (lambda: time.time_ns() // 1000)
        self._specs: dict[str, TopicSpec] = {}
        self._kept: dict[Partition, _Kept] = {}
        self._writers: dict[str, MemoryWriter] = {}
        self._committed: dict[str, dict[Partition, int]] = {}
        self._spread = 0
        self._changed = threading.Condition(threading.RLock())

    def topics(self) -> dict[str, int]:
        with self._changed:
            return {topic: spec.partitions for topic, spec in self._specs.items()}

    def create(self, topic: str, spec: TopicSpec) -> bool:
        with self._changed:
            have = self._specs.get(topic)
            if have is None:
                self._specs[topic] = spec
                self._kept.update({Partition(topic, i): _Kept() for i in range(spec.partitions)})
                return True
            if have.partitions < spec.partitions:
                raise IncompatibleError(
                    "topic exists with fewer partitions",
                    where=topic,
                    wanted=f"{spec.partitions} partitions",
                    got=str(have.partitions),
                    fix="More partitions would move keys to other ones: use another topic",
                )
            return False

    def partitions(self, topic: str) -> list[Partition]:
        return [Partition(topic, i) for i in range(self._spec(topic).partitions)]

    def _spec(self, topic: str) -> TopicSpec:
        spec = self._specs.get(topic)
        if spec is None:
            raise NotFoundError("no such topic", where=topic)
        return spec

    def _at(self, partition: Partition) -> _Kept:
        kept = self._kept.get(partition)
        if kept is None:
            raise NotFoundError("no such topic or partition", where=f"{partition.topic}/{partition.number}")
        return kept

    def begin(self, partition: Partition) -> int:
        with self._changed:
            return self._at(partition).begin

    def end(self, partition: Partition) -> int:
        with self._changed:
            kept = self._at(partition)
            return min((t.touched[partition] for t in kept.open), default=kept.next)

    def reader(self, positions: Mapping[Partition, int]) -> MemoryReader:
        return MemoryReader(self, positions)

    def writer(self, transactional_id: str = "") -> MemoryWriter:
        writer = MemoryWriter(self, transactional_id)
        if transactional_id:
            with self._changed:
                earlier = self._writers.get(transactional_id)
                self._writers[transactional_id] = writer
                if earlier is not None:
                    earlier.fence()
        return writer

    def close(self) -> None: ...

    def delete_before(self, partition: Partition, offset: int) -> None:
        """Remove the records before `offset`, as retention does."""
        with self._changed:
            kept = self._at(partition)
            cut = min(max(offset, kept.begin), self.end(partition)) - kept.begin
            del kept.records[:cut]
            kept.begin += cut

    def delete(self, topic: str) -> None:
        """Delete a topic and all its records, if it is there."""
        with self._changed:
            self._specs.pop(topic, None)
            for partition in [p for p in self._kept if p.topic == topic]:
                del self._kept[partition]

    def committed(self, group: str) -> dict[Partition, int]:
        """The consumer offsets a group has committed."""
        with self._changed:
            return dict(self._committed.get(group, {}))

    def _append(
        self, to: Partition, key: bytes | None, value: bytes | None, headers: Headers, within: _Transaction | None
    ) -> None:
        kept = self._at(to)
        kept.newest = max(kept.newest, self._clock())
        record = Record(to.topic, to.number, kept.next, key, value, tuple(headers), kept.newest)
        if within is not None and to not in within.touched:
            within.touched[to] = kept.next
            kept.open.add(within)
        kept.records.append((record, within))
        self._changed.notify_all()

    def _settle(self, transaction: _Transaction, outcome: Literal["committed", "aborted"]) -> None:
        transaction.outcome = outcome
        for partition in transaction.touched:
            kept = self._at(partition)
            kept.open.discard(transaction)
            kept.records.append((None, None))
        self._changed.notify_all()


class MemoryReader:
    """See `tidemill.log.Reader`."""

    def __init__(self, log: MemoryLog, positions: Mapping[Partition, int]) -> None:
        self._log = log
        self._positions = dict(positions)
        self._order = list(positions)

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        deadline = time.monotonic() + timeout
        with self._log._changed:
            while True:
                out: list[Record] = []
                for partition in self._order:
                    if len(out) < max_records:
                        out.extend(self._take(partition, max_records - len(out)))
                self._order = self._order[1:] + self._order[:1]  # no partition starves the others
                left = deadline - time.monotonic()
                if out or left <= 0:
                    return out
                self._log._changed.wait(left)

    def _take(self, partition: Partition, most: int) -> Iterator[Record]:
        kept, end, at = self._log._at(partition), self._log.end(partition), self._positions[partition]
        if not kept.begin <= at <= kept.next:
            raise gone(partition, at, kept.begin, kept.next)
        while at < end and most > 0:
            record, within = kept.records[at - kept.begin]
            at += 1
            self._positions[partition] = at
            if record is not None and (within is None or within.outcome == "committed"):
                most -= 1
                yield record

    def positions(self) -> dict[Partition, int]:
        return dict(self._positions)

    def close(self) -> None: ...


class MemoryWriter:
    """See `tidemill.log.Writer`."""

    def __init__(self, log: MemoryLog, transactional_id: str) -> None:
        self._log = log
        self._id = transactional_id
        self._where = f"writer {transactional_id}" if transactional_id else "writer"
        self._open: _Transaction | None = None
        self._fenced = False

    def fence(self) -> None:
        """A newer writer has this id: whatever is open is aborted, and nothing more is taken."""
        self._fenced = True
        if self._open is not None:
            self._log._settle(self._open, "aborted")

    def _check(self) -> None:
        if self._fenced:
            raise FencedError("a newer writer has this transactional id", where=self._where)

    def _transaction(self) -> _Transaction:
        self._check()
        if self._open is None:
            raise UserError("no transaction is open", where=self._where, fix="Call begin first")
        return self._open

    def send(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: Headers = (), partition: int = -1
    ) -> None:
        log = self._log
        size = check_size(topic, key, value, headers)
        with log._changed:
            within = self._transaction() if self._id else None
            spec = log._spec(topic)
            if size > spec.max_bytes:
                raise TooLargeError("record is too large", where=topic, wanted=f"at most {spec.max_bytes} bytes")
            if partition < 0:
                if key is None:
                    log._spread += 1
                partition = log._spread % spec.partitions if key is None else partition_of(key, spec.partitions)
            log._append(Partition(topic, partition), key, value, headers, within)

    def flush(self, timeout: float = 30.0) -> None: ...

    def begin(self) -> None:
        with self._log._changed:
            if not self._id:
                raise UserError("this writer has no transactional id", where=self._where)
            self._check()
            if self._open is not None:
                raise UserError("a transaction is open already", where=self._where, fix="Commit or abort it first")
            self._open = _Transaction()

    def commit(self, offsets: Mapping[Partition, int] | None = None, group: str = "") -> None:
        if offsets and not group:
            raise UserError("offsets are committed for a group", where=self._where, wanted="a group", got="none")
        with self._log._changed:
            self._log._settle(self._transaction(), "committed")
            self._open = None
            if offsets:
                self._log._committed.setdefault(group, {}).update(offsets)

    def abort(self) -> None:
        with self._log._changed:
            self._log._settle(self._transaction(), "aborted")
            self._open = None

    def close(self) -> None:
        with self._log._changed:
            if self._open is not None and not self._fenced:
                self.abort()

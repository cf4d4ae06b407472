"""A log in memory for the engine's tests: transactions, markers that take offsets, fencing, last stable offset."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping

from tidemill.errors import FencedError, GoneError, NotFoundError
from tidemill.log import Headers, Partition, Record, TopicSpec


class _Entry:
    def __init__(self, record: Record | None, transaction: _Transaction | None) -> None:
        self.record, self.transaction = record, transaction


class _Transaction:
    def __init__(self) -> None:
        self.outcome = ""


class TinyLog:
    def __init__(self, poll_cap: int = 1 << 30) -> None:
        self.entries: dict[Partition, list[_Entry]] = {}
        self.first: dict[Partition, int] = {}
        self.stable: dict[Partition, int] = {}
        self.groups: dict[str, dict[Partition, int]] = {}
        self.epochs: dict[str, tuple[int, TinyWriter]] = {}
        self.poll_cap = poll_cap
        self.clock = itertools.count(1_000_000)
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)

    def topics(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for p in self.entries:
            counts[p.topic] = counts.get(p.topic, 0) + 1
        return counts

    def create(self, topic: str, spec: TopicSpec) -> bool:
        if topic in self.topics():
            return False
        for n in range(spec.partitions):
            self.entries[Partition(topic, n)] = []
        return True

    def partitions(self, topic: str) -> list[Partition]:
        found = sorted(p for p in self.entries if p.topic == topic)
        if not found:
            raise NotFoundError("no such topic", got=topic)
        return found

    def begin(self, partition: Partition) -> int:
        return self.first.get(partition, 0)

    def end(self, partition: Partition) -> int:
        with self.lock:
            entries, at = self.entries[partition], self.stable.get(partition, 0)
            while at < len(entries) and (entries[at].transaction is None or entries[at].transaction.outcome):
                at += 1
            self.stable[partition] = at
            return at

    def reader(self, positions: Mapping[Partition, int]) -> TinyReader:
        return TinyReader(self, positions)

    def writer(self, transactional_id: str = "") -> TinyWriter:
        with self.lock:
            epoch, earlier = self.epochs.get(transactional_id, (0, None))
            if earlier is not None and transactional_id:
                earlier.settle("aborted")
            writer = TinyWriter(self, transactional_id, epoch + 1)
            if transactional_id:
                self.epochs[transactional_id] = (epoch + 1, writer)
            return writer

    def close(self) -> None: ...

    def records(self, topic: str) -> list[Record]:
        """Everything committed, by partition."""
        return [
            e.record
            for p in self.partitions(topic)
            for e in self.entries[p][: self.end(p)]
            if e.record is not None and (e.transaction is None or e.transaction.outcome == "committed")
        ]


class TinyReader:
    def __init__(self, log: TinyLog, positions: Mapping[Partition, int]) -> None:
        self.log, self.at = log, dict(positions)

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        until = time.monotonic() + timeout
        with self.log.changed:
            while True:
                out = self._take(min(max_records, self.log.poll_cap))
                left = until - time.monotonic()
                if out or left <= 0:
                    return out
                self.log.changed.wait(left)

    def _take(self, most: int) -> list[Record]:
        out: list[Record] = []
        for p in sorted(self.at):
            if self.at[p] < self.log.begin(p):
                raise GoneError("offsets are gone", where=f"{p.topic}/{p.number}", got=str(self.at[p]))
            end, entries = self.log.end(p), self.log.entries[p]
            while self.at[p] < end and len(out) < most:
                entry = entries[self.at[p]]
                self.at[p] += 1
                if entry.record and (entry.transaction is None or entry.transaction.outcome == "committed"):
                    out.append(entry.record)
        return out

    def positions(self) -> dict[Partition, int]:
        return dict(self.at)

    def close(self) -> None: ...


class TinyWriter:
    def __init__(self, log: TinyLog, id: str, epoch: int) -> None:
        self.log, self.id, self.epoch = log, id, epoch
        self.open: _Transaction | None = None
        self.touched: set[Partition] = set()

    def _check(self) -> None:
        if self.id and self.log.epochs[self.id][0] != self.epoch:
            raise FencedError("another writer has this id", where=self.id)

    def send(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: Headers = (), partition: int = -1
    ) -> None:
        with self.log.changed:
            self._check()
            assert (self.open is not None) == bool(self.id)
            count = len(self.log.partitions(topic))
            p = Partition(topic, partition if partition >= 0 else sum(key or b"") % count)
            entries = self.log.entries[p]
            record = Record(topic, p.number, len(entries), key, value, tuple(headers), next(self.log.clock))
            entries.append(_Entry(record, self.open))
            self.touched.add(p)
            self.log.changed.notify_all()

    def flush(self, timeout: float = 30.0) -> None: ...

    def begin(self) -> None:
        self._check()
        assert self.open is None
        self.open, self.touched = _Transaction(), set()

    def commit(self, offsets: Mapping[Partition, int] | None = None, group: str = "") -> None:
        with self.log.changed:
            self._check()
            self.settle("committed")
            self.log.groups.setdefault(group, {}).update(offsets or {})
            self.log.changed.notify_all()

    def abort(self) -> None:
        with self.log.changed:
            self._check()
            self.settle("aborted")

    def settle(self, outcome: str) -> None:
        if self.open is not None:
            self.open.outcome, self.open = outcome, None
            for p in self.touched:
                self.log.entries[p].append(_Entry(None, None))

    def close(self) -> None: ...

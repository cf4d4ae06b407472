"""A log to be checked, and what the checks of logs have in common; `tidemill.checks.logs` is the suite."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tidemill.log import MAX_RECORD_BYTES, Log, Partition, Record, TopicSpec, Writer

DEADLINE = 30.0
"""Seconds after which something that should have happened counts as not happening."""


@dataclass(frozen=True)
class Subject:
    """A log to check. `open()` gives a new handle on the same log.

    `can` says what it does beside reading: `"write"`, `"transactions"`. `trim(partition, offset)` removes the records
    before an offset; `committed(group)` gives the consumer offsets of a group. A log that cannot write must have at
    least one topic with a record.
    """

    name: str
    open: Callable[[], Log]
    can: frozenset[str] = frozenset({"write", "transactions"})
    trim: Callable[[Partition, int], None] | None = None
    committed: Callable[[str], dict[Partition, int]] | None = None


Check = Callable[[Subject], None]
_needs: dict[Check, frozenset[str]] = {}


def needs(*what: str) -> Callable[[Check], Check]:
    """Mark a check as needing more than reading."""

    def mark(check: Check) -> Check:
        _needs[check] = frozenset(what)
        return check

    return mark


def unmet(check: Check, subject: Subject) -> str:
    """Why this check says nothing about this subject; empty where it applies."""
    have = set(subject.can)
    if subject.trim is not None:
        have.add("trim")
    if subject.committed is not None:
        have.add("offsets")
    if "write" not in have:
        have.add("read only")
    missing = sorted(_needs.get(check, frozenset()) - have)
    return f"{subject.name} has no: {', '.join(missing)}" if missing else ""


@contextmanager
def opened(subject: Subject) -> Iterator[Log]:
    log = subject.open()
    try:
        yield log
    finally:
        log.close()


@contextmanager
def writing(log: Log, transactional_id: str = "") -> Iterator[Writer]:
    writer = log.writer(transactional_id)
    try:
        yield writer
    finally:
        writer.close()


def fresh_name() -> str:
    return f"checks-{uuid.uuid4().hex[:10]}"


def topic_in(log: Log, partitions: int = 1, max_bytes: int = MAX_RECORD_BYTES) -> str:
    name = fresh_name()
    assert log.create(name, TopicSpec(partitions=partitions, max_bytes=max_bytes)), f"{name} exists already"
    return name


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE:.0f} s: {what}"
        time.sleep(0.005)


def read(log: Log, positions: dict[Partition, int], *, most: int = 10_000) -> tuple[list[Record], dict[Partition, int]]:
    """Everything from `positions` to the ends as they are now, and the positions reached."""
    ends = {p: log.end(p) for p in positions}
    reader = log.reader(positions)
    try:
        out: list[Record] = []
        deadline = time.monotonic() + DEADLINE
        while any(reader.positions()[p] < end for p, end in ends.items()):
            assert time.monotonic() < deadline, f"positions stop at {reader.positions()}, the ends are {ends}"
            out.extend(reader.poll(most, 0.1))
        return out, reader.positions()
    finally:
        reader.close()


def read_all(log: Log, topic: str) -> list[Record]:
    return read(log, {p: log.begin(p) for p in log.partitions(topic)})[0]


def values(log: Log, topic: str) -> list[bytes | None]:
    return [r.value for r in read_all(log, topic)]


def material(subject: Subject, log: Log) -> str:
    """A topic with records in it: one written for the check, or the first of a read-only log."""
    if "write" not in subject.can:
        filled = [t for t in sorted(log.topics()) if any(log.end(p) > log.begin(p) for p in log.partitions(t))]
        assert filled, "a read-only log needs a topic with records, to be checked at all"
        return filled[0]
    topic = topic_in(log, partitions=2)
    with writing(log) as writer:
        for i in range(40):
            writer.send(topic, b"%d" % i, key=b"key %d" % i, partition=i % 2)
        writer.flush()
    return topic


def raises(kind: type[Exception], act: Callable[[], object], what: str) -> Exception:
    try:
        act()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}: {what}")


def by_partition(records: Iterable[Record]) -> dict[int, list[Record]]:
    out: dict[int, list[Record]] = {}
    for record in records:
        out.setdefault(record.partition, []).append(record)
    return out


def poll_some(log: Log, positions: dict[Partition, int]) -> list[Record]:
    reader = log.reader(positions)
    try:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            found = reader.poll(10, 0.2)
            if found:
                return found
        return []
    finally:
        reader.close()

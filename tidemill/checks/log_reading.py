"""Checks of what every log keeps for its readers, be it read-only or not."""

from __future__ import annotations

import time

from tidemill.checks.log_subject import (
    DEADLINE,
    Subject,
    by_partition,
    fresh_name,
    material,
    needs,
    opened,
    poll_some,
    raises,
    read,
)
from tidemill.errors import GoneError, NotFoundError, UserError
from tidemill.log import Partition, Record, TopicSpec


def check_topics(subject: Subject) -> None:
    """Topics are listed with their partitions, numbered from 0; an unknown one is `NotFoundError`."""
    with opened(subject) as log:
        topic = material(subject, log)
        count = log.topics()[topic]
        assert log.partitions(topic) == [Partition(topic, i) for i in range(count)]
        raises(NotFoundError, lambda: log.partitions(fresh_name()), "partitions of an unknown topic")


def check_read_to_the_end(subject: Subject) -> None:
    """Reading from `begin` gives rising offsets per partition within `begin`..`end`, and `positions` reach `end`."""
    with opened(subject) as log:
        topic = material(subject, log)
        start = {p: log.begin(p) for p in log.partitions(topic)}
        ends = {p: log.end(p) for p in start}
        records, positions = read(log, start)
        assert records, "no records were read"
        assert positions == ends, f"positions {positions} are not the ends {ends}"
        for number, part in by_partition(records).items():
            offsets = [r.offset for r in part]
            assert offsets == sorted(set(offsets)), f"offsets of partition {number} do not rise"
            at = Partition(topic, number)
            assert start[at] <= offsets[0] and offsets[-1] < ends[at], f"{at}: offsets outside {start[at]}..{ends[at]}"
            assert all(isinstance(r, Record) and r.topic == topic and r.timestamp > 0 for r in part)


def check_reading_again_is_the_same(subject: Subject) -> None:
    """Two readers, side by side, at other paces, return the same; neither moves the other."""
    with opened(subject) as log:
        topic = material(subject, log)
        start = {p: log.begin(p) for p in log.partitions(topic)}
        slow = log.reader(start)
        first: list[Record] = []
        deadline = time.monotonic() + DEADLINE
        while not first and time.monotonic() < deadline:
            first = slow.poll(1, 0.2)
        assert len(first) == 1, f"poll(1) gave {len(first)} records"
        whole, ends = read(log, start)
        while any(slow.positions()[p] < ends[p] for p in ends):
            assert time.monotonic() < deadline, f"positions stop at {slow.positions()}, the ends are {ends}"
            some = slow.poll(7, 0.1)
            assert len(some) <= 7, f"poll(7) gave {len(some)} records"
            first.extend(some)
        slow.close()
        assert sorted(map(repr, first)) == sorted(map(repr, whole)), "a second reader reads something else"
        assert by_partition(first) == by_partition(whole), "a second reader reads in another order"


def check_reading_on(subject: Subject) -> None:
    """A reader from the positions of another returns exactly the rest; at the end, an empty list."""
    with opened(subject) as log:
        topic = material(subject, log)
        start = {p: log.begin(p) for p in log.partitions(topic)}
        whole, ends = read(log, start)
        reader = log.reader(start)
        head: list[Record] = []
        deadline = time.monotonic() + DEADLINE
        while not head and time.monotonic() < deadline:
            head = reader.poll(max(1, len(whole) // 3), 0.2)
        middle = reader.positions()
        reader.close()
        rest, _ = read(log, middle)
        assert len(head) + len(rest) == len(whole), f"{len(head)} and {len(rest)} records are not {len(whole)}"
        assert by_partition([*head, *rest]) == by_partition(whole), "head and rest are not the whole"
        after = log.reader(ends)
        assert after.poll(10, 0.05) == [], "something stands at the end"
        assert after.positions() == ends
        after.close()


def check_past_the_end(subject: Subject) -> None:
    """A position past everything written is `GoneError`: the log is not the one it was taken from."""
    with opened(subject) as log:
        partition = log.partitions(material(subject, log))[0]
        raises(GoneError, lambda: poll_some(log, {partition: log.end(partition) + 1000}), "a position past the end")


@needs("read only")
def check_read_only(subject: Subject) -> None:
    """A log that cannot be written says so."""
    with opened(subject) as log:
        raises(UserError, lambda: log.create(fresh_name(), TopicSpec()), "create on a read-only log")
        raises(UserError, log.writer, "writer on a read-only log")

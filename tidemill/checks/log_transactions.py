"""Checks of transactions: all or nothing, in order, one writer of an id at a time."""

from __future__ import annotations

import functools
import random

from tidemill.checks.log_subject import (
    Subject,
    fresh_name,
    needs,
    opened,
    raises,
    read,
    read_all,
    topic_in,
    until,
    values,
    writing,
)
from tidemill.errors import FencedError, TooLargeError, UserError
from tidemill.log import Log, Partition, Record


def _comes(log: Log, topic: str, wanted: list[bytes | None]) -> None:
    """A commit is visible a moment after it is acknowledged: its markers are still being written."""
    until(lambda: values(log, topic) == wanted, f"{topic} holds {wanted}")


@needs("write", "transactions")
def check_invisible_until_commit(subject: Subject) -> None:
    """Nothing of an open transaction is read, nor anything after it in its partition; then everything, in order."""
    with opened(subject) as log, opened(subject) as other, writing(log, fresh_name()) as writer:
        topic = topic_in(log, partitions=2)
        held, free = log.partitions(topic)
        writer.begin()
        writer.send(topic, b"1", partition=0)
        writer.flush()
        with writing(other) as plain:
            plain.send(topic, b"2", partition=0)
            plain.send(topic, b"3", partition=1)
            plain.flush()
        assert other.end(held) == 0, f"end is {other.end(held)} while a transaction is open at 0"
        assert other.end(free) == 1, "a transaction holds back a partition it did not write to"
        reader = other.reader({held: 0})
        assert reader.poll(10, 0.3) == [], "a record of an open transaction, or one after it, was read"
        assert reader.positions() == {held: 0}
        writer.commit()
        until(lambda: other.end(held) > 2, "the commit is seen")
        records, positions = read(other, {held: 0})
        assert [r.value for r in records] == [b"1", b"2"]
        assert positions == {held: other.end(held)}
        found: list[Record] = []

        def goes_on() -> bool:
            found.extend(reader.poll(10, 0.1))
            return [r.value for r in found] == [b"1", b"2"]

        until(goes_on, "the reader that waited goes on")
        reader.close()


@needs("write", "transactions")
def check_aborted_is_never_seen(subject: Subject) -> None:
    """Of committed and aborted transactions in turn, exactly the committed ones are read, whole and in order."""
    rng = random.Random(4)
    with opened(subject) as log, writing(log, fresh_name()) as writer:
        topics = [topic_in(log), topic_in(log)]
        kept: list[bytes | None] = []
        for i in range(12):
            writer.begin()
            values_now = [b"%d.%d" % (i, j) for j in range(rng.randrange(1, 5))]
            for value in values_now:
                for topic in topics:
                    writer.send(topic, value)
            if rng.random() < 0.5:
                writer.flush()  # else the broker may never have seen what is aborted
            if i % 3 == 2 or i == 11:
                writer.abort()
            else:
                writer.commit()
                kept.extend(values_now)
        for topic in topics:
            _comes(log, topic, kept)


def _passed(log: Log, partition: Partition, offset: int) -> bool:
    return log.end(partition) > offset


@needs("write", "transactions")
def check_positions_pass_control_records(subject: Subject) -> None:
    """`positions` reach `end` past an abort, past a commit, and where nothing but an aborted transaction stands."""
    with opened(subject) as log, writing(log, fresh_name()) as writer:
        topic = topic_in(log)
        at = Partition(topic, 0)
        for last, outcome in ((0, writer.abort), (1, writer.commit), (1, writer.abort)):
            before = log.end(at)
            writer.begin()
            for _ in range(3):
                writer.send(topic, b"v")
            writer.flush()
            outcome()
            until(functools.partial(_passed, log, at, before + 3), "the end passes the transaction")
            records, positions = read(log, {at: 0})
            assert positions == {at: log.end(at)}, f"positions {positions}, end {log.end(at)}"
            assert len(records) == 3 * last, f"{len(records)} records, not {3 * last}"


@needs("write", "transactions")
def check_fencing(subject: Subject) -> None:
    """A new writer of the same id aborts what the earlier one left open, and the earlier one is `FencedError`."""
    with opened(subject) as log, opened(subject) as other:
        topic, id = topic_in(log), fresh_name()
        first = log.writer(id)
        first.begin()
        first.send(topic, b"zombie")
        first.flush()
        with writing(other, id) as second:

            def go_on() -> None:
                first.send(topic, b"still here")
                first.commit()

            raises(FencedError, go_on, "the earlier writer commits")
            first.close()
            second.begin()
            second.send(topic, b"mine")
            second.commit()
            _comes(other, topic, [b"mine"])
        with writing(log, id) as third:
            third.begin()
            third.send(topic, b"next")
            third.commit()
        _comes(other, topic, [b"mine", b"next"])


@needs("write", "transactions")
def check_abandoned_writer(subject: Subject) -> None:
    """Closing a writer with a transaction open loses that transaction, and nothing else."""
    with opened(subject) as log:
        topic, id = topic_in(log), fresh_name()
        with writing(log, id) as writer:
            writer.begin()
            writer.send(topic, b"kept")
            writer.commit()
            writer.begin()
            writer.send(topic, b"lost")
        with writing(log, id) as writer:
            writer.begin()
            writer.send(topic, b"also kept")
            writer.commit()
        _comes(log, topic, [b"kept", b"also kept"])


@needs("write", "transactions")
def check_failed_commit(subject: Subject) -> None:
    """A record that cannot be written fails send, flush or commit; after `abort` the writer goes on."""
    with opened(subject) as log, writing(log, fresh_name()) as writer:
        topic = topic_in(log, max_bytes=100_000)
        writer.begin()

        def refused() -> None:
            writer.send(topic, b"good")
            writer.send(topic, random.Random(5).randbytes(4 << 20))
            writer.commit()

        raises(TooLargeError, refused, "4 MiB in a topic for 100 kB")
        writer.abort()
        writer.begin()
        writer.send(topic, b"after")
        writer.commit()
        _comes(log, topic, [b"after"])


@needs("write", "transactions", "offsets")
def check_offsets_in_transactions(subject: Subject) -> None:
    """Consumer offsets are committed with their transaction, and with an aborted one they are not."""
    assert subject.committed is not None
    committed = subject.committed
    with opened(subject) as log, writing(log, fresh_name()) as writer:
        source, sink, group = topic_in(log, partitions=2), topic_in(log), fresh_name()
        first = {Partition(source, 0): 3, Partition(source, 1): 0}
        writer.begin()
        writer.send(sink, b"v")
        writer.commit(first, group)
        until(lambda: committed(group) == first, f"the offsets {first} are committed")
        writer.begin()
        writer.send(sink, b"w")
        writer.abort()
        assert committed(group) == first
        writer.begin()
        writer.commit({Partition(source, 0): 7}, group)
        until(lambda: committed(group) == {**first, Partition(source, 0): 7}, "offsets alone make a transaction")
        writer.begin()
        raises(UserError, lambda: writer.commit(first), "offsets without a group")
        writer.abort()


@needs("write", "transactions")
def check_misuse_of_transactions(subject: Subject) -> None:
    """Sending outside a transaction and beginning twice are `UserError`; an empty transaction is nothing."""
    with opened(subject) as log, writing(log, fresh_name()) as writer:
        topic = topic_in(log)
        raises(UserError, lambda: writer.send(topic, b"v"), "send outside a transaction")
        writer.begin()
        raises(UserError, writer.begin, "begin twice")
        writer.commit()
        raises(UserError, writer.commit, "commit outside a transaction")
        writer.begin()
        writer.abort()
        assert read_all(log, topic) == [] and log.end(Partition(topic, 0)) == 0

"""Checks of what a log keeps of what is written to it: order, keys, bytes, times, sizes."""

from __future__ import annotations

import hashlib
import random
import threading
import time

from tidemill.checks.log_subject import (
    DEADLINE,
    Subject,
    by_partition,
    needs,
    opened,
    poll_some,
    raises,
    read,
    read_all,
    topic_in,
    until,
    values,
    writing,
)
from tidemill.errors import GoneError, IncompatibleError, TooLargeError, UserError
from tidemill.hashing import partition_of
from tidemill.log import MAX_RECORD_BYTES, Partition, Record, TopicSpec


@needs("write")
def check_create(subject: Subject) -> None:
    """A topic is made once; asking for more partitions than it has is `IncompatibleError`."""
    with opened(subject) as log, opened(subject) as other:
        topic = topic_in(log, partitions=2)
        assert topic in log.topics() and len(other.partitions(topic)) == 2, "the topic is not seen"
        assert log.create(topic, TopicSpec(partitions=2)) is False, "made twice"
        assert log.create(topic, TopicSpec(partitions=1)) is False, "made twice"
        raises(IncompatibleError, lambda: log.create(topic, TopicSpec(partitions=3)), "3 partitions where 2 are")
        assert [(log.begin(p), log.end(p)) for p in log.partitions(topic)] == [(0, 0)] * 2, "a new topic is not empty"


@needs("write")
def check_order(subject: Subject) -> None:
    """Records of a partition are read, through another handle, in the order they were sent, none twice."""
    with opened(subject) as log, opened(subject) as other:
        topic = topic_in(log, partitions=3)
        rng = random.Random(1)
        sent: dict[int, list[bytes | None]] = {0: [], 1: [], 2: []}
        with writing(log) as writer:
            for i in range(3000):
                number = rng.randrange(3)
                sent[number].append(b"%d" % i)
                writer.send(topic, b"%d" % i, partition=number)
            writer.flush()
        got = {n: [r.value for r in part] for n, part in by_partition(read_all(other, topic)).items()}
        assert got == sent, "the order within a partition is not the order of sending"


@needs("write")
def check_keys(subject: Subject) -> None:
    """A key goes to `murmur2(key) & 0x7fffffff mod partitions`, as with every Kafka client; without a key, anywhere."""
    with opened(subject) as log:
        topic = topic_in(log, partitions=5)
        keys = [b"", b"21", b"foobar", "ключ".encode(), bytes(range(256)), *(b"%d" % i for i in range(200))]
        with writing(log) as writer:
            for key in keys:
                writer.send(topic, b"v", key=key)
            for _ in range(20):
                writer.send(topic, b"free")
            writer.flush()
        records = read_all(log, topic)
        assert len(records) == len(keys) + 20
        for r in records:
            if r.value == b"v":
                assert r.key is not None, "a key was lost"
                assert r.partition == partition_of(r.key, 5), f"key {r.key!r} went to partition {r.partition}"
            else:
                assert r.key is None, f"no key became {r.key!r}"


@needs("write")
def check_bytes(subject: Subject) -> None:
    """Keys, values and headers come back byte by byte: null is not empty, header names may repeat, in order."""
    headers = [("a", b"1"), ("a", b""), ("b", bytes(range(256))), ("ü", b"3")]
    sent = [
        (b"k", None, []),
        (b"k", b"", []),
        (b"", b"v", []),
        (None, b"v", headers),
        (b"\x00\xff", bytes(range(256)), headers[:1]),
    ]
    with opened(subject) as log:
        topic = topic_in(log)
        with writing(log) as writer:
            for key, value, heads in sent:
                writer.send(topic, value, key=key, headers=heads)
            writer.flush()
        got = [(r.key, r.value, [tuple(h) for h in r.headers]) for r in read_all(log, topic)]
        assert got == sent, f"{got} came back for {sent}"


@needs("write")
def check_append_time(subject: Subject) -> None:
    """`timestamp` is when the log took the record, in microseconds, and never falls within a partition."""
    with opened(subject) as log:
        topic = topic_in(log)
        before = time.time() - 300
        with writing(log) as writer:
            for _ in range(50):
                writer.send(topic, b"v")
            writer.flush()
        times = [r.timestamp for r in read_all(log, topic)]
        assert times == sorted(times), "append times fall"
        assert before * 1e6 < times[0] and times[-1] < (time.time() + 300) * 1e6, f"{times[0]} is not about now, in µs"


@needs("write")
def check_waiting(subject: Subject) -> None:
    """A waiting `poll` returns as soon as a record comes, through whichever handle."""
    with opened(subject) as log, opened(subject) as other:
        topic = topic_in(log)
        reader = log.reader({Partition(topic, 0): 0})
        assert reader.poll(10, 0.01) == []

        def send() -> None:
            with writing(other) as writer:
                writer.send(topic, b"late")
                writer.flush()

        thread = threading.Thread(target=send)
        thread.start()
        try:
            deadline = time.monotonic() + DEADLINE
            found: list[Record] = []
            while not found and time.monotonic() < deadline:
                found = reader.poll(10, DEADLINE)
            assert [r.value for r in found] == [b"late"]
        finally:
            thread.join()
            reader.close()


@needs("write")
def check_large_records(subject: Subject) -> None:
    """16 MiB of key, value and headers pass; one byte more is `TooLargeError`, and the writer goes on."""
    rng = random.Random(2)
    value = rng.randbytes(MAX_RECORD_BYTES - 3)
    with opened(subject) as log:
        topic = topic_in(log)
        with writing(log) as writer:
            writer.send(topic, value, key=b"key")
            writer.flush()
            raises(TooLargeError, lambda: writer.send(topic, value + b"1", key=b"key"), "a byte too many")
            raises(
                TooLargeError, lambda: writer.send(topic, value, key=b"key", headers=[("h", b"")]), "too many headers"
            )
            writer.send(topic, b"after")
            writer.flush()
        got = [r.value for r in read_all(log, topic)]
        assert len(got) == 2 and got[1] == b"after", f"{len(got)} records came back for 2"
        assert got[0] is not None and hashlib.sha256(got[0]).digest() == hashlib.sha256(value).digest(), "bytes changed"


@needs("write")
def check_failures_are_raised(subject: Subject) -> None:
    """A record above the topic's own limit is `TooLargeError` by the next flush at the latest; the writer goes on."""
    with opened(subject) as log:
        topic = topic_in(log, max_bytes=100_000)
        with writing(log) as writer:

            def refused() -> None:
                writer.send(topic, random.Random(3).randbytes(4 << 20))
                writer.flush()

            raises(TooLargeError, refused, "4 MiB in a topic for 100 kB")
            writer.send(topic, b"after")
            writer.flush()
        assert values(log, topic) == [b"after"]


@needs("write", "trim")
def check_removed_records(subject: Subject) -> None:
    """Reading what was removed is `GoneError`, which names the range; what is kept is read as before."""
    assert subject.trim is not None
    with opened(subject) as log:
        topic = topic_in(log)
        at = Partition(topic, 0)
        with writing(log) as writer:
            for i in range(20):
                writer.send(topic, b"%d" % i)
            writer.flush()
        until(lambda: log.end(at) == 20, "20 records are written")
        subject.trim(at, 12)
        until(lambda: log.begin(at) == 12, "begin moves to 12")
        error = raises(GoneError, lambda: poll_some(log, {at: 3}), "reading from 3 in a log that begins at 12")
        for part in (topic, "3", "11"):
            assert part in str(error), f"the error does not name the range 3 to 11 of {topic}: {error}"
        assert values(log, topic) == [b"%d" % i for i in range(12, 20)]
        assert read(log, {at: 15})[1] == {at: 20}


@needs("write")
def check_misuse_of_writers(subject: Subject) -> None:
    """A writer without a transactional id has no transactions to begin."""
    with opened(subject) as log, writing(log) as writer:
        raises(UserError, writer.begin, "begin without a transactional id")

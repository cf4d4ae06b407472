"""What the suite of logs (tests/conformance/test_logs.py) cannot ask of every log."""

import threading

from connectors.memory import MemoryLog
from tidemill.checks.log_subject import read, read_all
from tidemill.log import Partition, TopicSpec


def test_markers_take_offsets_as_in_kafka():
    log = MemoryLog()
    log.create("t", TopicSpec())
    writer = log.writer("id")
    for last in (writer.commit, writer.abort, writer.commit):
        writer.begin()
        writer.send("t", b"v")
        last()
    records, positions = read(log, {Partition("t", 0): 0})
    assert [r.offset for r in records] == [0, 4]
    assert positions == {Partition("t", 0): 6}


def test_the_clock_is_given_and_never_falls():
    times = iter([5, 3, 9])
    log = MemoryLog(clock=lambda: next(times))
    log.create("t", TopicSpec())
    for _ in range(3):
        log.writer().send("t", b"v")
    assert [r.timestamp for r in read_all(log, "t")] == [5, 5, 9]


def test_no_partition_starves_the_others():
    log = MemoryLog()
    log.create("t", TopicSpec(partitions=3))
    writer = log.writer()
    for i in range(30):
        writer.send("t", b"v", partition=i % 3)
    reader = log.reader(dict.fromkeys(log.partitions("t"), 0))
    assert {record.partition for _ in range(3) for record in reader.poll(1, 0)} == {0, 1, 2}


def test_many_threads_write_and_nothing_is_lost():
    log = MemoryLog()
    log.create("t", TopicSpec())

    def write(name: int) -> None:
        writer = log.writer(f"id {name}")
        for i in range(50):
            writer.begin()
            writer.send("t", b"%d %d" % (name, i))
            writer.commit()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r.value for r in read_all(log, "t")) == sorted(b"%d %d" % (n, i) for n in range(4) for i in range(50))

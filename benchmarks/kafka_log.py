"""Our Kafka log ÷ a bare confluent-kafka loop: what the log protocol costs over the client it stands on.

Both read the same topic with the same fetch settings, and both make Python objects of what they read: the bare loop
takes offset, key and value of each message, ours a whole `Record` (topic, partition, headers and append time too). Both
write the same records with the same acknowledgements, compression and batching. Records are flights as JSON, about 150
bytes. The topic is made for the run and deleted after it. `TIDEMILL_BOOTSTRAP` names the broker.
"""

from __future__ import annotations

import os
import sys
import uuid

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.harness import compare, rate
from connectors import kafka, kafka_writer
from connectors.kafka_admin import KafkaAdmin
from tidemill.log import Partition, TopicSpec

RECORDS = 300_000
BATCH = 10_000


def flights(n: int) -> list[bytes]:
    """Flight-like events, none equal to another."""
    return [
        b'{"id":"UA-%d","time":%d,"carrier":"UA","flight":%d,"tailnum":"N%05d","origin":"EWR","dest":"IAH",'
        b'"sched_dep_time":%d,"distance":1400,"air_time":%d}'
        % (i, 1_357_000_000_000_000 + i * 60_000_000, i % 3000, i % 4000, i % 2400, 100 + i % 300)
        for i in range(n)
    ]


def read_bare(bootstrap: str, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
    consumer = Consumer({"bootstrap.servers": bootstrap, **kafka._READ})
    consumer.assign([TopicPartition(topic, 0, 0)])
    out = []
    while len(out) < RECORDS:
        out.extend([(m.offset(), m.key(), m.value()) for m in consumer.consume(BATCH, 1.0)])
    consumer.close()
    return out


def read_ours(log: kafka.KafkaLog, topic: str) -> list[kafka.Record]:
    reader = log.reader({Partition(topic, 0): 0})
    out: list[kafka.Record] = []
    while len(out) < RECORDS:
        out.extend(reader.poll(BATCH, 1.0))
    reader.close()
    return out


def write_bare(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, **kafka_writer._WRITE})
    for i, value in enumerate(values):
        while True:
            try:
                producer.produce(topic, value)
                break
            except BufferError:
                producer.poll(0.02)
        if not i % 1000:
            producer.poll(0)
    if producer.flush(60):
        raise RuntimeError("records were not acknowledged")


def write_ours(log: kafka.KafkaLog, topic: str, values: list[bytes]) -> None:
    writer = log.writer()
    for value in values:
        writer.send(topic, value)
    writer.close()


def main() -> None:
    bootstrap = os.environ.get("TIDEMILL_BOOTSTRAP")
    if not bootstrap:
        sys.exit("kafka_log: set TIDEMILL_BOOTSTRAP to a broker's address (`tidemill status` shows the stack's)")
    log, admin = kafka.KafkaLog({"bootstrap.servers": bootstrap}), KafkaAdmin({"bootstrap.servers": bootstrap})
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    sink = f"{topic}-sink"
    values = flights(RECORDS)
    for name in (topic, sink):
        log.create(name, TopicSpec())
    write_ours(log, topic, values)
    peer = f"bare confluent-kafka {confluent_kafka.version()}"
    workload = f"{RECORDS:,} JSON records of {sum(map(len, values)) // RECORDS} bytes, one partition"

    def same_read() -> None:
        ours, bare = read_ours(log, topic), read_bare(bootstrap, topic)
        if [(r.offset, r.key, r.value) for r in ours[:RECORDS]] != bare[:RECORDS]:
            raise AssertionError("the two loops read different records")

    def same_write() -> None:
        at = Partition(sink, 0)
        before = log.end(at)
        write_ours(log, sink, values)
        middle = log.end(at)
        write_bare(bootstrap, sink, values)
        if not middle - before == log.end(at) - middle == RECORDS:
            raise AssertionError("the two loops wrote different numbers of records")

    try:
        compare(
            "kafka_log_read",
            ours=rate(RECORDS, lambda: read_ours(log, topic)),
            theirs=rate(RECORDS, lambda: read_bare(bootstrap, topic)),
            check=same_read,
            peer=peer,
            unit="records/s",
            workload=workload,
        )
        compare(
            "kafka_log_write",
            ours=rate(RECORDS, lambda: write_ours(log, sink, values)),
            theirs=rate(RECORDS, lambda: write_bare(bootstrap, sink, values)),
            check=same_write,
            peer=peer,
            unit="records/s",
            workload=workload,
        )
    finally:
        for name in (topic, sink):
            admin.delete(name)
        admin.close()
        log.close()


if __name__ == "__main__":
    main()

"""What the suite of logs (tests/conformance/test_logs.py) cannot ask of every log."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from kafka import KafkaConsumer, KafkaProducer

from connectors.kafka import KafkaLog
from tidemill.checks.log_subject import read, read_all
from tidemill.errors import ConfigError, NotFoundError, UnavailableError
from tidemill.log import Partition, TopicSpec

pytestmark = pytest.mark.stack


@pytest.fixture
def log(kafka):
    log = KafkaLog({"bootstrap.servers": kafka})
    yield log
    log.close()


def filled(log, topic, count=100):
    log.create(topic, TopicSpec())
    writer = log.writer()
    for i in range(count):
        writer.send(topic, b"%d" % i, key=b"%d" % (i % 7), headers=[("n", b"%d" % i)])
    writer.close()


def test_a_plain_kafka_python_consumer_reads_what_we_wrote(log, kafka, fresh):
    topic = fresh("plain")
    filled(log, topic)
    with KafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest", consumer_timeout_ms=10_000) as got:
        records = [next(got) for _ in range(100)]
    assert [r.value for r in records] == [b"%d" % i for i in range(100)]
    assert records[3].key == b"3" and list(records[3].headers) == [("n", b"3")]


def test_we_read_what_a_plain_kafka_python_producer_wrote(log, kafka, fresh):
    topic = fresh("plain")
    log.create(topic, TopicSpec(partitions=3))
    with KafkaProducer(bootstrap_servers=kafka) as producer:
        for i in range(50):
            producer.send(topic, key=b"%d" % i, value=b"v%d" % i)
    ours = fresh("ours")
    log.create(ours, TopicSpec(partitions=3))
    writer = log.writer()
    for i in range(50):
        writer.send(ours, b"v%d" % i, key=b"%d" % i)
    writer.flush()
    where = {r.key: r.partition for r in read_all(log, ours)}
    assert {r.key: r.partition for r in read_all(log, topic)} == where and len(where) == 50


def test_lag_is_seen_by_ordinary_tools(log, kafka, fresh):
    topic, group = fresh("lag"), fresh("job")
    filled(log, topic, 10)
    writer = log.writer(fresh("tx"))
    writer.begin()
    writer.commit({Partition(topic, 0): 4}, group)
    writer.close()
    with KafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False) as tool:
        from kafka import TopicPartition

        assert tool.committed(TopicPartition(topic, 0)) == 4


def test_an_unknown_topic_is_said_within_seconds(log, fresh):
    topic = fresh("nowhere")
    reader = log.reader({Partition(topic, 0): 0})
    deadline = time.monotonic() + 20
    with pytest.raises(NotFoundError, match=topic):
        while time.monotonic() < deadline:
            reader.poll(1, 1.0)
    reader.close()
    writer = log.writer()
    writer.send(topic, b"v")
    with pytest.raises(NotFoundError, match=topic):
        writer.flush(20)
    writer.close()
    assert topic not in log.topics(), "reading or writing made the topic"


def test_no_broker_is_unavailable_and_says_so_again():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        log = KafkaLog({"bootstrap.servers": f"127.0.0.1:{taken.getsockname()[1]}"})
        reader = log.reader({Partition("t", 0): 0})
        for _ in range(2):
            deadline = time.monotonic() + 20
            with pytest.raises(UnavailableError):
                while time.monotonic() < deadline:
                    reader.poll(1, 0.5)
        reader.close()
        log.close()


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="bootstrap"):
        KafkaLog({})
    with pytest.raises(ConfigError):
        KafkaLog({"bootstrap.servers": "127.0.0.1:1", "no.such.setting": "x"})


def test_promises_cannot_be_set_away(kafka, fresh):
    log = KafkaLog({"bootstrap.servers": kafka, "isolation.level": "read_uncommitted", "acks": "0"})
    topic = fresh("strict")
    log.create(topic, TopicSpec())
    writer = log.writer(fresh("tx"))
    writer.begin()
    writer.send(topic, b"open")
    writer.flush()
    assert read(log, {Partition(topic, 0): 0}) == ([], {Partition(topic, 0): 0})
    writer.close()
    log.close()


def test_a_log_is_shared_by_threads(log, fresh):
    topics = [fresh("threads") for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda topic: filled(log, topic, 500), topics))
        got = list(threads.map(lambda topic: len(read_all(log, topic)), topics))
    assert got == [500] * 4

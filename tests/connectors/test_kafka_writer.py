"""What the suite of logs cannot ask of every writer."""

import threading

import pytest

from connectors import kafka_writer
from connectors.kafka import KafkaLog
from tidemill.checks.log_subject import read_all, until
from tidemill.errors import FencedError, UnavailableError
from tidemill.log import Partition, TopicSpec

pytestmark = pytest.mark.stack


@pytest.fixture
def log(kafka):
    log = KafkaLog({"bootstrap.servers": kafka})
    yield log
    log.close()


def test_a_full_queue_blocks_and_loses_nothing(log, fresh, monkeypatch):
    monkeypatch.setitem(kafka_writer._WRITE, "queue.buffering.max.messages", 100)
    topic = fresh("full")
    log.create(topic, TopicSpec())
    writer = log.writer()
    for i in range(3000):
        writer.send(topic, b"%d" % i)
    writer.close()
    assert [r.value for r in read_all(log, topic)] == [b"%d" % i for i in range(3000)]


def test_flush_gives_up_where_nobody_acknowledges(log, fresh):
    writer = KafkaLog({"bootstrap.servers": "127.0.0.1:1"}).writer()
    writer.send(fresh("t"), b"v")
    with pytest.raises(UnavailableError, match="1 records are not acknowledged"):
        writer.flush(0.2)


def test_a_fenced_writer_stays_fenced_and_can_be_closed(log, fresh):
    topic, id = fresh("fenced"), fresh("tx")
    log.create(topic, TopicSpec())
    old = log.writer(id)
    old.begin()
    old.send(topic, b"zombie")
    old.flush()
    new = log.writer(id)
    for _ in range(3):
        with pytest.raises(FencedError):
            old.send(topic, b"zombie")
            old.commit()
    old.close()
    new.begin()
    new.send(topic, b"new")
    new.commit()
    new.close()
    until(lambda: [r.value for r in read_all(log, topic)] == [b"new"], "only the new writer's record stands")


def test_a_call_that_never_comes_back_leaves_the_outcome_to_the_next_writer(log, fresh, monkeypatch):
    """As librdkafka's does where the broker was killed while offsets were being committed."""
    monkeypatch.setattr(kafka_writer, "_OFFSETS_TIMEOUT", 0.2)
    topic, id, released = fresh("stuck"), fresh("tx"), threading.Event()
    log.create(topic, TopicSpec())
    old = log.writer(id)

    class Stuck:
        def __getattr__(self, name):
            return getattr(real, name)

        def send_offsets_to_transaction(self, *args):
            released.wait()

    real, old._producer = old._producer, Stuck()
    old.begin()
    old.send(topic, b"old")
    with pytest.raises(UnavailableError, match=r"no answer in 0\.2 s"):
        old.commit({Partition(topic, 0): 0}, fresh("group"))
    old.abort()
    with pytest.raises(UnavailableError, match="new writer"):
        old.begin()
    old.close()
    monkeypatch.setattr(kafka_writer, "_OFFSETS_TIMEOUT", 10.0)
    new = log.writer(id)
    new.begin()
    new.send(topic, b"new")
    new.commit({Partition(topic, 0): 0}, fresh("group"))
    new.close()
    until(lambda: [r.value for r in read_all(log, topic)] == [b"new"], "only the new writer's record stands")
    released.set()


def test_closing_a_plain_writer_flushes(log, fresh):
    topic = fresh("closed")
    log.create(topic, TopicSpec())
    writer = log.writer()
    writer.send(topic, b"last")
    writer.close()
    assert [r.value for r in read_all(log, topic)] == [b"last"]

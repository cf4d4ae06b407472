import subprocess
import sys
from pathlib import Path

import pytest

from connectors.kafka import KafkaLog
from connectors.kafka_admin import KafkaAdmin, Lag
from tidemill.checks.log_subject import until
from tidemill.errors import ConfigError, IncompatibleError, NotFoundError, UnavailableError
from tidemill.log import Partition, TopicSpec

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.stack


@pytest.fixture
def admin(kafka):
    admin = KafkaAdmin({"bootstrap.servers": kafka})
    yield admin
    admin.close()


@pytest.fixture
def log(kafka):
    log = KafkaLog({"bootstrap.servers": kafka})
    yield log
    log.close()


def write(log, topic, count):
    writer = log.writer()
    for i in range(count):
        writer.send(topic, b"%d" % i, partition=0)
    writer.close()


def test_topics_have_the_brokers_replication_unless_told_otherwise(admin, log, kafka, fresh):
    for at in (admin, log):
        assert at.create(fresh("default"), TopicSpec(retention_bytes=1 << 30, uncompacted_ms=1000))
    settings = {"bootstrap.servers": kafka}
    for made in (KafkaLog(settings, replication=2), KafkaAdmin(settings, replication=2)):
        with pytest.raises(UnavailableError, match=r"(?i)replication.?factor"):
            made.create(fresh("twice"), TopicSpec())
        made.close()


def test_topics_are_made_described_and_deleted(admin, log, fresh):
    topic = fresh("admin")
    assert admin.create(topic, TopicSpec(partitions=2, compacted=True, retention_ms=60_000))
    assert admin.create(topic, TopicSpec()) is False
    with pytest.raises(IncompatibleError, match=topic):
        admin.create(topic, TopicSpec(partitions=3))
    assert admin.topics()[topic] == 2 and admin.partitions(topic) == log.partitions(topic)
    configs = admin.configs(topic)
    assert configs["cleanup.policy"] == "compact" and configs["message.timestamp.type"] == "LogAppendTime"
    assert admin.delete(topic)
    until(lambda: topic not in admin.topics(), "the topic is deleted")
    assert admin.delete(topic) is False
    with pytest.raises(NotFoundError, match=topic):
        admin.partitions(topic)


def test_both_clients_make_the_same_topic(admin, log, fresh):
    spec = TopicSpec(partitions=2, retention_ms=86_400_000, max_bytes=1_000_000)
    ours, theirs = fresh("made"), fresh("made")
    log.create(ours, spec)
    admin.create(theirs, spec)
    assert admin.configs(ours) == admin.configs(theirs) != {}


def test_settings_are_changed_one_by_one(admin, log, fresh):
    topic = fresh("settings")
    log.create(topic, TopicSpec())
    admin.set_configs(topic, {"retention.ms": "1234"})
    until(lambda: admin.configs(topic).get("retention.ms") == "1234", "retention is changed")
    assert admin.configs(topic)["message.timestamp.type"] == "LogAppendTime", "another setting was lost"
    with pytest.raises(ConfigError, match=topic):
        admin.set_configs(topic, {"retention.ms": "soon"})
    with pytest.raises(ConfigError, match=topic):
        admin.set_configs(topic, {"no.such.setting": "1"})


def test_lag_and_offsets(admin, log, fresh):
    topic, group = fresh("lag"), fresh("group")
    log.create(topic, TopicSpec(partitions=2))
    write(log, topic, 10)
    first, second = log.partitions(topic)
    assert admin.ends([first, second]) == {first: 10, second: 0}
    assert admin.committed(group) == {}
    writer = log.writer(fresh("tx"))
    writer.begin()
    writer.commit({first: 4}, group)
    writer.close()
    until(lambda: admin.committed(group) == {first: 4}, "the offset is committed")
    assert admin.lag(group) == {first: Lag(4, 10)}
    assert admin.lag(group, [second]) == {first: Lag(4, 10), second: Lag(-1, 0)}
    assert Lag(4, 10).records == 6 and Lag(-1, 3).records == 3
    assert group in admin.groups()


def test_ends_are_those_that_readers_of_committed_records_reach(admin, log, fresh):
    topic = fresh("open")
    log.create(topic, TopicSpec())
    writer = log.writer(fresh("tx"))
    writer.begin()
    writer.send(topic, b"open")
    writer.flush()
    assert admin.ends([Partition(topic, 0)]) == {Partition(topic, 0): 0}
    writer.close()


def test_records_are_removed(admin, log, fresh):
    topic = fresh("removed")
    log.create(topic, TopicSpec())
    write(log, topic, 10)
    at = Partition(topic, 0)
    assert admin.delete_before(at, 7) == 7
    assert admin.begins([at]) == {at: 7} and admin.ends([at]) == {at: 10}


def test_no_broker_is_unavailable():
    program = """
import socket
from connectors import kafka_admin
from tidemill.errors import UnavailableError

settings = kafka_admin.plain_settings
kafka_admin.plain_settings = lambda given: {**settings(given), "bootstrap_timeout_ms": 500}
with socket.socket() as taken:
    taken.bind(("127.0.0.1", 0))
    try:
        kafka_admin.KafkaAdmin({"bootstrap.servers": f"127.0.0.1:{taken.getsockname()[1]}"})
    except UnavailableError as error:
        print(error)
"""
    # In a process of its own: kafka-python leaves its sockets open where the first connection fails.
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "Kafka: connecting failed" in said.stdout, said.stderr

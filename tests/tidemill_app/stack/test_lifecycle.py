"""A stack comes up, survives kill -9, goes down, and touches nothing that is not its own."""

import os
import signal
import socket
import threading
import time

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tidemill.errors import ConfigError, UnavailableError
from tidemill_app import config
from tidemill_app.home import Home
from tidemill_app.stack import lifecycle, ports

pytestmark = pytest.mark.stack


def make_topic(connection, name, **settings):
    topic = NewTopic(name, 1, 1, config={key.replace("_", "."): str(value) for key, value in settings.items()})
    admin = AdminClient(connection.confluent())  # its futures end with it
    admin.create_topics([topic])[name].result(20)


def read_all(connection, topic, count):
    consumer = Consumer(connection.confluent() | {"group.id": "reader", "isolation.level": "read_committed"})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [message.value() for message in consumer.consume(count, timeout=20)]
    finally:
        consumer.close()


def produce(connection, topic, values, **settings):
    producer = Producer(connection.confluent() | {"acks": "all", "enable.idempotence": True} | settings)
    errors = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, message: error and errors.append(error))
    assert producer.flush(20) == 0
    assert not errors


def test_up_twice_changes_nothing(stack):
    before = lifecycle.status(stack.settings)
    after = lifecycle.up(stack.settings, parts=lifecycle.BROKERS)
    assert [p.pid for p in before.parts] == [p.pid for p in after.parts]
    assert {p.state for p in after.parts[:2]} == {"running"}
    assert before.ports == after.ports


@pytest.mark.parametrize("name", ["kafka", "redis"])
def test_another_port_for_what_runs_is_refused_and_its_own_is_not(stack, name):
    before = lifecycle.status(stack.settings)
    asked = ports.find_free()
    other = msgspec.structs.replace(stack.settings, **{f"{name}_port": asked})
    with pytest.raises(ConfigError, match=rf"{name} runs already.*{asked}.*{before.ports[name]}.*tidemill down"):
        lifecycle.up(other, parts=lifecycle.BROKERS)
    same = msgspec.structs.replace(stack.settings, **{f"{name}_port": before.ports[name]})
    after = lifecycle.up(same, parts=lifecycle.BROKERS)
    assert [p.pid for p in before.parts] == [p.pid for p in after.parts]
    assert before.ports == after.ports


def test_it_listens_on_loopback_only(stack):
    import psutil

    for part in lifecycle.status(stack.settings).parts[:2]:
        listening = [c for c in psutil.Process(part.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert listening
        assert {c.laddr.ip.removeprefix("::ffff:") for c in listening} == {"127.0.0.1"}, part.name


def test_a_record_of_16_mib_goes_through(stack, fresh):
    topic = fresh("large")
    make_topic(stack, topic)
    value = os.urandom(1024) * (config.MAX_RECORD_BYTES // 1024)
    produce(stack, topic, [value], **{"message.max.bytes": config.MAX_MESSAGE_BYTES})
    assert read_all(stack, topic, 1) == [value]


def test_transactions_work_at_once(stack, fresh):
    topic = fresh("transactions")
    make_topic(stack, topic)
    producer = Producer(stack.confluent() | {"transactional.id": fresh("writer")})
    producer.init_transactions(30)
    for value, end in ((b"thrown away", producer.abort_transaction), (b"kept", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value)
        end(30)
    assert read_all(stack, topic, 1) == [b"kept"]


def test_topics_are_made_on_purpose_only(stack, fresh):
    name = fresh("nobody-made")
    AdminClient(stack.confluent()).list_topics(name, timeout=10)
    assert name not in AdminClient(stack.confluent()).list_topics(timeout=10).topics


@pytest.mark.parametrize(
    "call", [("eval", "return 1", 0), ("config", "get", "*"), ("debug", "sleep", 0), ("shutdown",)]
)
def test_redis_has_no_sharp_tools(stack, call):
    import redis

    with stack.redis_client() as client, pytest.raises(redis.ResponseError, match=r"NOPERM|no permissions"):
        client.execute_command(*call)


def test_redis_is_a_cache_that_can_be_flushed(stack):
    with stack.redis_client() as client:
        client.hset("h", mapping={"a": 1})
        assert client.hgetall("h") == {b"a": b"1"}
        client.flushdb()
        assert client.get("h") is None


def test_a_home_through_kill_9_taken_ports_and_purge(own_home, fresh):
    """One stack of its own for all that ends it: each start takes seconds."""
    settings = config.load(own_home)
    home = Home(own_home)
    results = []
    threads = [threading.Thread(target=lambda: results.append(lifecycle.up(settings))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Two at the same instant started one stack.
    assert len(results) == 2
    assert [p.pid for p in results[0].parts] == [p.pid for p in results[1].parts]
    first = {p.name: p.pid for p in results[0].parts}

    connection = config.connect(own_home)
    topic = fresh("kept")
    make_topic(connection, topic)
    produce(connection, topic, [b"%d" % i for i in range(1000)])

    for pid in first.values():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(UnavailableError, match="tidemill up"):
        _until_noticed(own_home)

    again = lifecycle.up(settings)
    assert again.all_answer
    assert again.ports == results[0].ports
    assert all(part.pid != first[part.name] for part in again.parts)
    assert read_all(config.connect(own_home), topic, 1000) == [b"%d" % i for i in range(1000)]

    assert lifecycle.down(settings) == ["supervisor", "redis", "kafka"]
    assert lifecycle.down(settings) == []
    assert [p.state for p in lifecycle.status(settings).parts] == ["stopped"] * 3
    assert home.path.exists()

    assert lifecycle.down(settings, purge=True) == []
    assert not home.path.exists()


def _until_noticed(home):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        config.connect(home)


def test_a_taken_port_that_was_asked_for_is_refused_and_nothing_is_left(own_home):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        settings = msgspec.structs.replace(config.load(own_home), redis_port=taken)
        context = lifecycle.Context(
            home=Home(own_home), settings=settings, record=lifecycle.StackRecord(), tell=lambda message: None
        )
        with pytest.raises(ConfigError, match=rf"port {taken} of redis.*--redis-port"):
            lifecycle._assign_ports(lifecycle.RedisPart(), context)
        # One that was only remembered moves on, and says so.
        told = []
        record = lifecycle.StackRecord(ports={"redis": taken})
        context = lifecycle.Context(
            home=Home(own_home), settings=config.load(own_home), record=record, tell=told.append
        )
        lifecycle._assign_ports(lifecycle.RedisPart(), context)
        assert record.ports["redis"] != taken
        assert ports.is_free(record.ports["redis"])
        assert f"{taken}" in told[0]


def test_parts_that_others_run_are_not_started(stack, own_home):
    settings = msgspec.structs.replace(config.load(own_home), bootstrap=stack.bootstrap, redis=stack.redis)
    found = lifecycle.up(settings, parts=lifecycle.BROKERS)
    assert [(p.name, p.state, p.pid) for p in found.parts[:2]] == [("kafka", "external", 0), ("redis", "external", 0)]
    assert lifecycle.down(settings) == []
    assert {p.state for p in lifecycle.status(stack.settings).parts[:2]} == {"running"}

    nobody = msgspec.structs.replace(settings, bootstrap=f"127.0.0.1:{ports.find_free()}")
    with pytest.raises(UnavailableError, match=r"kafka at 127.0.0.1:.* does not answer.*TIDEMILL_BOOTSTRAP"):
        lifecycle.up(nobody)
    assert [p.state for p in lifecycle.status(nobody).parts[:2]] == ["unreachable", "external"]

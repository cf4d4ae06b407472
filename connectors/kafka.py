"""Kafka as a `Log`, on `confluent-kafka`: the hot path.

`KafkaLog({"bootstrap.servers": "127.0.0.1:9092"})` takes librdkafka's connection settings as they are, so SASL and TLS
pass through. What the log protocol promises is set here and cannot be overridden: reads are committed, positions are
the reader's own (no group, no automatic commit, no automatic reset), writes are idempotent and acknowledged by all
in-sync replicas.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connectors.kafka_errors import error_of
from connectors.kafka_settings import refuse_narrower, topic_configs
from connectors.kafka_writer import KafkaWriter
from tidemill.errors import ConfigError, NotFoundError, TidemillError, UnavailableError
from tidemill.log import Partition, Record, TopicSpec, gone

logger = logging.getLogger("tidemill.kafka")
logger.addHandler(logging.NullHandler())  # what matters is raised; the rest is for who sets up logging

_READ = {
    "group.id": "tidemill-reader",  # librdkafka insists on one; nothing is ever committed or joined with it
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "fetch.message.max.bytes": 4 * 1024 * 1024,
    "fetch.max.bytes": 32 * 1024 * 1024,
    "fetch.wait.max.ms": 100,
    "topic.metadata.propagation.max.ms": 5_000,
    "fetch.error.backoff.ms": 50,
    "fetch.queue.backoff.ms": 5,
    "queued.min.messages": 200_000,
    "queued.max.messages.kbytes": 48 * 1024,
    "socket.keepalive.enable": True,
}
_ADMIN_TIMEOUT = 30.0
_NOT_LET_IN = (KafkaError._AUTHENTICATION, KafkaError._SSL)


class KafkaReader:
    """Reads assigned partitions; see `tidemill.log.Reader`."""

    def __init__(self, settings: Mapping[str, Any], positions: Mapping[Partition, int]) -> None:
        self._start = dict(positions)
        self._assigned = [TopicPartition(p.topic, p.number) for p in positions]
        self._down: KafkaError | None = None
        self._held: TidemillError | None = None
        self._known = False
        self._ask_at = time.monotonic() + 1.0
        self._doubt_until = self._ask_at + 5.0
        self._consumer = Consumer({**settings, **_READ, "error_cb": self._on_error}, logger=logger)
        self._consumer.assign([TopicPartition(p.topic, p.number, offset) for p, offset in positions.items()])

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION) or error.fatal():
            self._down = error

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        self._raise_held()
        # consume(n, timeout) would wait the whole timeout for n; taking what is queued first keeps latency low.
        messages = self._consumer.consume(max_records, 0)
        if not messages:
            first = self._consumer.poll(timeout)
            if first is not None:
                messages = [first, *self._consumer.consume(max_records - 1, 0)] if max_records > 1 else [first]
        out = self._records(messages)
        if out:
            self._down, self._known = None, True
            return out
        self._raise_held()
        if self._down is not None:
            down, self._down = self._down, None
            raise error_of(down, "Kafka", "reading")
        if not self._known and time.monotonic() >= self._ask_at:
            self._look_for_partitions()
        return out

    def _look_for_partitions(self) -> None:
        """librdkafka waits for an assigned partition that is not there, silently and for ever; one made a moment ago
        may need a few seconds to be known to every broker."""
        self._ask_at = time.monotonic() + 1.0
        try:
            found = self._consumer.list_topics(timeout=5.0).topics
        except KafkaException:
            return
        missing = [p for p in self._start if p.topic not in found or p.number not in found[p.topic].partitions]
        self._known = not missing
        if missing and time.monotonic() > self._doubt_until:
            raise NotFoundError("no such topic or partition", where=", ".join(f"{p.topic}/{p.number}" for p in missing))

    def _records(self, messages: list[Message]) -> list[Record]:
        out: list[Record] = []
        append = out.append
        new, record = tuple.__new__, Record  # Record(...) itself would be a Python call for each record
        # Ten thousand new tuples would set off the garbage collector a dozen times, at half the cost of the whole poll.
        collecting = gc.isenabled()
        gc.disable()
        try:
            for m in messages:
                error = m.error()
                if error is not None:
                    self._failed(m.topic(), m.partition(), m.offset(), error)
                    continue
                at = m.timestamp()[1] * 1000
                append(new(record, (m.topic(), m.partition(), m.offset(), m.key(), m.value(), m.headers() or (), at)))
        finally:
            if collecting:
                gc.enable()
        return out

    def _raise_held(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            raise held

    def _failed(self, topic: str | None, number: int | None, offset: int | None, error: KafkaError) -> None:
        """Keep an error until the good records read with it have been returned."""
        if error.code() == KafkaError._PARTITION_EOF:
            return
        where = f"{topic}/{number}" if topic else "Kafka"
        if error.code() not in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._held = error_of(error, where, "reading")
            return
        assert topic is not None and number is not None
        begin, end = watermarks(self._consumer, Partition(topic, number))
        at = self.positions()[Partition(topic, number)] if offset is None or offset < 0 else offset
        self._held = gone(Partition(topic, number), at, begin, end)

    def positions(self) -> dict[Partition, int]:
        out = dict(self._start)
        if self._assigned:
            for at in self._consumer.position(self._assigned):
                if at.offset >= 0:  # else nothing was read yet
                    out[Partition(at.topic, at.partition)] = at.offset
        return out

    def close(self) -> None:
        self._consumer.close()


_MOVING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


def watermarks(consumer: Consumer, partition: Partition) -> tuple[int, int]:
    """First offset kept and last stable offset, from the broker."""
    where = f"{partition.topic}/{partition.number}"
    deadline = time.monotonic() + _ADMIN_TIMEOUT
    while True:
        try:
            found = consumer.get_watermark_offsets(TopicPartition(*partition), timeout=_ADMIN_TIMEOUT, cached=False)
        except KafkaException as error:
            # A topic just made has a leader in the cluster's metadata a moment before that broker knows it is.
            if error.args[0].code() in _MOVING and time.monotonic() < deadline:
                time.sleep(0.01)
                continue
            raise error_of(error, where, "asking for offsets") from None
        if found is None:
            raise UnavailableError("asking for offsets timed out", where=where)
        return int(found[0]), int(found[1])


class KafkaLog:
    """A Kafka cluster; see `tidemill.log.Log`. Safe to share between threads; its readers and writers are not.

    `replication` is how many copies a topic made here has; −1 leaves it to the brokers (`default.replication.factor`).
    """

    def __init__(self, settings: Mapping[str, Any], *, replication: int = -1) -> None:
        self._replication = replication
        if not settings.get("bootstrap.servers"):
            raise ConfigError("no Kafka to connect to", wanted="bootstrap.servers", got=f"only {sorted(settings)}")
        self._settings = {"client.id": "tidemill", **settings}
        self._refused: KafkaError | None = None
        admin: dict[str, Any] = {**self._settings, "error_cb": self._on_error}
        try:
            self._admin = AdminClient(admin, logger=logger)
            self._consumer = Consumer({**self._settings, **_READ}, logger=logger)
        except KafkaException as error:
            raise error_of(error, "Kafka", "connecting") from None

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in _NOT_LET_IN:
            self._refused = error

    def _metadata(self, where: str, doing: str) -> Any:
        """The cluster's topics. Who is not let in learns so at once; only a broker that is away is waited for."""
        deadline = time.monotonic() + _ADMIN_TIMEOUT
        while True:
            try:
                return self._admin.list_topics(timeout=1.0).topics
            except KafkaException as error:
                self._admin.poll(0)
                refused, self._refused = self._refused, None
                if refused is not None:
                    raise error_of(refused, where, doing) from None
                waits = error.args[0].code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT)
                if not waits or time.monotonic() >= deadline:
                    raise error_of(error, where, doing) from None

    def topics(self) -> dict[str, int]:
        found = self._metadata(f"Kafka at {self._settings['bootstrap.servers']}", "listing topics")
        return {name: len(t.partitions) for name, t in found.items() if not name.startswith("__")}

    def create(self, topic: str, spec: TopicSpec) -> bool:
        new = NewTopic(topic, spec.partitions, self._replication, config=topic_configs(spec))
        made = True
        try:
            self._admin.create_topics([new], operation_timeout=_ADMIN_TIMEOUT)[topic].result(_ADMIN_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise error_of(error, topic, "creating the topic") from None
            made = False
        have = self._wait_for(topic)
        refuse_narrower(topic, spec, have)
        return made

    def _wait_for(self, topic: str) -> int:
        """Until every partition has a leader: a topic is made before it can be written."""
        deadline = time.monotonic() + _ADMIN_TIMEOUT
        while True:
            found = self._metadata(topic, "creating the topic").get(topic)
            if found and found.partitions and all(p.leader >= 0 for p in found.partitions.values()):
                return len(found.partitions)
            if time.monotonic() > deadline:
                raise UnavailableError("the topic got no leader in time", where=topic)
            time.sleep(0.01)

    def partitions(self, topic: str) -> list[Partition]:
        count = self.topics().get(topic)
        if count is None:
            raise NotFoundError("no such topic", where=topic)
        return [Partition(topic, i) for i in range(count)]

    def begin(self, partition: Partition) -> int:
        return watermarks(self._consumer, partition)[0]

    def end(self, partition: Partition) -> int:
        return watermarks(self._consumer, partition)[1]

    def reader(self, positions: Mapping[Partition, int]) -> KafkaReader:
        wrong = {p: at for p, at in positions.items() if at < 0}
        if wrong:
            raise ConfigError("a position is negative", got=str(wrong), wanted=f"an offset, not {OFFSET_BEGINNING}")
        return KafkaReader(self._settings, positions)

    def writer(self, transactional_id: str = "") -> KafkaWriter:
        return KafkaWriter(self._settings, transactional_id)

    def close(self) -> None:
        self._consumer.close()

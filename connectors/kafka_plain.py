"""Kafka as a `Log` in pure Python, on `kafka-python`: for users' programs and for checking the fast one against.

It keeps the same promises as `connectors.kafka` and passes the same suite, at some twenty-fifth of its speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kafka.errors
from kafka import ConsumerGroupMetadata, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

from connectors.kafka_admin import KafkaAdmin, error_of
from connectors.kafka_settings import BATCH_OVERHEAD, plain_settings
from tidemill.errors import TidemillError, UnavailableError, UserError
from tidemill.log import MAX_RECORD_BYTES, Headers, Partition, Record, TopicSpec, check_size, gone

_READ = {
    "allow_auto_create_topics": False,
    "group_id": None,
    "isolation_level": "read_committed",
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "fetch_max_wait_ms": 100,
    "max_partition_fetch_bytes": 4 * 1024 * 1024,
}
_WRITE = {
    "allow_auto_create_topics": False,
    "acks": "all",
    "enable_idempotence": True,
    "compression_type": "gzip",  # the one codec that needs no further package, on either side
    "linger_ms": 5,
    "batch_size": 256 * 1024,
    "max_request_size": MAX_RECORD_BYTES + BATCH_OVERHEAD,
}


class PlainReader:
    """See `tidemill.log.Reader`."""

    def __init__(self, settings: Mapping[str, Any], positions: Mapping[Partition, int]) -> None:
        self._positions = dict(positions)
        self._consumer = KafkaConsumer(**settings, **_READ)
        self._consumer.assign([TopicPartition(*p) for p in positions])
        for partition, offset in positions.items():
            self._consumer.seek(TopicPartition(*partition), offset)

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        try:
            found = self._consumer.poll(timeout_ms=int(timeout * 1000), max_records=max_records)
        except kafka.errors.OffsetOutOfRangeError as error:
            raise self._gone(error) from None
        except kafka.errors.NoOffsetForPartitionError as error:
            raise self._gone(error) from None
        except kafka.errors.KafkaError as error:
            raise error_of(error, "Kafka", "reading") from None
        return [
            Record(m.topic, m.partition, m.offset, m.key, m.value, m.headers or (), m.timestamp * 1000)
            for part in found.values()
            for m in part
        ]

    def _gone(self, error: Exception) -> TidemillError:
        partitions = [TopicPartition(*p) for p in self._positions]
        begins, ends = self._consumer.beginning_offsets(partitions), self._consumer.end_offsets(partitions)
        for p in partitions:
            at = self._positions[Partition(*p)]
            if not begins[p] <= at <= ends[p]:
                return gone(Partition(*p), at, begins[p], ends[p])
        return error_of(error, "Kafka", "reading")

    def positions(self) -> dict[Partition, int]:
        for partition in self._positions:
            at = self._consumer.position(TopicPartition(*partition), timeout_ms=0)
            if at is not None:
                self._positions[partition] = int(at)
        return dict(self._positions)

    def close(self) -> None:
        self._consumer.close()


class PlainWriter:
    """See `tidemill.log.Writer`."""

    def __init__(self, settings: Mapping[str, Any], transactional_id: str = "") -> None:
        self._id = transactional_id
        self._where = f"writer {transactional_id}" if transactional_id else "writer"
        self._failure: TidemillError | None = None
        self._open = False
        self._settings = settings
        self._connect()

    def _connect(self) -> None:
        try:
            self._producer = KafkaProducer(**self._settings, **_WRITE, transactional_id=self._id or None)
            if self._id:
                self._producer.init_transactions()
        except kafka.errors.KafkaError as error:
            raise error_of(error, self._where, "connecting") from None
        self._broken = False

    def _not_begun(self) -> UserError:
        return UserError("no transaction is open", where=self._where, fix="Call begin first")

    def send(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: Headers = (), partition: int = -1
    ) -> None:
        check_size(topic, key, value, headers)
        if self._id and not self._open:
            raise self._not_begun()
        to = None if partition < 0 else partition
        try:
            sent = self._producer.send(topic, value, key=key, headers=list(headers), partition=to)
        except kafka.errors.KafkaError as error:
            raise error_of(error, topic, "writing") from None
        sent.add_errback(self._on_error, topic)

    def _reconnect(self) -> None:
        """Records that failed left a gap in the producer's sequence, and what follows would fail for it."""
        self._producer.close(timeout=0)
        self._connect()

    def _on_error(self, topic: str, error: Exception) -> None:
        self._broken = True
        if self._failure is None:
            self._failure = error_of(error, topic, "writing")

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def flush(self, timeout: float = 30.0) -> None:
        try:
            self._producer.flush(timeout=timeout)
        except kafka.errors.KafkaTimeoutError:
            self._raise_failure()
            raise UnavailableError(f"records are not acknowledged after {timeout} s", where=self._where) from None
        if self._broken and not self._id:
            self._reconnect()
        self._raise_failure()

    def begin(self) -> None:
        if not self._id:
            raise UserError("this writer has no transactional id", where=self._where)
        if self._open:
            raise UserError("a transaction is open already", where=self._where, fix="Commit or abort it first")
        try:
            self._producer.begin_transaction()
        except kafka.errors.KafkaError as error:
            raise error_of(error, self._where, "beginning a transaction") from None
        self._open, self._failure = True, None

    def commit(self, offsets: Mapping[Partition, int] | None = None, group: str = "") -> None:
        if offsets and not group:
            raise UserError("offsets are committed for a group", where=self._where, wanted="a group", got="none")
        if not self._open:
            raise self._not_begun()
        try:
            self.flush()
            if offsets:
                positions = {TopicPartition(*p): OffsetAndMetadata(at, "", -1) for p, at in offsets.items()}
                self._producer.send_offsets_to_transaction(positions, ConsumerGroupMetadata(group))
            self._producer.commit_transaction()
        except kafka.errors.KafkaError as error:
            self._raise_failure()
            raise error_of(error, self._where, "committing") from None
        self._open = False

    def abort(self) -> None:
        if not self._open:
            raise self._not_begun()
        try:
            if self._broken:
                self._reconnect()
            else:
                self._producer.abort_transaction()
        except kafka.errors.KafkaError as error:
            raise error_of(error, self._where, "aborting") from None
        self._open, self._failure = False, None

    def close(self) -> None:
        """Without a transaction: flushes, raising what went wrong. An open transaction is aborted if that is possible;
        otherwise the next writer of this id, or the broker's time limit, does it."""
        try:
            if self._open:
                self._open = False
                self._producer.abort_transaction()
            elif not self._id:
                self.flush(10.0)
        except kafka.errors.KafkaError:
            pass
        finally:
            self._producer.close(timeout=2.0)


class PlainKafka:
    """A Kafka cluster; see `tidemill.log.Log`. `admin` has what a log has not: settings, lag, removal."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = plain_settings(settings)
        self.admin = KafkaAdmin(settings)

    def topics(self) -> dict[str, int]:
        return self.admin.topics()

    def create(self, topic: str, spec: TopicSpec) -> bool:
        return self.admin.create(topic, spec)

    def partitions(self, topic: str) -> list[Partition]:
        return self.admin.partitions(topic)

    def begin(self, partition: Partition) -> int:
        return self.admin.begins([partition])[partition]

    def end(self, partition: Partition) -> int:
        return self.admin.ends([partition])[partition]

    def reader(self, positions: Mapping[Partition, int]) -> PlainReader:
        return PlainReader(self._settings, positions)

    def writer(self, transactional_id: str = "") -> PlainWriter:
        return PlainWriter(self._settings, transactional_id)

    def close(self) -> None:
        self.admin.close()

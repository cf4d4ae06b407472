"""Writing to Kafka on `confluent-kafka`: idempotent, acknowledged by all in-sync replicas, transactional if asked."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from connectors.kafka_errors import error_of
from tidemill.errors import FencedError, OverloadedError, TidemillError, UnavailableError, UserError
from tidemill.log import MAX_RECORD_BYTES, Headers, Partition, check_size

logger = logging.getLogger("tidemill.kafka")

_WRITE = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",  # as Java and kafka-python; librdkafka's own default is another hash
    "compression.type": "lz4",
    "linger.ms": 5,
    "topic.metadata.propagation.max.ms": 5_000,
    "batch.size": 1024 * 1024,
    "batch.num.messages": 50_000,
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 128 * 1024,
    "message.max.bytes": MAX_RECORD_BYTES + 4096,  # of key, value and serialised headers together
    "message.copy.max.bytes": 65_535,
    "delivery.report.only.error": True,  # successes need no Python call; failures are raised at flush or commit
    "socket.keepalive.enable": True,
}
_TRANSACTION_TIMEOUT_MS = 60_000
_SURELY_SMALL = 1024 * 1024
_TIMEOUT = 30.0
_SEND_TIMEOUT = 60.0
_OFFSETS_TIMEOUT = 10.0


class KafkaWriter:
    """Appends records; see `tidemill.log.Writer`. One thread at a time."""

    def __init__(self, settings: Mapping[str, Any], transactional_id: str = "") -> None:
        self._settings = dict(settings)
        self._id = transactional_id
        self._where = f"writer {transactional_id}" if transactional_id else "writer"
        self._failure: TidemillError | None = None
        self._fatal: TidemillError | None = None
        self._open = False
        self._groups: dict[str, Any] = {}
        self._since_poll = 0
        self._connect()

    def _connect(self) -> None:
        config = {**self._settings, **_WRITE, "on_delivery": self._on_delivery, "error_cb": self._on_error}
        if self._id:
            config |= {"transactional.id": self._id, "transaction.timeout.ms": _TRANSACTION_TIMEOUT_MS}
        try:
            self._producer = Producer(config, logger=logger)
            if self._id:
                # Asked before it knows a broker, librdkafka would look for one again only half a second later.
                with contextlib.suppress(KafkaException):
                    self._producer.list_topics(timeout=1.0)
                self._retry(self._producer.init_transactions, "fencing earlier writers")
        except KafkaException as error:
            raise error_of(error, self._where, "connecting") from None
        self._produce = self._producer.produce
        self._broken = self._stuck = False

    def _on_error(self, error: KafkaError) -> None:
        logger.info("%s: %s: %s", self._where, error.name(), error.str())

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            return
        self._broken = True
        if self._failure is None:
            where = f"{message.topic()}/{message.partition()}"
            self._failure = self._error(error, where, "writing")

    def _error(self, cause: KafkaException | KafkaError, where: str, doing: str) -> TidemillError:
        """After a fatal error every call says only that there was one: the first one's cause is kept."""
        code = cause.args[0].code() if isinstance(cause, KafkaException) else cause.code()
        if code == KafkaError._FATAL:
            if self._fatal is None:
                try:
                    self._unwrapped(self._producer.poll, 0)
                except KafkaException as first:
                    self._fatal = error_of(first, where, doing)
            if self._fatal is not None:
                return self._fatal
        error = error_of(cause, where, doing)
        if isinstance(error, FencedError):
            self._fatal = error
        return error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def send(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: Headers = (), partition: int = -1
    ) -> None:
        # The hot path: what is small is not measured here, for librdkafka measures it too, if a little coarser.
        if value is not None and len(value) > _SURELY_SMALL:
            check_size(topic, key, value, headers)
        if not self._open and self._id:
            raise self._not_begun()
        try:
            if headers:
                given = headers if type(headers) is list else list(headers)
                # By position, which is cheaper: no report of its own, no timestamp (0: now), headers.
                self._produce(topic, value, key, partition, None, None, 0, given)
            else:
                self._produce(topic, value, key, partition)
        except BufferError:
            self._send_when_free(topic, value, key, partition, headers)
        except KafkaException as error:
            raise self._error(error, topic, "writing") from None
        self._since_poll += 1
        if self._since_poll >= 1000:
            self._since_poll = 0
            self._serve(self._producer.poll, 0, doing="writing")

    def _send_when_free(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, headers: Headers
    ) -> None:
        deadline = time.monotonic() + _SEND_TIMEOUT
        while time.monotonic() < deadline:
            self._serve(self._producer.poll, 0.02, doing="writing")
            try:
                self._produce(topic, value, key, partition, headers=list(headers) if headers else None)
                return
            except BufferError:
                continue
            except KafkaException as error:
                raise self._error(error, topic, "writing") from None
        raise OverloadedError(f"the queue stayed full for {_SEND_TIMEOUT:.0f} s", where=topic)

    def flush(self, timeout: float = 30.0) -> None:
        left = self._serve(self._producer.flush, timeout, doing="writing")
        self._raise_failure()
        if left:
            raise UnavailableError(f"{left} records are not acknowledged after {timeout} s", where=self._where)

    def begin(self) -> None:
        if not self._id:
            raise UserError("this writer has no transactional id", where=self._where)
        if self._open:
            raise UserError("a transaction is open already", where=self._where, fix="Commit or abort it first")
        if self._stuck:
            raise self._lost()
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            raise self._error(error, self._where, "beginning a transaction") from None
        self._open = True
        self._failure = None

    def commit(self, offsets: Mapping[Partition, int] | None = None, group: str = "") -> None:
        if offsets and not group:
            raise UserError("offsets are committed for a group", where=self._where, wanted="a group", got="none")
        if not self._open:
            raise self._not_begun()
        # A record refused for good must be found before the commit begins: librdkafka would leave it half open.
        self._serve(self._producer.flush, _TIMEOUT, doing="writing")
        if self._failure is not None and not isinstance(self._failure, UnavailableError):
            self._raise_failure()
        if offsets:
            self._commit_offsets([TopicPartition(p.topic, p.number, at) for p, at in offsets.items()], group)
        try:
            self._retry(self._producer.commit_transaction, "committing")
        except FencedError:
            self._failure = None  # its records were thrown away for no reason of their own
            raise
        except TidemillError:
            self._raise_failure()  # a record that could not be written says more than the commit it made impossible
            raise
        self._open = False
        self._raise_failure()

    def _not_begun(self) -> UserError:
        return UserError("no transaction is open", where=self._where, fix="Call begin first")

    def _serve(self, call: Any, *args: Any, doing: str) -> Any:
        """Run a call that serves callbacks."""
        try:
            return self._unwrapped(call, *args)
        except KafkaException as error:
            raise self._error(error, self._where, doing) from None

    def _unwrapped(self, call: Any, *args: Any) -> Any:
        """The binding raises a fatal error where it serves it; where a callback is running then, it comes wrapped in a
        `SystemError`, or as one without a cause. It is said once, and the call after it answers properly."""
        try:
            return call(*args)
        except SystemError as error:
            if isinstance(error.__cause__, KafkaException):
                raise error.__cause__ from None
            logger.info("%s: %s", self._where, error)
            return call(*args)

    def _retry(self, call: Any, doing: str, *args: Any) -> None:
        """Transactional calls may be repeated while they say so; after that the outcome is unknown."""
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                self._unwrapped(call, *args, max(0.1, deadline - time.monotonic()))
                return
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() >= deadline:
                    raise self._error(error, self._where, doing) from None
                self._serve(self._producer.poll, 0.05, doing=doing)

    def _commit_offsets(self, positions: list[TopicPartition], group: str) -> None:
        """librdkafka heeds no time limit of this call, and where the group's coordinator went away meanwhile it may
        never come back (confluentinc/librdkafka, issues 5456 and 5511). So a thread makes it, and is left behind where
        it hangs, with the producer it hangs in: what becomes of the transaction is then unknown."""
        outcome: Future[None] = Future()
        call = self._producer.send_offsets_to_transaction

        def run() -> None:
            try:
                self._retry(call, "committing offsets", positions, self._group(group))
                outcome.set_result(None)
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=run, name="tidemill-offsets", daemon=True).start()
        try:
            outcome.result(_OFFSETS_TIMEOUT)
        except TimeoutError:
            self._stuck = True
            raise self._lost() from None

    def _lost(self) -> UnavailableError:
        message = f"committing offsets: no answer in {_OFFSETS_TIMEOUT:g} s"
        return UnavailableError(message, where=self._where, fix="Make a new writer.")

    def _group(self, group: str) -> Any:
        """The identity of a group without members: offsets are committed in its name, and its lag can be seen by any
        tool, though the reader assigns its own partitions."""
        if group not in self._groups:
            member = Consumer({**self._settings, "group.id": group, "enable.auto.commit": False}, logger=logger)
            self._groups[group] = member.consumer_group_metadata()
            member.close()
        return self._groups[group]

    def abort(self) -> None:
        if not self._open:
            raise self._not_begun()
        if self._stuck:
            pass  # the next writer does it
        elif self._broken:
            # Records that failed left a gap in the producer's sequence, and the next transaction would fail for it.
            self._producer.purge()
            self._connect()
        else:
            self._retry(self._producer.abort_transaction, "aborting")
        self._open = False
        self._failure = None

    def close(self) -> None:
        """Without a transaction: flushes, raising what went wrong. An open transaction is aborted if that is possible
        at once; otherwise the next writer of this id, or the broker's time limit, does it."""
        if self._stuck:
            return
        if self._id:
            self._producer.purge()
            if self._open:
                try:
                    self._producer.abort_transaction(2.0)
                except KafkaException as error:
                    logger.info("%s: left an open transaction to the broker: %s", self._where, error.args[0].str())
                self._open = False
            return
        self.flush(10.0)

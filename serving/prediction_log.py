"""Predictions on their way to `predictions.<endpoint>`: to disk first, then to Kafka, in order, each exactly once.

What one answer leaves, a prediction or a thousand, is one item of the spool: kept whole or not at all, and sent in one
transaction. One log can serve many topics: each item says its own where it is not the log's.

An answer is given after its prediction was written to a spool, so what was answered survives kill -9 of the server. A
background thread brings the spool to the disk (one fsync for all that came within 50 ms), and another sends from there
in transactions. Each record says its spool and sequence in header `spool`; after an ambiguous commit, or a crash, the
newest one in the topic says where to go on, so nothing is sent twice. While Kafka does not answer the spool grows, up
to its bound.

Two limits. A machine that loses its power can lose what was answered within the last 50 ms. And a prediction may stand
in the topic whose answer never arrived, as the server died in between; who asks again under the same event id is then
there twice, and counts as served last.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from serving.spool import Spool
from tidemill import events
from tidemill.cloudevents import headers_of
from tidemill.errors import GoneError, TidemillError, UnavailableError
from tidemill.events import PredictionMade
from tidemill.log import Log, Partition, Record, TopicSpec, Writer

_log = logging.getLogger("tidemill.serving")

HEADER = "spool"
_WRITE_EVERY = 0.05
_SEND_EVERY = 0.1
_ROOM_EVERY = 1.0
_NOTE_EVERY = 5.0
_BATCH = 5_000
_BATCH_BYTES = 4 << 20
_READ = 500
"""Records that are looked through at a time: the event loop waits while a reader makes them."""


class _Item(msgspec.Struct, array_like=True):
    """What one answer leaves: the topic (empty: the log's own), the headers that all share, and of each prediction its
    id, key and value. One row of headers for all is what makes a thousand cheap, to write and to send."""

    topic: str
    headers: list[tuple[str, bytes]]
    rows: list[tuple[bytes, bytes, bytes]]


class _Single(msgspec.Struct, array_like=True):
    """As servers of before wrote them, one by one."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Item)
_single = msgspec.msgpack.Decoder(_Single)
_BYTES = b"\xc4\xc5\xc6"
"""How bytes begin in MessagePack, as the key that a `_Single` begins with."""


class PredictionLog:
    """The predictions of one endpoint. `append` may be called from the event loop and from any thread: it writes, and
    does not wait for the disk. Where that fails it raises `UnavailableError`, and so does the request: no answer is
    given that could not be joined with its label later.
    """

    def __init__(self, endpoint: str, log: Log, spool: Spool) -> None:
        self.topic = f"predictions.{endpoint}"
        self._log = log
        self._spool = spool
        self._spec = TopicSpec()
        self._stop = threading.Event()
        self._sender_stop = threading.Event()
        self._writer: Writer | None = None
        self._settled = False
        self._noted = 0.0
        self._created: set[str] = set()
        self._touched: set[str] = set()
        self.problem = ""
        """Why predictions cannot be kept at the moment (no room on the disk); empty where they can."""
        self.down = ""
        """Why predictions do not reach Kafka at the moment; they wait in the spool."""
        self._threads = [
            threading.Thread(target=self._keep, name=f"tidemill-spool-{endpoint}", daemon=True),
            threading.Thread(target=self._send, name=f"tidemill-send-{endpoint}", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def append(self, prediction: PredictionMade) -> None:
        self.append_all((prediction,))

    def append_all(self, predictions: Sequence[PredictionMade], topic: str = "") -> None:
        """All `predictions` of one answer or none, for `topic` where that is not the log's own. Of a thousand rows this
        takes some milliseconds, nearly all of it before the spool is touched: call it in a thread."""
        if not predictions:
            return
        try:
            self._spool.append([_packed(predictions, topic)])
        except UnavailableError as error:
            self.problem = str(error)
            where = topic or self.topic
            raise UnavailableError("predictions cannot be kept", where=where, got=self.problem) from None

    @property
    def unsent(self) -> int:
        """Answers whose predictions are not in Kafka yet."""
        return len(self._spool)

    @property
    def spooled_bytes(self) -> int:
        return self._spool.bytes

    @property
    def faults(self) -> int:
        """How often the disk has failed the spool."""
        return self._spool.faults

    def close(self, timeout: float = 10.0) -> None:
        """Write everything to disk, and to Kafka as far as it answers within `timeout` seconds; the rest is sent by
        the next process that takes the spool."""
        self._stop.set()
        self._threads[0].join(timeout)
        self._sender_stop.set()
        self._threads[1].join(timeout)
        if not any(thread.is_alive() for thread in self._threads):
            self._spool.close()

    def drain(self) -> None:
        """Instead of `start`, for a spool to which nothing is added any more: send all of it and close it. Raises
        `UnavailableError` where Kafka does not answer; what was not sent stays."""
        try:
            self._send_spooled()
        finally:
            self._abandon_writer()
            self._spool.close()

    def _keep(self) -> None:
        """Bring to the disk what was appended, and see whether there is room for more."""
        since_probe = _ROOM_EVERY
        while True:
            stopping = self._stop.is_set()
            since_probe += _WRITE_EVERY
            try:
                if self._spool.durable < self._spool.last:
                    self._spool.sync()
                if since_probe >= _ROOM_EVERY:
                    since_probe = 0.0
                    self.problem = self._spool.room()
            except UnavailableError as error:
                self.problem = str(error)
            if stopping:
                return
            self._stop.wait(_WRITE_EVERY)

    def _send(self) -> None:
        backoff = _SEND_EVERY
        while True:
            stopping = self._sender_stop.is_set()
            try:
                self._send_spooled()
                self.down, backoff = "", _SEND_EVERY
                if stopping and self._touched:
                    self._note()  # so that the next process has nothing to look through
            except Exception as error:
                # Whatever it is, the spool holds everything, and a thread that ended would never send it.
                if not isinstance(error, TidemillError):
                    _log.exception("sending predictions", exc_info=error)
                self.down = str(error)
                backoff = min(2.0, backoff * 2)
                self._abandon_writer()
            if stopping:
                self._abandon_writer()
                return
            self._sender_stop.wait(backoff)

    def _send_spooled(self) -> None:
        if not len(self._spool):
            return
        if self._writer is None:
            # The transactional id fences whoever had this spool before; its open transaction is settled after this.
            self._writer = self._log.writer(f"tidemill.{self.topic}.{self._spool.sent.spool}")
        if not self._settled:
            self._settle()
        while items := self._next_after(self._spool.sent.sequence):
            for topic in {self._topic_of(item) for _, item in items}:
                self._create(topic)
                self._touched.add(topic)
            self._settled = False
            self._writer.begin()
            for sequence, item in items:
                topic = self._topic_of(item)
                shared = [*item.headers, (HEADER, f"{self._spool.sent.spool}:{sequence}".encode())]
                for id, key, value in item.rows:
                    self._writer.send(topic, value, key=key, headers=[("ce_id", id), *shared])
            self._writer.commit()
            self._settled = True
            self._spool.discard(items[-1][0], self._spool.sent.ends)
        if time.monotonic() - self._noted > _NOTE_EVERY:
            self._note()

    def _next_after(self, sequence: int) -> list[tuple[int, _Item]]:
        return [(at, _unpacked(data)) for at, data in self._spool.read(sequence, _BATCH, _BATCH_BYTES)]

    def _topic_of(self, item: _Item) -> str:
        return item.topic or self.topic

    def _create(self, topic: str) -> None:
        if topic not in self._created:
            self._log.create(topic, self._spec)
            self._created.add(topic)

    def _note(self) -> None:
        """Keep how far we are, so that settling need not read from further back."""
        self._noted = time.monotonic()
        ends = dict(self._spool.sent.ends)
        for topic in self._touched:
            ends |= {self._name_of(at): self._log.end(at) for at in self._log.partitions(topic)}
        self._touched = set()
        self._spool.discard(self._spool.sent.sequence, ends)
        try:
            self._spool.save_sent()
        except OSError as error:
            self.problem = f"disk: {error.strerror}"

    def _settle(self) -> None:
        """Find out from the topics how much of the spool has arrived. Transactions hold the spool's items in order, so
        where the next item is not in its topic, no later one is in any."""
        found, ends = self._spool.sent.sequence, dict(self._spool.sent.ends)
        seen: set[str] = set()
        while items := self._next_after(found):
            unseen = {self._topic_of(item) for _, item in items} - seen
            newest = max((self._newest_in(topic, ends) for topic in unseen), default=0)
            seen |= unseen
            if newest <= found:
                break
            found = newest
        self._spool.discard(found, ends)
        self._touched |= seen
        self._settled = True

    def _newest_in(self, topic: str, ends: dict[str, int]) -> int:
        """The newest sequence of this spool in a topic, 0 where there is none; `ends` are moved to where it ends."""
        self._create(topic)
        found = 0
        for at in self._log.partitions(topic):
            end, name = self._log.end(at), self._name_of(at)
            begin = min(max(ends.get(name, 0), self._log.begin(at)), end)
            for record in _read(self._log, at, begin, end):
                found = max(found, _sequence_of(record, self._spool.sent.spool))
            ends[name] = end
        return found

    def _name_of(self, at: Partition) -> str:
        """What a partition is called in the hint."""
        return str(at.number) if at.topic == self.topic else f"{at.topic}/{at.number}"

    def _abandon_writer(self) -> None:
        writer, self._writer, self._settled, self._created = self._writer, None, False, set()
        if writer is not None:
            try:
                writer.close()
            except TidemillError as error:
                _log.info("%s: %s", self.topic, error)


def _packed(predictions: Sequence[PredictionMade], topic: str) -> bytes:
    """The predictions of one answer, all of one time and source, as an item of the spool."""
    shared = [header for header in headers_of(predictions[0]) if header[0] != "ce_id"]
    rows = [(p.id.encode(), p.about.encode("utf-8", "replace"), events.encode(p)) for p in predictions]
    return _encode(_Item(topic, shared, rows))


def _unpacked(data: bytes) -> _Item:
    if data[1] not in _BYTES:
        return _decoder.decode(data)
    single = _single.decode(data)
    headers = dict(single.headers)
    return _Item("", [h for h in single.headers if h[0] != "ce_id"], [(headers["ce_id"], single.key, single.value)])


def _read(log: Log, at: Partition, begin: int, end: int) -> list[Record]:
    out: list[Record] = []
    if begin >= end:
        return out
    reader = log.reader({at: begin})
    try:
        while reader.positions()[at] < end:
            out += [record._replace(value=None) for record in reader.poll(_READ, 0.1)]
    except GoneError:
        return []
    finally:
        reader.close()
    return out


def _sequence_of(record: Record, spool: str) -> int:
    """The spool sequence in a record's headers; 0 for another spool's."""
    for name, value in record.headers:
        if name == HEADER and value.startswith(spool.encode() + b":"):
            number: Any = value.partition(b":")[2]
            return int(number) if number.isdigit() else 0
    return 0

"""Publishing rows into a declared stream, checked before they are sent.

Each row is decoded exactly as a job would decode it, so what is sent is what jobs can use. Events carry CloudEvents
headers, with the id and event time that the declaration finds in the payload. Without an id field the id is
`<digest of the file>/<line>`, so publishing the same file again gives the same ids: jobs drop the copies that come
within their allowed lateness (under `arrival`, within their window of ids), and dead-letter older ones as late.

At the end of a replay a `time.advanced.v1` record with a promise goes into every partition: nothing before the last
event's time will follow, so that jobs need not wait out their lateness. Leave it out (`advance=False`) where more of
the same time is to come.
"""

from __future__ import annotations

import time as _time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np

from tidemill import events
from tidemill.block import Block
from tidemill.cloudevents import ARROW, IDS, headers_of, to_headers
from tidemill.decode import Bad, Decoder
from tidemill.engine import ArrowEncoder
from tidemill.errors import BadEvent, MalformedError, TooLargeError, UserError
from tidemill.events import TimeAdvanced
from tidemill.hashing import partition_of
from tidemill.log import MAX_RECORD_BYTES, Log, Record, Writer
from tidemill.stream import RECORD_TIME, StreamSpec
from tidemill.time import MIN_TIME, SECOND, Clock, SystemClock
from tidemill_app.rows import Row, encode

Format = Literal["json", "arrow"]
CHUNK = 1000
_OVERHEAD = 4096
"""Room left for key and headers within the largest record."""


class BadRow(NamedTuple):
    """A row that the declaration refuses."""

    line: int
    error: BadEvent


class Chunk(NamedTuple):
    """Checked rows: their payloads as JSON, and what the declaration makes of them, aligned."""

    values: list[bytes]
    block: Block


@dataclass
class Published:
    """What a publication did. `first` and `last` are event times (None and `MIN_TIME` where the broker's count),
    `disorder` the most that a row's time lay before an earlier row's, microseconds."""

    stream: str
    sent: int = 0
    records: int = 0
    bad: int = 0
    first: int | None = None
    last: int = MIN_TIME
    disorder: int = 0
    refused: list[BadRow] = field(default_factory=list)


class RefusedRows(UserError):
    """Rows do not fit their stream's declaration; `rows` are the first of them."""

    def __init__(self, stream: str, rows: list[BadRow], count: int, sent: int) -> None:
        self.rows = rows
        first = rows[0]
        more = f" (and {count - 1} more)" if count > 1 else ""
        super().__init__(
            f"{first.error}{more}",
            where=f"line {first.line}",
            field=first.error.field,
            fix=f"{sent or 'Nothing'} was sent to {stream}. --allow-bad leaves such rows out.",
        )


class Checker:
    """Checks rows against a declaration, a chunk at a time. `origin` names the rows' source in derived ids."""

    def __init__(self, spec: StreamSpec, *, origin: str = "", clock: Clock | None = None) -> None:
        self.spec = spec
        self._decoder = Decoder(spec, max_event_bytes=MAX_RECORD_BYTES - _OVERHEAD)
        self._clock = clock or SystemClock()
        self._origin = origin or uuid.uuid4().hex[:16]

    def check(self, rows: Iterable[Row], size: int = CHUNK) -> Iterator[tuple[Chunk | None, list[BadRow]]]:
        """Chunks of good rows, in order, each with the bad rows among them."""
        iterator = iter(rows)
        while taken := list(islice(iterator, size)):
            yield self._chunk(taken)

    def _chunk(self, rows: list[Row]) -> tuple[Chunk | None, list[BadRow]]:
        if self.spec.tag:
            rows = [self._complete(row) for row in rows]
        now = self._clock.now()
        records = [Record(self.spec.topic, 0, i, None, row.value, (), now) for i, row in enumerate(rows)]
        blocks, bad = [], []
        for item in self._decoder.decode(records):
            if isinstance(item, Block):
                blocks.append(item)
            elif isinstance(item, Bad):
                row = rows[item.place.offset]
                bad.append(BadRow(row.line, MalformedError(row.problem) if row.problem else item.error))
        if not blocks:
            return None, bad
        block = Block.concat(blocks)
        at = block.offset.tolist()
        if self.spec.id is None:
            block.ids[:] = [f"{self._origin}/{rows[i].line}" for i in at]
        return Chunk([rows[i].value for i in at], block), bad

    def _complete(self, row: Row) -> Row:
        """A platform event given without its tag, id or time (a label needs only `about` and `value`)."""
        if row.data is None:
            return row
        given = {
            "type": self.spec.tag,
            "id": f"{self._origin}/{row.line}",
            "time": self._clock.now(),
        }
        data = given | row.data
        return Row(row.line, encode(data), data)


def in_time_order(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """All rows sorted by event time; rows of equal time stay in their order. Holds them all in memory."""
    held = list(chunks)
    if not held:
        return
    block = Block.concat([c.block for c in held])
    values = [v for c in held for v in c.values]
    order = np.argsort(block.time, kind="stable")
    for at in range(0, len(order), CHUNK):
        index = order[at : at + CHUNK]
        yield Chunk([values[i] for i in index.tolist()], block.take(index))


class Pace:
    """How fast to send: `rate` events a second, or event time passing `speed` times as fast as on the clock."""

    def __init__(
        self,
        rate: float | None = None,
        speed: float | None = None,
        *,
        now: Callable[[], float] = _time.monotonic,
        sleep: Callable[[float], None] = _time.sleep,
    ) -> None:
        self._rate, self.speed, self._now, self._sleep = rate, speed, now, sleep
        self._begun: float | None = None
        self._first = 0
        self._sent = 0

    @property
    def limited(self) -> bool:
        return self._rate is not None or self.speed is not None

    def wait(self, time: int, count: int = 1) -> None:
        """Return when the next event, of this event time, is due; `count` are sent together with it."""
        if not self.limited:
            return
        if self._begun is None:
            self._begun, self._first = self._now(), time
        due = self._begun
        if self._rate is not None:
            due += self._sent / self._rate
        if self.speed is not None:
            due = max(due, self._begun + (time - self._first) / SECOND / self.speed)
        self._sent += count
        if (left := due - self._now()) > 0:
            self._sleep(left)


class Sender:
    """Sends checked chunks of one stream, as one JSON record for each event or as Arrow blocks."""

    def __init__(
        self, writer: Writer, spec: StreamSpec, *, format: Format = "json", arrow: ArrowEncoder | None = None
    ) -> None:
        if format == "arrow" and arrow is None:
            raise ValueError("format arrow needs an Arrow encoder")
        self.report = Published(spec.name)
        self._writer, self._spec, self._format, self._arrow = writer, spec, format, arrow
        self._type = spec.tag or f"{spec.name}.v{spec.version}"

    def send(self, chunk: Chunk, pace: Pace | None = None) -> None:
        """Hand over a chunk. Raises `TooLargeError` for an event above the largest record."""
        self._count(chunk.block)
        if self._format == "arrow":
            self._send_blocks(chunk.block, pace)
        else:
            self._send_json(chunk, pace)
        self.report.sent += len(chunk.values)

    def advance(self, partitions: int, time: int) -> None:
        """Promise every partition that nothing before `time` follows."""
        for number in range(partitions):
            event = TimeAdvanced(id=uuid.uuid4().hex, time=time, source=self._spec.source, promise=True)
            self._writer.send(self._spec.topic, events.encode(event), headers=headers_of(event), partition=number)

    def _count(self, block: Block) -> None:
        if self._spec.time == RECORD_TIME:
            return  # the broker's to say
        report, time = self.report, block.time
        before = np.maximum.accumulate(np.concatenate(([np.int64(report.last)], time)))[:-1]
        behind = (before - time)[before != MIN_TIME]
        report.disorder = max(report.disorder, int(behind.max(initial=0)))
        low = int(time.min())
        report.first = low if report.first is None else min(report.first, low)
        report.last = max(report.last, int(time.max()))

    def _keys(self, block: Block) -> list[bytes | None]:
        if self._spec.key is None:
            return [None] * len(block)
        return [None if k is None else str(k).encode() for k in block.columns[self._spec.key].tolist()]

    def _send_json(self, chunk: Chunk, pace: Pace | None) -> None:
        spec, block, send, type = self._spec, chunk.block, self._writer.send, self._type
        times = block.time.tolist()
        wait = pace.wait if pace is not None and pace.limited else None
        for value, id, time, key in zip(chunk.values, block.ids.tolist(), times, self._keys(block), strict=True):
            if wait is not None:
                wait(time)
            header_time = None if spec.time == RECORD_TIME else time
            send(spec.topic, value, key=key, headers=to_headers(id, spec.source, type, header_time))
        self.report.records += len(times)

    def _send_blocks(self, block: Block, pace: Pace | None) -> None:
        assert self._arrow is not None
        for number, part in self._by_partition(block):
            if pace is not None:
                for time in part.time.tolist():
                    pace.wait(time)
            columns: dict[str, Any] = {
                f.name: part.columns[f.name].view("datetime64[us]")
                if f.type == "time" and part.columns[f.name].dtype == np.int64
                else part.columns[f.name]
                for f in self._spec.fields
            }
            if self._spec.id is None:
                columns.setdefault(IDS, part.ids)
            headers = to_headers(part.ids[0], self._spec.source, self._type, None, ARROW)
            self._writer.send(self._spec.topic, self._arrow(columns), headers=headers, partition=number)
            self.report.records += 1

    def _by_partition(self, block: Block) -> Iterator[tuple[int, Block]]:
        count = self._spec.partitions
        if count == 1 or self._spec.key is None:
            yield (0 if count == 1 else -1), block
            return
        numbers = np.array([0 if key is None else partition_of(key, count) for key in self._keys(block)])
        for number in np.unique(numbers).tolist():
            yield number, block.take(numbers == number)


def publish(
    log: Log,
    spec: StreamSpec,
    rows: Callable[[], Iterable[Row]],
    *,
    twice: bool = True,
    origin: str = "",
    format: Format = "json",
    arrow: ArrowEncoder | None = None,
    block_rows: int = CHUNK,
    allow_bad: bool = False,
    sort: bool = False,
    pace: Pace | None = None,
    advance: bool = True,
    progress: Callable[[int], None] = lambda sent: None,
) -> Published:
    """Check and send the rows that `rows()` gives.

    With `twice` the rows can be read again (a file): then all are checked before the first is sent. Otherwise
    (standard input) sending stops at the first bad row. Raises `RefusedRows` for rows that do not fit, unless
    `allow_bad`, which leaves them out and counts them; `TooLargeError` for an event above 16 MiB.
    """
    checker = Checker(spec, origin=origin)
    if twice and not allow_bad and not sort:
        _refuse_bad(spec.name, checker.check(rows()))
    writer = log.writer()
    try:
        sender = Sender(writer, spec, format=format, arrow=arrow)
        chunks = _good(sender, checker.check(rows(), block_rows), allow_bad)
        for chunk in in_time_order(chunks) if sort else chunks:
            try:
                sender.send(chunk, pace)
            except TooLargeError as error:
                raise TooLargeError(
                    "an event is larger than any record may be",
                    wanted=f"at most {MAX_RECORD_BYTES} bytes",
                    got=error.got,
                ) from None
            progress(sender.report.sent)
        if advance and sender.report.sent and spec.time != RECORD_TIME:
            sender.advance(len(log.partitions(spec.topic)), sender.report.last + 1)
        writer.flush()
    finally:
        writer.close()
    return sender.report


def _refuse_bad(stream: str, checked: Iterable[tuple[Chunk | None, list[BadRow]]]) -> None:
    first: list[BadRow] = []
    count = 0
    for _, bad in checked:
        count += len(bad)
        first += bad[: 20 - len(first)]
    if count:
        raise RefusedRows(stream, first, count, 0)


def _good(sender: Sender, checked: Iterable[tuple[Chunk | None, list[BadRow]]], allow_bad: bool) -> Iterator[Chunk]:
    report = sender.report
    for chunk, bad in checked:
        if bad and not allow_bad:
            raise RefusedRows(report.stream, bad, len(bad), report.sent)
        report.bad += len(bad)
        report.refused += bad[: 20 - len(report.refused)]
        if chunk is not None:
            yield chunk

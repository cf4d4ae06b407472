"""Looking into a topic: the last records, or those to come, each event on a row of its own."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from typing import Any

import msgspec

from tidemill.block import rows_of
from tidemill.cloudevents import ARROW, IDS
from tidemill.decode import ArrowDecoder
from tidemill.errors import BadEvent, ConfigError
from tidemill.log import Log, Partition, Record, offset_before
from tidemill.time import from_rfc3339, to_rfc3339
from tidemill_app.reading import read_spans

_LONG = 2000
_PIECE = 500


class Seen(msgspec.Struct):
    """An event as it is shown. `data` is the payload, or its bytes as safe text where it is no JSON (`raw`)."""

    topic: str
    partition: int
    offset: int
    row: int
    appended: str
    key: str | None
    headers: dict[str, str]
    data: Any
    raw: bool = False


def show(record: Record, arrow: ArrowDecoder | None) -> Iterator[Seen]:
    """The events of a record: one, or as many as an Arrow block holds. Never raises."""
    headers = {name: safe_text(value or b"") for name, value in record.headers}
    key = None if record.key is None else safe_text(record.key)
    place = (record.topic, record.partition, record.offset)
    appended = to_rfc3339(record.timestamp)
    if headers.get("content-type") == ARROW and record.value is not None and arrow is not None:
        try:
            columns = arrow(record.value)
            count = len(next(iter(columns.values()), ()))
            for i, data in enumerate(rows_of(columns, count)):
                own = {IDS: safe_text(str(data[IDS]).encode())} if data.get(IDS) else {}
                yield Seen(*place, i, appended, key, headers | own, _plain(data))
            return
        except (BadEvent, ValueError):
            pass
    data, raw = payload(record.value)
    yield Seen(*place, 0, appended, key, headers, data, raw)


def payload(value: bytes | None) -> tuple[Any, bool]:
    """A payload as JSON data, and whether it had to be shown as text instead; None for a tombstone."""
    if value is None:
        return None, False
    try:
        return msgspec.json.decode(value), False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return safe_text(value), True


def safe_text(data: bytes) -> str:
    """Bytes as text that cannot move a terminal's cursor: what is not printable is escaped, what is long is cut."""
    text = data[:_LONG].decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)
    return text + (f"… ({len(data)} bytes)" if len(data) > _LONG else "")


def _plain(value: Any) -> Any:
    """Anything as what JSON can hold."""
    return msgspec.to_builtins(value, enc_hook=_plain_value)


def _plain_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def start(log: Log, topic: str, origin: str) -> dict[Partition, int]:
    """Where to begin, per partition: `beginning`, an offset, or a time of appending.

    Raises `ConfigError` where `origin` is none of these.
    """
    partitions = log.partitions(topic)
    if origin == "beginning":
        return {p: log.begin(p) for p in partitions}
    if origin.isdigit():
        return {p: min(max(log.begin(p), int(origin)), log.end(p)) for p in partitions}
    try:
        time = from_rfc3339(origin)
    except BadEvent:
        raise ConfigError(
            "cannot tell where to begin",
            wanted="beginning, end, an offset, or a time as 2013-01-01T05:15:00Z",
            got=repr(origin),
        ) from None
    return {p: offset_at(log, p, time) for p in partitions}


def offset_at(log: Log, partition: Partition, time: int) -> int:
    """The first offset appended at or after `time`."""
    near, end = offset_before(log, partition, time), log.end(partition)
    return next((r.offset for r in read_spans(log, {partition: (near, end)}) if r.timestamp >= time), end)


def newest(log: Log, partition: Partition, end: int, count: int) -> deque[Record]:
    """The last `count` records before `end`, looked for ever further back: markers of transactions, what was aborted
    and what compaction removed have offsets too, and are no records."""
    begin, back, found = log.begin(partition), count, deque[Record]()
    while count and len(found) < count and end > begin:
        first = max(begin, end - back)
        piece = read_spans(log, {partition: (first, end)}, chunk=_PIECE)
        found.extendleft(reversed(deque(piece, count - len(found))))
        end, back = first, back * 2
    return found


def tail(
    log: Log,
    topic: str,
    *,
    origin: str = "end",
    last: int = 10,
    follow: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Record]:
    """The last `last` records (all from `origin` on, where that is not `end`), then, with `follow`, those that come.

    Partitions are merged by time of appending as far as they lie there when asked. What is held is the last `last` of
    each partition, or of a reading from `origin` on a piece of each.
    """
    ends = {p: log.end(p) for p in log.partitions(topic)}
    parts: list[Iterable[Record]]
    if origin == "end":
        parts = [newest(log, p, end, last) for p, end in ends.items()]
    else:
        begins = start(log, topic, origin)
        parts = [read_spans(log, {p: (begins[p], ends[p])}, chunk=_PIECE) for p in ends]
    there = merge(*parts, key=lambda r: (r.timestamp, r.partition, r.offset))
    yield from deque(there, last) if origin == "end" else there
    if not follow:
        return
    reader = log.reader(ends)
    try:
        while not stop():
            yield from reader.poll(500, 0.2)
    finally:
        reader.close()


def one_line(seen: Seen) -> str:
    """An event on one line: place, event time, id, payload."""
    time = seen.headers.get("ce_time") or f"({seen.appended})"
    id = seen.headers.get("ce_id", "")
    row = f".{seen.row}" if seen.row else ""
    text = seen.data if seen.raw else msgspec.json.encode(seen.data).decode()
    if seen.data is None:
        text = "(no value)"
    return "  ".join(p for p in (f"{seen.partition}/{seen.offset}{row}", time, seen.key or "", id, str(text)) if p)

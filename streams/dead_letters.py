"""Dead letters: each unusable event once in `dead.<job>`, its bytes untouched, with what was wrong and where it stood.

Headers added to the event's own: `dead_topic`, `dead_partition`, `dead_offset`, `dead_row`, `dead_error` (the class of
the error), `dead_message`, `dead_field`, `dead_time` (when it was set aside, UTC). A row of an Arrow block is written
as an Arrow block of that row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from streams.emit import Sent
from tidemill.block import Column, Place
from tidemill.cloudevents import ARROW
from tidemill.errors import BadEvent
from tidemill.log import Log, Partition, Record
from tidemill.time import to_rfc3339

MARK = "dead_"
MARKS = tuple(MARK + name for name in ("topic", "partition", "offset", "row", "error", "message", "field", "time"))
"""The headers that a letter adds, after the event's own."""

_CACHED = 32 * 1024 * 1024
_OVERHEAD = 200


class RecentRecords:
    """The records read last, found by place; bounded in bytes."""

    def __init__(self, limit: int = _CACHED) -> None:
        self._limit = limit
        self._size = 0
        self._runs: list[tuple[Sequence[Record], int]] = []

    def add(self, records: Sequence[Record]) -> None:
        """Remember a run of one partition's records; the oldest runs give way."""
        size = sum([len(r.value or b"") for r in records]) + _OVERHEAD * len(records)
        self._runs.append((records, size))
        self._size += size
        while self._size > self._limit and len(self._runs) > 1:
            self._size -= self._runs.pop(0)[1]

    def clear(self) -> None:
        """Forget them all."""
        self._runs, self._size = [], 0

    def find(self, place: Place) -> Record | None:
        for records, _ in reversed(self._runs):
            first, last = records[0], records[-1]
            if first.topic != place.topic or first.partition != place.partition:
                continue
            if first.offset <= place.offset <= last.offset:
                return next((r for r in records if r.offset == place.offset), None)
        return None


def fetch(log: Log, places: Iterable[Place], timeout: float = 30.0) -> dict[Place, Record]:
    """The records at these places, read from the log again. Places the log no longer holds are left out."""
    out: dict[Place, Record] = {}
    wanted: dict[Partition, list[Place]] = {}
    for place in sorted(places):
        wanted.setdefault(Partition(place.topic, place.partition), []).append(place)
    for partition, rest in wanted.items():
        begin = log.begin(partition)
        rest = [place for place in rest if place.offset >= begin]
        until = time.monotonic() + timeout
        while rest and time.monotonic() < until:
            reader = log.reader({partition: rest[0].offset})
            try:
                by_offset = {r.offset: r for r in reader.poll(500, 1.0)}
                position = reader.positions()[partition]
            finally:
                reader.close()
            out |= {place: by_offset[place.offset] for place in rest if place.offset in by_offset}
            rest = [place for place in rest if place.offset >= position]
    return out


def fetch_anywhere(log: Log, histories: Mapping[str, Log], places: Sequence[Place]) -> dict[Place, Record]:
    """`fetch`, also of places in histories, whose partitions are called `history:<stream>` by the job."""
    out = fetch(log, [p for p in places if not p.topic.startswith("history:")])
    for stream, history in histories.items():
        real = [q for name in sorted(history.topics()) for q in history.partitions(name)]
        mine = {
            Place(real[p.partition].topic, real[p.partition].number, p.offset, p.row): p
            for p in places
            if p.topic == f"history:{stream}"
        }
        out |= {mine[there]: record for there, record in fetch(history, mine).items()}
    return out


class DeadLetters:
    """Writes dead letters of one job."""

    def __init__(
        self,
        job: str,
        decode: Callable[[bytes], Mapping[str, Column]] | None = None,
        encode: Callable[[Mapping[str, Column]], bytes] | None = None,
    ) -> None:
        self.topic = f"dead.{job}"
        self._decode, self._encode = decode, encode

    def letter(self, place: Place, error: BadEvent, record: Record | None, now: int) -> Sent:
        """The dead letter of the event at `place`; `record` None where its bytes are gone from the log."""
        value, key, headers = (record.value, record.key, list(record.headers)) if record else (None, None, [])
        if record is not None and value is not None and ("content-type", ARROW.encode()) in headers:
            value = self._row(value, place.row)
        where = (place.topic, str(place.partition), str(place.offset), str(place.row))
        marks = (*where, type(error).__name__, str(error)[:1000], error.field, to_rfc3339(now))
        headers += [(name, text.encode()) for name, text in zip(MARKS, marks, strict=True)]
        return self.topic, value, key, headers

    def _row(self, value: bytes, row: int) -> bytes:
        if self._decode is None or self._encode is None:
            return value
        try:
            columns = self._decode(value)
            if len(next(iter(columns.values()), ())) <= 1:
                return value
            return self._encode({name: part[row : row + 1] for name, part in columns.items()})
        except (BadEvent, ValueError):
            return value

"""The journal of a run: what must be known besides the records it read to repeat it.

Under order `arrival` these are the segments in reading order; under `event_time` the moves of quiet partitions' clocks.
Both grow without end, so all but the newest are kept in chunks by digest, each of which names the one before. A job's
memory, its snapshots and its manifests hold one digest and about `MOST` entries, and a manifest still fixes the whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from streams.intake import Intake
from streams.rejecting import Rejected
from tidemill.errors import MalformedError
from tidemill.events import ProgressMade
from tidemill.log import Partition, Record
from tidemill.time import HOUR

Entry = tuple[str, int, int, int]
"""Of a segment: topic, partition, first offset, next offset. Of a move: topic, partition, the offset before which it
stands, and the time."""

MOST = 2_000
OLDEST = HOUR

Get = Callable[[str], bytes]
Put = Callable[[bytes], str]


class Chunk(msgspec.Struct, frozen=True):
    """Entries up to and with commit `sequence`; `before` is the digest of the chunk before, or empty."""

    before: str
    sequence: int
    entries: list[Entry]


def encode(chunk: Chunk) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(chunk))


def decode(data: bytes) -> Chunk:
    """Raises `MalformedError` where the bytes are none of `encode`'s."""
    try:
        return msgspec.msgpack.decode(zlib.decompress(data), type=Chunk)
    except (zlib.error, msgspec.DecodeError) as error:
        raise MalformedError("not a chunk of a journal", got=str(error)) from None


class Journal(msgspec.Struct):
    """The digest of the newest chunk kept, the entries since, and since when (µs of wall clock) the first waits."""

    kept: str = ""
    tail: list[Entry] = []
    since: int = 0

    def add(self, entries: Iterable[Entry], now: int, *, segments: bool) -> None:
        """Add what comes next: segments, else moves. Neighbours that continue each other are joined."""
        for topic, number, first, second in entries:
            if segments and second <= first:
                continue
            if not self.tail:
                self.since = now
            if segments:
                last = self.tail[-1] if self.tail else None
                if last is not None and last[:2] == (topic, number) and last[3] == first:
                    self.tail[-1] = (topic, number, last[2], second)
                    continue
            else:
                at = self._moved_before(topic, number, first)
                if at is not None:
                    self.tail[at] = (topic, number, first, max(second, self.tail[at][3]))
                    continue
            self.tail.append((topic, number, first, second))

    def _moved_before(self, topic: str, number: int, offset: int) -> int | None:
        """Where the tail holds a move at the same offset: a clock only goes on, so one of them is enough."""
        for at in range(len(self.tail) - 1, -1, -1):
            if self.tail[at][:2] == (topic, number):
                return at if self.tail[at][2] == offset else None
        return None

    def seal(self, sequence: int, now: int, put: Put) -> None:
        """Keep the tail as a chunk, where it is long or old; `sequence` is the commit about to be made."""
        if len(self.tail) >= MOST or (self.tail and now - self.since >= OLDEST):
            self.kept, self.tail, self.since = put(encode(Chunk(self.kept, sequence, self.tail))), [], 0

    def follow(self, made: ProgressMade, *, segments: bool) -> None:
        """Take up what a commit recorded, as the run that made it did."""
        if made.journal != self.kept:
            self.kept, self.tail, self.since = made.journal, [], 0
        else:
            self.add(entries_of(made, segments), made.time, segments=segments)


def entries_of(made: ProgressMade, segments: bool) -> Sequence[Entry]:
    """What a commit adds to the journal."""
    return made.segments if segments else made.moved


def chain(newest: str, get: Get) -> Iterator[Entry]:
    """Every entry of the chunks up to the one of this digest, in order. Raises `NotFoundError` or `DigestError`."""
    chunks = []
    while newest:
        chunks.append(decode(get(newest)))
        newest = chunks[-1].before
    for chunk in reversed(chunks):
        yield from chunk.entries


class Moves:
    """Recorded moves, made again where they stood: each before the record at its offset."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._left: dict[Partition, list[tuple[int, int]]] = {}
        for topic, number, offset, time in entries:
            self._left.setdefault(Partition(topic, number), []).append((offset, time))

    def feed(self, intake: Intake, partition: Partition, records: Sequence[Record]) -> tuple[int, list[Rejected]]:
        """`intake.take`, with the moves that stand among the records."""
        rows, rejected = 0, list[Rejected]()
        while (left := self._left.get(partition)) and left[0][0] <= records[-1].offset:
            offset, time = left.pop(0)
            before = [r for r in records if r.offset < offset]
            if before:
                got, bad = intake.take(partition, before)
                rows, records = rows + got, records[len(before) :]
                rejected += bad
            intake.move(partition, time)
        got, bad = intake.take(partition, records)
        return rows + got, rejected + bad

    def reach(self, intake: Intake, positions: Mapping[Partition, int]) -> None:
        """Make the moves at or before these positions, behind everything fed."""
        for partition, left in self._left.items():
            while left and left[0][0] <= positions.get(partition, -1):
                intake.move(partition, left.pop(0)[1])

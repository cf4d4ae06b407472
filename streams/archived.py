"""A log together with an archive of what it has lost, for rebuilding: read-only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn

from tidemill.errors import GoneError, NotFoundError, UserError
from tidemill.log import Log, Partition, Reader, Record, TopicSpec, Writer, gone
from tidemill.version import Span

Archive = Callable[[Span], Sequence[Record]]
"""The records of a range that the log no longer holds, in offset order. Raises `GoneError` where it lacks any."""

PIECE = 50_000
"""Offsets taken from the archive at a time."""


class ArchivedLog:
    """`log`, and of the ranges `spans` what it no longer holds from `archive`; see `tidemill.log.Log`.

    Raises `GoneError` naming the range where the log ends before a span does, or has lost of it and there is no
    archive.
    """

    def __init__(self, log: Log, spans: Iterable[Span], archive: Archive | None) -> None:
        self.log, self.archive = log, archive
        self.held: dict[Partition, Span] = {}
        """What the archive is asked for. It ends where the log begins, or is all that is asked of a partition."""
        self.only: set[Partition] = set()
        """Partitions of which nothing is read from the log."""
        topics = log.topics()
        for span in spans:
            p = Partition(span.topic, span.partition)
            there = topics.get(p.topic, 0) > p.number
            begin, end = (log.begin(p), log.end(p)) if there else (span.next, span.next)
            if end < span.next:
                raise _gone(p, max(end, span.first), span.next)
            if span.first < min(begin, span.next):
                if archive is None:
                    raise _gone(p, span.first, min(begin, span.next))
                self.held[p] = Span(p.topic, p.number, span.first, min(begin, span.next))
            if not there or begin > span.next:
                self.only.add(p)
                self.held.setdefault(p, Span(p.topic, p.number, span.next, span.next))

    def topics(self) -> dict[str, int]:
        out = self.log.topics()
        for p in self.only:
            out[p.topic] = max(out.get(p.topic, 0), p.number + 1)
        return out

    def partitions(self, topic: str) -> list[Partition]:
        count = self.topics().get(topic)
        if count is None:
            raise NotFoundError("no such topic", where=topic)
        return [Partition(topic, n) for n in range(count)]

    def begin(self, partition: Partition) -> int:
        return self.held[partition].first if partition in self.held else self.log.begin(partition)

    def end(self, partition: Partition) -> int:
        return self.held[partition].next if partition in self.only else self.log.end(partition)

    def reader(self, positions: Mapping[Partition, int]) -> Reader:
        return _ArchivedReader(self, positions)

    def create(self, topic: str, spec: TopicSpec) -> bool:
        _read_only(topic)

    def writer(self, transactional_id: str = "") -> Writer:
        _read_only(transactional_id)

    def close(self) -> None:
        """The log stays open: it is whoever's made it."""


class _ArchivedReader:
    """Gives what is archived first, partition by partition, then reads on in the log."""

    def __init__(self, whole: ArchivedLog, positions: Mapping[Partition, int]) -> None:
        self._whole = whole
        self._at = dict(positions)
        self._pieces: dict[Partition, tuple[list[Record], int]] = {}
        self._live: Reader | None = None

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        for p in self._at:
            if records := self._archived(p, max_records):
                return records
        if self._live is None:
            self._live = self._whole.log.reader({p: at for p, at in self._at.items() if p not in self._whole.only})
        if len(self._whole.only & self._at.keys()) == len(self._at):
            time.sleep(timeout)  # nothing will come; whoever waits is not made to spin
            return []
        records = self._live.poll(max_records, timeout)
        self._at |= self._live.positions()
        return records

    def _archived(self, p: Partition, most: int) -> list[Record]:
        """The next archived records of a partition; none where the log takes over."""
        held = self._whole.held.get(p)
        if held is None:
            return []
        if self._at[p] < held.first or (p in self._whole.only and self._at[p] > held.next):
            raise gone(p, self._at[p], held.first, self._whole.end(p))
        while self._at[p] < held.next:
            records, stop = self._pieces.pop(p, ([], 0))
            if not records:
                stop = min(self._at[p] + PIECE, held.next)
                records = self._ask(p, stop, held)
            out, rest = records[:most], records[most:]
            if rest:
                self._pieces[p] = rest, stop
            self._at[p] = rest[0].offset if rest else stop
            if out:
                return out
        return []

    def _ask(self, p: Partition, stop: int, held: Span) -> list[Record]:
        assert self._whole.archive is not None
        try:
            return list(self._whole.archive(Span(p.topic, p.number, self._at[p], stop)))
        except GoneError as error:
            # The archive knows of this piece only; what is missed is all that the log no longer has.
            raise _gone(p, self._at[p], held.next, error.got) from None

    def positions(self) -> dict[Partition, int]:
        return dict(self._at)

    def close(self) -> None:
        if self._live is not None:
            self._live.close()


def _read_only(what: str) -> NoReturn:
    raise UserError("a log with its archive is read-only", where=what, fix="Write into the log itself.")


def _gone(p: Partition, first: int, stop: int, got: str = "") -> GoneError:
    return GoneError(
        "records that were learned from are gone, and no archive holds them",
        where=f"{p.topic}/{p.number}",
        wanted=f"offsets {first} to {stop - 1}",
        got=got,
        fix="A version stands as it is and cannot be rebuilt; a job begins again by `tidemill submit --reset`, "
        "a run by `tidemill train`.",
    )

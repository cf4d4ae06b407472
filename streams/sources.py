"""Reading a job's partitions: history first, then Kafka; bounded, paused where one runs ahead, up to a target."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Protocol

from streams.pipeline import Source
from streams.progress import POLL
from tidemill.errors import NotFoundError, SubmissionError, UnavailableError
from tidemill.job import Job
from tidemill.log import Log, Partition, Reader, Record
from tidemill.stream import StreamSpec

HISTORY = "history:"

_BYTES = 32 * 1024 * 1024
"""Bytes that one poll aims at, at most."""


def sources_of(
    job: Job[Any], streams: Mapping[str, StreamSpec], log: Log, histories: Mapping[str, Log]
) -> list[Source]:
    """Every partition that `job` reads. A history's partitions are named `history:<stream>`, numbered over its topics.

    Raises `NotFoundError` for a stream that is not declared.
    """
    out = []
    for read in job.reads:
        spec = streams.get(read.stream)
        if spec is None:
            raise NotFoundError("no such stream", where=f"job {job.name}", got=read.stream, fix="Declare it first.")
        if read.stream in histories:
            count = len(_real(histories[read.stream]))
            out += [Source(Partition(HISTORY + read.stream, n), read.stream, True) for n in range(count)]
        out += [Source(p, read.stream) for p in log.partitions(spec.topic)]
    topics = [s.partition for s in out]
    if len(set(topics)) != len(topics):
        raise SubmissionError("reads a topic twice", where=f"job {job.name}")
    return out


def _real(log: Log) -> list[Partition]:
    return [p for topic in sorted(log.topics()) for p in log.partitions(topic)]


class Reading(Protocol):
    """Partitions that are being read: how far, and which of them are held back for now."""

    @property
    def paused(self) -> frozenset[Partition]: ...

    def positions(self) -> dict[Partition, int]: ...

    def end(self, partition: Partition) -> int: ...

    def finished(self, partition: Partition) -> bool: ...

    def pause(self, partitions: Iterable[Partition]) -> None: ...


class _Open:
    """A reader of one log, and what its partitions are called there and here."""

    def __init__(self, log: Log, names: Mapping[Partition, Partition], positions: Mapping[Partition, int]) -> None:
        self.here = {there: here for here, there in names.items()}
        self.rename = any(here != there for here, there in names.items())
        self.reader: Reader = log.reader({there: positions[here] for here, there in names.items()})

    def poll(self, most: int, timeout: float) -> dict[Partition, list[Record]]:
        records = self.reader.poll(most, timeout)
        out: dict[Partition, list[Record]] = {}
        if not records:
            return out
        if len(self.here) == 1:
            (here,) = self.here.values()
            out[here] = records
        else:
            for record in records:
                there = Partition(record.topic, record.partition)
                run = out.get(there)
                if run is None:
                    run = out[there] = []
                run.append(record)
            out = {self.here[there]: run for there, run in out.items()}
        if self.rename:
            out = {here: [Record(here.topic, here.number, *r[2:]) for r in run] for here, run in out.items()}
        return out

    def positions(self) -> dict[Partition, int]:
        return {self.here[there]: at for there, at in self.reader.positions().items() if there in self.here}


class Sources:
    """Reads `sources` from `positions` on.

    A history is read up to the end it has now; with `until`, every partition is read up to there at most. `rest` are
    the partitions to hold back for now (`pause`). Partitions that wait for a history are not read before its end.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        log: Log,
        histories: Mapping[str, Log],
        positions: Mapping[Partition, int],
        *,
        until: Mapping[Partition, int] | None = None,
        all_histories_first: bool = False,
    ) -> None:
        self._sources = {s.partition: s for s in sources}
        self._log, self._histories = log, histories
        self._real = {
            Partition(HISTORY + stream, n): real
            for stream, history in histories.items()
            for n, real in enumerate(_real(history))
        }
        self._at = dict(positions)
        self._until = dict(until or {})
        self._all_first = all_histories_first
        for p in self._real:
            end = self._histories[self._sources[p].stream].end(self._real[p])
            self._until[p] = min(end, self._until.get(p, end))
        self._ends = {p: self._histories[self._sources[p].stream].end(r) for p, r in self._real.items()}
        self._paused: frozenset[Partition] = frozenset()
        self._reading: frozenset[Partition] = frozenset()
        self._open: list[_Open] = []
        self._average = 4096.0

    def positions(self) -> dict[Partition, int]:
        """The next offset of every partition."""
        return dict(self._at)

    def end(self, partition: Partition) -> int:
        """Where the partition ends now."""
        known = self._ends.get(partition)
        return self._log.end(partition) if known is None else known

    def ended(self) -> set[str]:
        """The streams whose history has been read to its end."""
        open_ = {self._sources[p].stream for p, end in self._ends.items() if self._at[p] < end}
        return set(self._histories) - open_

    def finished(self, partition: Partition) -> bool:
        """Whether the partition has a target and has reached it."""
        return partition in self._until and self._at[partition] >= self._until[partition]

    def done(self) -> bool:
        """Whether every partition with a target has reached it."""
        return all(self._at[p] >= target for p, target in self._until.items())

    def reading(self) -> frozenset[Partition]:
        """The partitions that are read now: not at their target, not paused, not waiting for a history."""
        ended = self.ended()
        out = []
        for p, source in self._sources.items():
            if self.finished(p):
                continue
            waits = self._histories.keys() if self._all_first else {source.stream} & self._histories.keys()
            if not source.history and not waits <= ended:
                continue
            out.append(p)
        return frozenset(out) - self._paused

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Hold these back, and no others."""
        self._paused = frozenset(partitions)

    @property
    def paused(self) -> frozenset[Partition]:
        return self._paused

    def poll(self, most: int, timeout: float) -> list[tuple[Partition, list[Record]]]:
        """The next records, in runs of one partition each; empty after `timeout` seconds without any."""
        self._follow()
        out: dict[Partition, list[Record]] = {}
        few = max(1, min(most, int(_BYTES / self._average)))
        for i, open_ in enumerate(self._open):
            wait = timeout if not out and i == len(self._open) - 1 else 0.0
            for p, records in open_.poll(few, wait).items():
                until = self._until.get(p)
                if until is not None and records[-1].offset >= until:
                    records = [r for r in records if r.offset < until]
                if records:
                    out[p] = records
            for p, at in open_.positions().items():
                until = self._until.get(p)
                self._at[p] = at if until is None else min(at, until)
        self._weigh(out)
        return list(out.items())

    def _weigh(self, runs: Mapping[Partition, Sequence[Record]]) -> None:
        count = sum(len(run) for run in runs.values())
        if count:
            size = sum([len(r.value or b"") for run in runs.values() for r in run])
            self._average = max(size / count + 64, 0.7 * self._average)

    def _follow(self) -> None:
        """Open readers of exactly what is to be read now."""
        reading = self.reading()
        if reading == self._reading:
            return
        self.close()
        by_log: dict[str, dict[Partition, Partition]] = {}
        for p in sorted(reading):
            source = self._sources[p]
            by_log.setdefault(source.stream if source.history else "", {})[p] = self._real.get(p, p)
        for name, names in by_log.items():
            log = self._histories[name] if name else self._log
            self._open.append(_Open(log, names, self._at))
        self._reading = reading

    def close(self) -> None:
        for open_ in self._open:
            open_.reader.close()
        self._open, self._reading = [], frozenset()


class Segments:
    """Reads recorded segments in their order, whichever partitions they alternate between.

    `renamed` gives the log and its own partition for those that are called otherwise here (histories).
    """

    def __init__(self, log: Log, histories: Mapping[str, Log]) -> None:
        self._real = {
            Partition(HISTORY + stream, n): (history, real)
            for stream, history in histories.items()
            for n, real in enumerate(_real(history))
        }
        self._log = log
        self._readers: dict[Partition, _Open] = {}
        self._stash: dict[Partition, list[Record]] = {}

    def runs(
        self, segments: Iterable[tuple[str, int, int, int]], most: int = 20_000, timeout: float = 30.0
    ) -> Iterator[tuple[Partition, list[Record]]]:
        """The records of `segments` in their order, in runs of one partition. Of later calls the segments go on, in
        each partition, where those before ended.

        Raises `UnavailableError` where a log stays silent before the end of a segment, `GoneError` as readers do.
        """
        for topic, number, first, stop in segments:
            p = Partition(topic, number)
            at, waited = first, 0.0
            while at < stop:
                records = self._stash.pop(p, None) or []
                if not records:
                    records = self._reader(p, first).poll(most, POLL).get(p, [])
                    position = self._readers[p].positions()[p]
                    waited = 0.0 if records or position >= stop else waited + POLL
                    if waited >= timeout:
                        raise UnavailableError("the log gives no more records", where=f"{topic}/{number} at {position}")
                    at = position
                mine = records[: bisect_left(records, stop, key=attrgetter("offset"))]
                if len(mine) < len(records):
                    self._stash[p] = records[len(mine) :]
                    at = stop
                if mine:
                    yield p, mine
                    at = max(at, mine[-1].offset + 1)

    def _reader(self, p: Partition, first: int) -> _Open:
        if p not in self._readers:
            log, real = self._real.get(p, (self._log, p))
            self._readers[p] = _Open(log, {p: real}, {p: first})
        return self._readers[p]

    def close(self) -> None:
        for open_ in self._readers.values():
            open_.reader.close()

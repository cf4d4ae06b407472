"""A log that breaks on purpose, around any other: for proving what engines do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tidemill.errors import UnavailableError
from tidemill.log import Headers, Log, Partition, Reader, Record, TopicSpec, Writer

Hook = Callable[[str], None]
"""Called with the name of each point passed: `poll`, `begin`, `send`, `before commit`, `after commit`. It may raise."""


class Crash(BaseException):
    """The process dies here: nothing that runs afterwards reaches the log."""


class FaultyLog:
    """`log` with a `hook` at every point where a process can die or a connection break.

    After a `Crash` every further use through this object is refused with it, as from a dead process.
    """

    def __init__(self, log: Log, hook: Hook) -> None:
        self.log, self._hook = log, hook
        self.dead = False

    def at(self, point: str) -> None:
        if self.dead:
            raise Crash(point)
        try:
            self._hook(point)
        except Crash:
            self.dead = True
            raise

    def topics(self) -> dict[str, int]:
        return self.log.topics()

    def create(self, topic: str, spec: TopicSpec) -> bool:
        return self.log.create(topic, spec)

    def partitions(self, topic: str) -> list[Partition]:
        return self.log.partitions(topic)

    def begin(self, partition: Partition) -> int:
        return self.log.begin(partition)

    def end(self, partition: Partition) -> int:
        return self.log.end(partition)

    def reader(self, positions: Mapping[Partition, int]) -> Reader:
        return _FaultyReader(self, self.log.reader(positions))

    def writer(self, transactional_id: str = "") -> Writer:
        writer = self.log.writer(transactional_id)
        return _FaultyWriter(self, writer) if transactional_id else writer

    def close(self) -> None:
        self.log.close()


class _FaultyReader:
    def __init__(self, faulty: FaultyLog, reader: Reader) -> None:
        self._faulty, self._reader = faulty, reader

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        self._faulty.at("poll")
        return self._reader.poll(max_records, timeout)

    def positions(self) -> dict[Partition, int]:
        return self._reader.positions()

    def close(self) -> None:
        self._reader.close()


class _FaultyWriter:
    def __init__(self, faulty: FaultyLog, writer: Writer) -> None:
        self._faulty, self._writer = faulty, writer

    def send(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, headers: Headers = (), partition: int = -1
    ) -> None:
        self._faulty.at("send")
        self._writer.send(topic, value, key=key, headers=headers, partition=partition)

    def flush(self, timeout: float = 30.0) -> None:
        self._writer.flush(timeout)

    def begin(self) -> None:
        self._faulty.at("begin")
        self._writer.begin()

    def commit(self, offsets: Mapping[Partition, int] | None = None, group: str = "") -> None:
        self._faulty.at("before commit")
        self._writer.commit(offsets, group)
        self._faulty.at("after commit")

    def abort(self) -> None:
        if not self._faulty.dead:
            self._writer.abort()

    def close(self) -> None:
        if not self._faulty.dead:
            self._writer.close()


def crash_at(point: str, nth: int) -> Hook:
    """Dies at the `nth` (from 1) passing of `point`."""
    return _nth(point, nth, lambda: Crash(f"{point} {nth}"))


def break_at(point: str, nth: int) -> Hook:
    """The connection breaks once, at the `nth` passing of `point`: the outcome is unknown to the caller."""
    return _nth(point, nth, lambda: UnavailableError("the connection broke", where=f"{point} {nth}"))


def _nth(point: str, nth: int, error: Callable[[], BaseException]) -> Hook:
    passed = 0

    def hook(at: str) -> None:
        nonlocal passed
        if at == point:
            passed += 1
            if passed == nth:
                raise error()

    return hook

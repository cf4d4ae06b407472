"""Snapshots in a Faust table, so in its changelog topic.

A snapshot is cut into chunks of `CHUNK` bytes, written into the slot that the one before does not stand in; the record
`head`, written when they are delivered, makes it count. So a kill at any moment leaves the one before, and a state may
be larger than a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec

from tidemill import state as states
from tidemill.errors import UnavailableError
from tidemill.log import Log, Partition, TopicSpec

CHUNK = 512 * 1024
"""Bytes of a snapshot in one record: below the smallest limit that brokers are commonly set to."""

CHANGELOG = TopicSpec(compacted=True)

_PATIENCE = 30.0
_HEAD = b"head"

Table = Mapping[bytes, bytes]


class _Kept(msgspec.Struct, frozen=True):
    """A snapshot in the table: its slot, and how many chunks it is cut into."""

    sequence: int
    slot: int
    chunks: int
    digest: str


def app_of(job: str) -> str:
    """The name of a job's app, which is that of its consumer group."""
    return f"tidemill.{job}"


def changelog_of(job: str) -> str:
    """The changelog topic of a job's table."""
    return f"{app_of(job)}-state-changelog"


def load(table: Table, at_most: int | None = None) -> tuple[int, bytes] | None:
    """The newest sound snapshot in the table (of a sequence ≤ `at_most`), or None."""
    for kept in _kept(table):
        if at_most is None or kept.sequence <= at_most:
            data = b"".join([table.get(_key(kept.slot, i), b"") for i in range(kept.chunks)])
            if states.digest(data) == kept.digest:
                return kept.sequence, data
    return None


def read(log: Log, job: str, timeout: float = 0.1) -> Table:
    """The table of a job's app, from its changelog; empty where there is none."""
    at, table = Partition(changelog_of(job), 0), dict[bytes, bytes]()
    if at.topic not in log.topics():
        return table
    end, reader, silent = log.end(at), log.reader({at: log.begin(at)}), 0.0
    try:
        while reader.positions()[at] < end:
            records = reader.poll(100, timeout)
            silent = 0.0 if records else silent + timeout
            if silent >= _PATIENCE:
                raise UnavailableError("the log gives no more records", where=at.topic)
            for record in records:
                if record.value is None:
                    table.pop(record.key or b"", None)
                else:
                    table[record.key or b""] = record.value
    finally:
        reader.close()
    return table


class TableStore:
    """A `tidemill.state.StateStore` in Faust's `table`. Its methods are called from other threads than the `loop`'s."""

    def __init__(self, table: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.table, self._loop = table, loop

    def save(self, job: str, sequence: int, data: bytes) -> None:
        self._wait(self._save(sequence, data))

    def load(self, job: str, at_most: int | None = None) -> tuple[int, bytes] | None:
        return load(self.table.data, at_most)

    def clear(self, job: str) -> None:
        self._wait(self._put(_HEAD, None))

    def _wait(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result()

    async def _save(self, sequence: int, data: bytes) -> None:
        before = _kept(self.table.data)
        slot = 1 - before[0].slot if before else 0
        chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
        for i, chunk in enumerate(chunks):
            await self._put(_key(slot, i), chunk)
        newest = _Kept(sequence, slot, len(chunks), states.digest(data))
        await self._put(_HEAD, msgspec.msgpack.encode([newest, *before[:1]]))
        for old in before[1:]:
            for i in range(len(chunks), old.chunks):
                await self._put(_key(slot, i), None)

    async def _put(self, key: bytes, value: bytes | None) -> None:
        """Into the changelog; what the table holds follows when it is delivered."""
        sent = self.table.send_changelog(0, key, value, key_serializer="raw", value_serializer="raw")
        try:
            await asyncio.wait_for(sent, _PATIENCE)
        except TimeoutError:
            topic = self.table.changelog_topic_name
            raise UnavailableError(f"not acknowledged after {_PATIENCE:.0f} s", where=topic) from None
        if value is None:
            self.table.data.pop(key, None)
        else:
            self.table.data[key] = value


def _kept(table: Table) -> list[_Kept]:
    """The snapshots there are, the newest first."""
    head = table.get(_HEAD)
    return msgspec.msgpack.decode(head, type=list[_Kept]) if head else []


def _key(slot: int, number: int) -> bytes:
    return f"{slot}/{number:06d}".encode()

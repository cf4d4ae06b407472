"""A read-only log over rows in memory, in event-time order: what files and data sets are read through.

One topic, the stream's, with one partition. Rows are sorted by event time (those of equal time keep their order), so
none is late. Records count from 0: first Arrow blocks of up to 4,096 rows of the table, then lines of JSON by their
event time, then what has no usable event time. The same rows and declaration always give the same records.
"""

from __future__ import annotations

import time as clock
from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np
import pyarrow as pa

from connectors.arrow import CONTENT_TYPE, batch_bytes, from_numpy, to_numpy
from tidemill.errors import GoneError, NotFoundError, UserError
from tidemill.log import Log, Partition, Reader, Record, TopicSpec, Writer
from tidemill.stream import StreamSpec

BLOCK_ROWS = 4_096
HEADERS = (("content-type", CONTENT_TYPE.encode()),)


class TableLog(Log):
    """The log of `table`, whose columns are the fields of `spec` and whose event time is int64 microseconds or an
    Arrow timestamp; and of `lines`, each with its event time, and `rest`, which have none.

    A table and lines in one log keep order only within each of the two.
    """

    def __init__(
        self,
        spec: StreamSpec,
        table: pa.Table | None = None,
        lines: Sequence[tuple[int, bytes]] = (),
        rest: Sequence[bytes] = (),
    ) -> None:
        self._partition = Partition(spec.topic, 0)
        self._lines = sorted(lines, key=lambda line: line[0])
        self._rest = rest
        self._table = table
        self._times = np.empty(0, dtype=np.int64)
        if table is not None:
            times = to_numpy(table[spec.time].cast(pa.int64()))
            if (np.diff(times) < 0).any():
                order = np.argsort(times, kind="stable")
                times, table = times[order], table.take(from_numpy(order))
            self._times, self._table = times, table.combine_chunks()
        self._blocks = -(-len(self._times) // BLOCK_ROWS)

    def __len__(self) -> int:
        return self._blocks + len(self._lines) + len(self._rest)

    def record(self, offset: int) -> Record:
        """The record at an offset, encoded now."""
        topic = self._partition.topic
        if offset < self._blocks:
            assert self._table is not None
            first = offset * BLOCK_ROWS
            [batch] = self._table.slice(first, BLOCK_ROWS).to_batches()
            last = min(first + BLOCK_ROWS, len(self._times)) - 1
            return Record(topic, 0, offset, None, batch_bytes(batch), HEADERS, int(self._times[last]))
        at = offset - self._blocks
        if at < len(self._lines):
            time, line = self._lines[at]
            return Record(topic, 0, offset, None, line, (), time)
        newest = max([t for t, _ in self._lines[-1:]] + self._times[-1:].tolist(), default=0)
        return Record(topic, 0, offset, None, self._rest[at - len(self._lines)], (), newest)

    def topics(self) -> dict[str, int]:
        return {self._partition.topic: 1}

    def partitions(self, topic: str) -> list[Partition]:
        if topic != self._partition.topic:
            raise NotFoundError("no such topic", wanted=self._partition.topic, got=repr(topic))
        return [self._partition]

    def begin(self, partition: Partition) -> int:
        self._check(partition)
        return 0

    def end(self, partition: Partition) -> int:
        self._check(partition)
        return len(self)

    def reader(self, positions: Mapping[Partition, int]) -> Reader:
        for partition in positions:
            self._check(partition)
        return _TableReader(self, positions)

    def create(self, topic: str, spec: TopicSpec) -> bool:
        _read_only()

    def writer(self, transactional_id: str = "") -> Writer:
        _read_only()

    def close(self) -> None:
        pass

    def _check(self, partition: Partition) -> None:
        if partition != self._partition:
            raise NotFoundError("no such partition", wanted=str(self._partition), got=str(partition))


class _TableReader(Reader):
    def __init__(self, log: TableLog, positions: Mapping[Partition, int]) -> None:
        self._log = log
        self._at = dict(positions)

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        out: list[Record] = []
        for partition, at in self._at.items():
            if not 0 <= at <= len(self._log):
                raise GoneError(
                    "the position is not of these rows",
                    where=f"{partition.topic}/{partition.number}",
                    wanted=f"0..{len(self._log)}",
                    got=str(at),
                    fix="Give the files as they were when they were first read.",
                )
            stop = min(at + max_records - len(out), len(self._log))
            out += [self._log.record(offset) for offset in range(at, stop)]
            self._at[partition] = stop
        if not out:
            clock.sleep(timeout)  # nothing will come; whoever waits is not made to spin
        return out

    def positions(self) -> dict[Partition, int]:
        return dict(self._at)

    def close(self) -> None:
        pass


def _read_only() -> NoReturn:
    raise UserError(
        "this log is read-only", fix="Publish to a stream, or write a file with connectors.files.write_table."
    )

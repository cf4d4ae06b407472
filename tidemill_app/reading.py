"""Reading a topic from end to end, or a part of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from tidemill.errors import UnavailableError
from tidemill.log import Log, Partition, Reader, Record
from tidemill.version import Span

_TIMEOUT = 30.0


def read_all(log: Log, topic: str) -> Iterator[Record]:
    """Every committed record of `topic` up to where it ends now, in offset order within each partition."""
    partitions = log.partitions(topic)
    yield from read_spans(log, {p: (log.begin(p), log.end(p)) for p in partitions})


def read_on(reader: Reader, partition: Partition, end: int, *, timeout: float = _TIMEOUT) -> Iterator[Record]:
    """What `reader` has not read yet of its one partition: at least up to `end`, and all that came with it.

    Raises as `read_spans`.
    """
    deadline = time.monotonic() + timeout
    while (at := reader.positions()[partition]) < end:
        records = reader.poll(2000, 0.1)
        yield from records
        if records:
            deadline = time.monotonic() + timeout
        elif time.monotonic() > deadline:
            where = f"{partition.topic}/{partition.number} at {at} of {end}"
            raise UnavailableError("no answer from the log", got=f"nothing for {timeout:g} s", where=where)


def read_spans(
    log: Log, spans: Mapping[Partition, tuple[int, int]], *, chunk: int = 2000, timeout: float = _TIMEOUT
) -> Iterator[Record]:
    """The committed records of each partition from its first offset up to (not with) its last.

    Raises `GoneError` where a first offset is no longer kept, and `UnavailableError` where nothing comes for
    `timeout` seconds.
    """
    left = {p: (first, end) for p, (first, end) in spans.items() if first < end}
    if not left:
        return
    reader = log.reader({p: first for p, (first, _) in left.items()})
    try:
        deadline = time.monotonic() + timeout
        while left:
            records = reader.poll(chunk, 0.5)
            for record in records:
                span = left.get(Partition(record.topic, record.partition))
                if span is not None and record.offset < span[1]:
                    yield record
            at = reader.positions()
            before = len(left)
            left = {p: span for p, span in left.items() if at.get(p, span[0]) < span[1]}
            if records or len(left) < before:
                deadline = time.monotonic() + timeout
            elif time.monotonic() > deadline:
                waiting = ", ".join(f"{p.topic}/{p.number} at {at.get(p)} of {span[1]}" for p, span in left.items())
                raise UnavailableError("no answer from the log", got=f"nothing for {timeout:g} s", where=waiting)
    finally:
        reader.close()


def pieces(log: Log, span: Span, size: int = 2000) -> Iterator[list[Record]]:
    """The committed records of a span, at most `size` at a time. Raises as `read_spans`."""
    held: list[Record] = []
    for record in read_spans(log, {Partition(span.topic, span.partition): (span.first, span.next)}):
        held.append(record)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held

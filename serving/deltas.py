"""Reading a model's deltas from where a version stands, without reading the topic from its beginning."""

from __future__ import annotations

from tidemill import events
from tidemill.errors import BadEvent
from tidemill.events import DeltaPublished
from tidemill.log import Log, Partition
from tidemill.time import MINUTE

MARGIN = 2 * MINUTE
"""A version and the deltas around it are written in one transaction, which lasts no longer than this."""

_NEAR = 2_000


def offset_at(log: Log, partition: Partition, time: int) -> int:
    """An offset before which every record was appended before `time` (µs), found by bisection; append times never
    fall."""
    low, high = log.begin(partition), log.end(partition)
    while high - low > _NEAR:
        middle = (low + high) // 2
        reader = log.reader({partition: middle})
        try:
            found = reader.poll(1, 2.0)
        finally:
            reader.close()
        if found and found[0].timestamp < time:
            low = found[0].offset + 1
        else:
            high = middle
    return low


def read_since(log: Log, partition: Partition, published: int) -> tuple[list[DeltaPublished], int, bool]:
    """The deltas that a version appended at `published` (µs) may lack, the next offset to read, and whether they
    belong to a run of the job that began after that version.

    A job that learns again from scratch numbers its deltas from 1 again; those before are left out.
    """
    at = offset_at(log, partition, published - MARGIN)
    end = log.end(partition)
    reader = log.reader({partition: at})
    deltas: list[DeltaPublished] = []
    restarted_at: int | None = None
    try:
        while reader.positions()[partition] < end:
            for record in reader.poll(5_000, 0.1):
                delta = delta_of(record.value)
                if delta is None:
                    continue
                if deltas and delta.sequence <= deltas[-1].sequence:
                    deltas.clear()
                    restarted_at = record.timestamp
                deltas.append(delta)
        next_offset = reader.positions()[partition]
    finally:
        reader.close()
    return deltas, next_offset, restarted_at is not None and restarted_at > published


def delta_of(value: bytes | None) -> DeltaPublished | None:
    """The delta in a record; None where it holds something else."""
    try:
        event = events.decode(value or b"")
    except BadEvent:
        return None
    return event if isinstance(event, DeltaPublished) else None

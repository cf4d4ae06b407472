"""Reading a model's deltas from where a version stands, without reading the topic from its beginning."""

from __future__ import annotations

from tidemill import events
from tidemill.errors import BadEvent
from tidemill.events import DeltaPublished
from tidemill.log import Log, Partition, offset_before
from tidemill.time import MINUTE

MARGIN = 2 * MINUTE
"""A version and the deltas around it are written in one transaction, which lasts no longer than this."""


def read_since(log: Log, partition: Partition, published: int) -> tuple[list[DeltaPublished], int, bool]:
    """The deltas that a version appended at `published` (µs) may lack, the next offset to read, and whether they
    belong to a run of the job that began after that version.

    A job that learns again from scratch numbers its deltas from 1 again; those before are left out.
    """
    at = offset_before(log, partition, published - MARGIN)
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

"""Records between Java and Python, many in one message: msgpack that `Gather.java` writes and `Scatter.java` reads.

What crosses one by one costs each element a dozen calls on both sides, headers most of all; a run costs one, and its
records nothing but the copying of their bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from streams.emit import Sent
from tidemill.log import Partition, Record

MOST_SENT = 5_000
"""Records in one message to the sink, which holds it in memory as a whole."""

_Headers = tuple[tuple[str, bytes | None], ...]
_run = msgspec.msgpack.Decoder(list[tuple[int, bytes | None, bytes | None, _Headers, int]])
_encoder = msgspec.msgpack.Encoder()


def records_of(run: bytes, partition: Partition) -> list[Record]:
    """The records of a run of one partition; those with a negative offset are moves of its clock."""
    topic, number = partition
    return [Record(topic, number, *fields) for fields in _run.decode(run)]  # type: ignore[arg-type]


def packed(records: Sequence[Sent]) -> Iterator[bytes]:
    """Records to send, `MOST_SENT` in a message."""
    for at in range(0, len(records), MOST_SENT):
        yield _encoder.encode(records[at : at + MOST_SENT])

"""What a job read, hashed while reading: counts and a running SHA-256 per partition.

Records are hashed in frames of 256, counted from the job's first record of the partition, so the hash does not depend
on how the records came in. With H the SHA-256, and a frame's bytes its offsets and lengths (int64, little-endian; −1
for an absent key or value) followed by its keys and values:

    chain_0 = H("")      chain_k = H(chain_{k−1} ‖ frame_k)

A key or value above 4 KiB enters as its own SHA-256, so that what is pending between snapshots stays small. The hash
over all partitions is H over each partition's topic, number, count and chain, the last frame as short as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from tidemill.log import Partition, Record

_FRAME = 256
_LARGE = 4096

Parts = Sequence[bytes | None]


class RunningHash(msgspec.Struct):
    """The running hash of one partition; plain data itself, so it goes into a snapshot as it is."""

    chain: bytes = hashlib.sha256().digest()
    count: int = 0
    pending: list[tuple[int, bytes | None, bytes | None]] = []

    def add(self, records: Sequence[Record]) -> None:
        """The next records of the partition."""
        if not records:
            return
        self.count += len(records)
        _, _, offsets, keys, values, _, _ = zip(*records, strict=True)
        columns = [offsets, _short(keys), _short(values)]
        if self.pending:
            columns = [[*first, *rest] for first, rest in zip(zip(*self.pending, strict=True), columns, strict=True)]
        full = len(columns[0]) // _FRAME * _FRAME
        for at in range(0, full, _FRAME):
            self.chain = _link(self.chain, *(part[at : at + _FRAME] for part in columns))
        self.pending = list(zip(*(part[full:] for part in columns), strict=True))

    def digest(self) -> bytes:
        """The chain over everything added."""
        return _link(self.chain, *zip(*self.pending, strict=True)) if self.pending else self.chain


def _short(parts: Parts) -> Parts:
    if max([len(part) for part in parts if part is not None], default=0) <= _LARGE:
        return parts
    return [p if p is None or len(p) <= _LARGE else hashlib.sha256(p).digest() for p in parts]


def _link(chain: bytes, offsets: Sequence[int], keys: Parts, values: Parts) -> bytes:
    lengths = [[-1 if part is None else len(part) for part in parts] for parts in (keys, values)]
    numbers = np.array([offsets, *lengths], dtype="<i8").tobytes()
    return hashlib.sha256(b"".join((chain, numbers, *filter(None, keys), *filter(None, values)))).digest()


def records_hash(parts: Iterable[tuple[Partition, RunningHash]]) -> tuple[int, str]:
    """How many records, and the hash over all partitions in hexadecimal. Partitions without records count for none."""
    total, whole = 0, hashlib.sha256()
    for partition, running in sorted(parts, key=lambda item: item[0]):
        if running.count:
            total += running.count
            whole.update(f"{partition.topic}/{partition.number}/{running.count}/".encode() + running.digest())
    return total, whole.hexdigest()

"""Which examples were learned, and in which epoch: every use, committed with the checkpoint that holds its effect.

Uses are written in segments, each named by its digest and naming the one before. A checkpoint names the newest; what
was learned after it is rolled back with the weights and is in no segment that a checkpoint reaches. So the uses of a
run, however often it was killed, are those its last checkpoint reaches, no more and no fewer.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.errors import DigestError, NotFoundError
from tidemill.state import decode, digest, encode
from training.durable import write_durably

Int32 = NDArray[np.int32]


class Segment(msgspec.Struct, frozen=True):
    """`uses` (N, 2): the number of the example in its split, and the epoch. `before` is the digest of the segment
    before (empty: the first)."""

    before: str
    uses: np.ndarray


class Ledger:
    """The uses of a run, in `folder`; `newest` is the digest of the last segment that was written or resumed from."""

    def __init__(self, folder: Path, newest: str = "") -> None:
        self.folder = folder
        self.newest = newest

    def append(self, uses: Int32) -> str:
        """Write a segment durably; its digest. It counts only once a checkpoint names it."""
        if len(uses):
            data = encode(Segment(self.newest, np.ascontiguousarray(uses, np.int32)))
            self.newest = digest(data)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_durably(self.folder / self.newest, data)
        return self.newest

    def uses(self) -> Int32:
        """All uses (N, 2) that the newest segment reaches, in the order they were committed. Raises `DigestError`, or
        `NotFoundError`, where one is damaged or missing."""
        found: list[Int32] = []
        at = self.newest
        while at:
            segment = self._read(at)
            found.append(segment.uses.astype(np.int32))
            at = segment.before
        return np.concatenate(found[::-1]) if found else np.zeros((0, 2), np.int32)

    def _read(self, name: str) -> Segment:
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise NotFoundError(
                "a segment of the ledger is missing", where=str(self.folder / name), got=str(error)
            ) from None
        if (got := digest(data)) != name:
            raise DigestError("a segment of the ledger is damaged", where=str(self.folder / name), wanted=name, got=got)
        return decode(data, Segment)

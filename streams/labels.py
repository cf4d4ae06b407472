"""Which of the events read are labels: all of a stream `labels.*`, and of a stream whose events hold their own label
(`Input.label`) those that hold one.

It is said of each event alone, so a count of labels does not depend on how they were cut into batches. What becomes of
a label (orphan, no class, corrected) is the step's and not asked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.block import Block
from tidemill.job import Input

LABELS = "labels."
_NONE: Any = None


class Labelled:
    """The labels among what a job reads."""

    def __init__(self, reads: Sequence[Input]) -> None:
        self._fields = {i.stream: i.label for i in reads}

    def mask(self, block: Block) -> NDArray[np.bool_]:
        """Which events of the block are labels."""
        if block.stream.startswith(LABELS):
            return np.ones(len(block), dtype=np.bool_)
        column = block.columns.get(self._fields.get(block.stream) or "")
        if column is None:
            return np.zeros(len(block), dtype=np.bool_)
        if column.dtype.kind == "f":
            return ~np.isnan(column)
        if column.dtype == np.object_:
            return np.asarray(np.not_equal(column, _NONE), dtype=np.bool_)
        return np.ones(len(block), dtype=np.bool_)

    def any_in(self, stream: str) -> bool:
        """Whether events of the stream can be labels."""
        return stream.startswith(LABELS) or self._fields.get(stream) is not None

    def count(self, block: Block) -> int:
        """How many events of the block are labels."""
        return int(self.mask(block).sum()) if self.any_in(block.stream) else 0

"""A job stepped by hand, event by event, in this process: its function without an engine, a log or a clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tidemill.block import Block, column, dtype_of
from tidemill.job import Effects, Job
from tidemill.order import Batch
from tidemill.stream import StreamSpec


class Stepped:
    """A job with one group, and its state so far. `specs` declare the streams it reads, by name."""

    def __init__(self, job: Job[Any], specs: Mapping[str, StreamSpec]) -> None:
        self.job, self.specs, self.state = job, specs, job.init()
        self._count = 0

    def step(self, stream: str, id: str, time: int, **fields: Any) -> list[dict[str, Any]]:
        """Step one event of a stream; the rows that the job emitted, each with its `output`, in their order."""
        spec = self.specs[stream]
        given: dict[str, Any] = {str(spec.id): id, spec.time: time, **fields}
        cells = {
            f.name: column([given.get(f.name, f.default)], dtype_of(f.type, f.nullable or f.default is None))
            for f in spec.fields
        }
        if spec.time in cells:
            cells[spec.time] = np.array([time], np.int64)
        one, zero = np.array([self._count], np.int64), np.zeros(1, np.int32)
        self._count += 1
        names, sources = column([id], np.object_), column([spec.source], np.object_)
        block = Block(stream, spec.topic, np.array([time], np.int64), names, sources, zero, one, zero, cells)
        effects: Effects[Any] = self.job.step(self.state, Batch.of([block]))
        self.state = effects.state
        return [
            {"output": rows.output, **dict(zip(rows.columns, values, strict=True))}
            for rows in effects.emit
            for values in zip(*rows.columns.values(), strict=True)
        ]

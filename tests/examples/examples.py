"""Where the examples are, and how a test runs one."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from connectors import arrow
from connectors.datasets.flights import dataset
from tidemill.block import Block
from tidemill.cloudevents import ARROW
from tidemill.decode import Decoder
from tidemill.log import Record
from tidemill.order import Batch

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def file_of(name: str) -> Path:
    return EXAMPLES / name / "job.py"


@cache
def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"{name}_example", file_of(name))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def january(*names: str) -> Batch:
    """The first weeks of these streams of the flights data set, as an engine would hand them over."""
    blocks: list[Block] = []
    for stream in dataset().streams:
        if stream.spec.name in names:
            data = arrow.batch_bytes(stream.table.slice(0, 12_000).combine_chunks().to_batches()[0])
            record = Record(stream.spec.topic, 0, 0, None, data, (("content-type", ARROW.encode()),), 0)
            for item in Decoder(stream.spec, arrow.decode).decode([record]):
                assert isinstance(item, Block), item
                blocks.append(item)
    end = min(int(block.time[-1]) for block in blocks)
    batch = Batch.sort(blocks)
    return batch.take(np.flatnonzero(batch.time <= end))

"""Replaying a data set into declared streams: several topics at once, in event-time order."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from connectors.datasets.dataset import Dataset, DataStream
from connectors.datasets.replay import merge
from tidemill import events
from tidemill.cloudevents import headers_of, to_headers
from tidemill.events import TimeAdvanced
from tidemill.log import Log, Writer
from tidemill.time import MINUTE
from tidemill_app.publishing import Pace

CHUNK = 5_000
WINDOW = 10 * MINUTE
"""How far the streams may be apart while they are sent; they end level."""


def replay(
    log: Log,
    dataset: Dataset,
    *,
    limit: int = 0,
    pace: Pace | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda sent, time: None,
    at_half: Callable[[], None] = lambda: None,
) -> int:
    """Send the events of every stream of `dataset` as JSON; the count sent.

    `limit` keeps the first events of the first stream and what the others say up to the last of these; 0 keeps all.
    `pace` says how fast, None as fast as possible. At the end every partition is promised that nothing earlier follows.
    `progress(sent, event time)` is called now and then, `at_half` once in the middle.
    """
    pace = pace or Pace()
    sources = {s.spec.name: _Source(s) for s in dataset.streams}
    times = {name: source.times for name, source in sources.items()}
    if limit:
        last = times[dataset.streams[0].spec.name][:limit][-1]
        times = {name: t[: int(np.searchsorted(t, last, side="right"))] for name, t in times.items()}
    sent, now = 0, 0
    half = sum(map(len, times.values())) // 2
    writer = log.writer()
    try:
        # By event time each event has its own moment.
        for piece in merge(times, window=WINDOW, max_rows=500 if pace.speed is None else 1):
            if stop():
                break
            pace.wait(piece.time, piece.stop - piece.start)
            sources[piece.stream].send(writer, piece.stop - piece.start)
            before, sent = sent, sent + piece.stop - piece.start
            if before < half <= sent:
                at_half()
            now = max(now, piece.time)
            progress(sent, now)
        for stream in dataset.streams:
            _promise(writer, log, stream, now + 1)
        writer.flush()
    finally:
        writer.close()
    return sent


class _Source:
    """One stream's events, in order, as arguments of `Writer.send`."""

    def __init__(self, stream: DataStream) -> None:
        self.stream = stream
        self._spec = stream.spec
        self._events = self._all()

    def send(self, writer: Writer, count: int) -> None:
        """The next `count` events."""
        for value, key, headers in islice(self._events, count):
            writer.send(self._spec.topic, value, key=key, headers=headers)

    def _all(self) -> Iterator[tuple[bytes, bytes | None, list[tuple[str, bytes]]]]:
        spec, table = self._spec, self.stream.table
        names = [f.name for f in spec.fields if f.name in table.column_names]
        type = spec.tag or f"{spec.name}.v{spec.version}"
        fixed: dict[str, Any] = {"type": spec.tag} if spec.tag else {}
        encode = msgspec.json.Encoder().encode
        for start in range(0, table.num_rows, CHUNK):
            rows = table.slice(start, CHUNK).select(names).to_pylist()
            times = self.times[start : start + CHUNK].tolist()
            for row, time in zip(rows, times, strict=True):
                row[spec.time] = time
                id = str(row[spec.id]) if spec.id else ""
                key = None if spec.key is None else str(row[spec.key]).encode()
                yield encode(fixed | row), key, to_headers(id, spec.source, type, time)

    @cached_property
    def times(self) -> NDArray[np.int64]:
        return self.stream.time


def _promise(writer: Writer, log: Log, stream: DataStream, time: int) -> None:
    for partition in log.partitions(stream.spec.topic):
        event = TimeAdvanced(id=uuid.uuid4().hex, time=time, source=stream.spec.source, promise=True)
        writer.send(partition.topic, events.encode(event), headers=headers_of(event), partition=partition.number)

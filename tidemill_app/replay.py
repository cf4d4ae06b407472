"""Replaying a data set into declared streams: several topics at once, in event-time order."""

from __future__ import annotations

import time as _time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from connectors.datasets.dataset import Dataset, DataStream
from connectors.datasets.replay import Slice, merge
from tidemill import events
from tidemill.cloudevents import headers_of, to_headers
from tidemill.events import TimeAdvanced
from tidemill.log import Log, Writer
from tidemill.time import MINUTE

WINDOW = 10 * MINUTE
"""How far the streams may be apart while they are sent; they end level."""


def replay(
    log: Log,
    dataset: Dataset,
    *,
    limit: int = 0,
    rate: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda sent, time: None,
) -> int:
    """Send the events of every stream of `dataset` as JSON; the count sent.

    `limit` keeps the first events of the first stream and what the others say up to the last of these; 0 keeps all.
    `rate` is events per second, 0 as fast as possible. At the end every partition is promised that nothing earlier
    follows. `progress(sent, event time)` is called now and then.
    """
    times = {s.spec.name: s.time for s in dataset.streams}
    if limit:
        last = times[dataset.streams[0].spec.name][:limit][-1]
        times = {name: t[: int(np.searchsorted(t, last, side="right"))] for name, t in times.items()}
    streams = {s.spec.name: s for s in dataset.streams}
    sent, begun, now = 0, _time.monotonic(), 0
    writer = log.writer()
    try:
        for piece in merge(times, window=WINDOW, max_rows=500):
            if stop():
                break
            sent += _send(writer, streams[piece.stream], piece)
            now = max(now, piece.time)
            progress(sent, now)
            if rate and (ahead := sent / rate - (_time.monotonic() - begun)) > 0:
                _time.sleep(ahead)
        for stream in dataset.streams:
            _promise(writer, log, stream, now + 1)
        writer.flush()
    finally:
        writer.close()
    return sent


def _send(writer: Writer, stream: DataStream, piece: Slice) -> int:
    spec = stream.spec
    type = spec.tag or f"{spec.name}.v{spec.version}"
    names = [f.name for f in spec.fields]
    fixed: dict[str, Any] = {"type": spec.tag} if spec.tag else {}
    rows = stream.table.slice(piece.start, piece.stop - piece.start).select(names).to_pylist()
    times = stream.time[piece.start : piece.stop].tolist()
    encode = msgspec.json.Encoder().encode
    for row, time in zip(rows, times, strict=True):
        row[spec.time] = time
        id = str(row[spec.id]) if spec.id else ""
        key = None if spec.key is None else str(row[spec.key]).encode()
        writer.send(spec.topic, encode(fixed | row), key=key, headers=to_headers(id, spec.source, type, time))
    return len(rows)


def _promise(writer: Writer, log: Log, stream: DataStream, time: int) -> None:
    for partition in log.partitions(stream.spec.topic):
        event = TimeAdvanced(id=uuid.uuid4().hex, time=time, source=stream.spec.source, promise=True)
        writer.send(partition.topic, events.encode(event), headers=headers_of(event), partition=partition.number)

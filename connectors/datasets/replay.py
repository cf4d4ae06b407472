"""Several streams replayed as one, in event-time order, at a chosen speed."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.errors import ConfigError

Times = NDArray[np.int64]


class Slice(NamedTuple):
    """Rows `start` to `stop` − 1 of one stream; `time` is the event time of the last."""

    stream: str
    start: int
    stop: int
    time: int


def merge(times: Mapping[str, Times], *, window: int = 0, max_rows: int = 10_000) -> Iterator[Slice]:
    """Slices of all streams in event-time order, each of at most `max_rows` rows.

    `times` are each stream's event times in microseconds, ascending. With `window` 0 the order is exact: by time, and
    by the stream's name within one time, which makes slices of a few rows where streams interleave closely. With a
    window of w microseconds, each stretch [k·w, (k+1)·w) gives one run per stream, so slices are long and streams are
    at most w apart: enough for separate topics, among which a log keeps no order anyway.

    Raises `ConfigError` where times are not ascending.
    """
    for name, values in times.items():
        if len(values) > 1 and (np.diff(values) < 0).any():
            raise ConfigError("a stream to replay is not in event-time order", where=name)
    runs = _windows(times, window) if window else _exact(times)
    for name, start, stop in runs:
        for first in range(start, stop, max_rows):
            last = min(first + max_rows, stop)
            yield Slice(name, first, last, int(times[name][last - 1]))


def _exact(times: Mapping[str, Times]) -> Iterator[tuple[str, int, int]]:
    names = sorted(times)
    if not names:
        return
    stream = np.concatenate([np.full(len(times[name]), i, dtype=np.int32) for i, name in enumerate(names)])
    order = np.argsort(np.concatenate([times[name] for name in names]), kind="stable")
    merged = stream[order]
    ends = np.append(np.flatnonzero(np.diff(merged)) + 1, len(merged))[: len(merged)]
    at, begin = [0] * len(names), 0
    for end in map(int, ends):
        i = int(merged[begin])
        yield names[i], at[i], at[i] + end - begin
        at[i] += end - begin
        begin = end


def _windows(times: Mapping[str, Times], window: int) -> Iterator[tuple[str, int, int]]:
    at = {name: 0 for name in sorted(times) if len(times[name])}
    while at:
        end = (min(int(times[name][i]) for name, i in at.items()) // window + 1) * window
        for name, start in list(at.items()):
            stop = start + int(np.searchsorted(times[name][start:], end, side="left"))
            if stop > start:
                yield name, start, stop
            at[name] = stop
            if stop == len(times[name]):
                del at[name]


def pace(
    slices: Iterable[Slice],
    *,
    speed: float | None = None,
    rate: float | None = None,
    now: Callable[[], float] = clock.monotonic,
    sleep: Callable[[float], None] = clock.sleep,
) -> Iterator[Slice]:
    """The same slices, each handed over when it is due.

    `speed` is event time over real time (3,600: an hour each second): a slice is due when its last event has happened.
    `rate` is events per second over all streams: a slice is due when all before it have had their time. Neither: as
    fast as they are taken. A taker that falls behind is not waited for twice: later slices come at once until it has
    caught up. Raises `ConfigError` for both at once, or a number that is not positive.
    """
    if speed is not None and rate is not None:
        raise ConfigError("a replay has one pace", wanted="speed or rate", got="both")
    for name, value in (("speed", speed), ("rate", rate)):
        if value is not None and not value > 0:
            raise ConfigError(f"{name} must be positive", got=str(value))
    began, first, rows = now(), None, 0
    for piece in slices:
        first = piece.time if first is None else first
        due = began
        if speed is not None:
            due += (piece.time - first) / 1e6 / speed
        elif rate is not None:
            due += rows / rate
        if (wait := due - now()) > 0:
            sleep(wait)
        yield piece
        rows += piece.stop - piece.start

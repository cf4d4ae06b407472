"""Open windows by key: what a window job keeps, changed by blocks in native code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tidemill.errors import IncompatibleError

Float = NDArray[np.float64]
Ints = NDArray[np.int64]

COUNT, SUM, MEAN, M2, MIN, MAX = range(6)
"""Places in a field's accumulator: values, their sum, mean, sum of squared deviations, least and greatest."""

_CHUNK = 8192
_SHUT = np.iinfo(np.int64).min
"""The end of a window that is not open."""


@njit(cache=True)
def _add(
    code: Ints, time: Ints, values: Float, shape: Ints, start: Ints, end: Ints, count: Ints, acc: Float
) -> tuple[Ints, Ints, Ints, Ints, Float]:
    """Take up events in order of time, and return the windows that a later event of their key and lane displaced.

    A key has one open window a lane: the windows that hold one moment begin at consecutive multiples of `every`, and
    the number of that multiple, modulo the lanes, is the lane.
    """
    lanes, length, every, session = shape[0], shape[1], shape[2], shape[3]
    n, fields = values.shape
    of = np.empty(n * lanes, np.int64)
    starts, ends, counts = np.empty(n * lanes, np.int64), np.empty(n * lanes, np.int64), np.empty(n * lanes, np.int64)
    accs = np.empty((n * lanes, fields, 6))
    out = 0
    for i in range(n):
        t, c = time[i], code[i]
        for j in range(lanes):
            if session:
                lane, begin, finish = 0, t, min(t + every, t + length)
            else:
                begin = (t // every - j) * every
                finish = begin + length
                if finish <= t:
                    continue
                lane = (t // every - j) % lanes
            if end[c, lane] != _SHUT and end[c, lane] <= t:
                of[out], starts[out], ends[out], counts[out] = c, start[c, lane], end[c, lane], count[c, lane]
                accs[out] = acc[c, lane]
                end[c, lane] = _SHUT
                out += 1
            if end[c, lane] == _SHUT:
                start[c, lane], end[c, lane], count[c, lane] = begin, finish, 0
                acc[c, lane] = 0.0
            elif session:
                end[c, lane] = min(t + every, start[c, lane] + length)
            count[c, lane] += 1
            for k in range(fields):
                v = values[i, k]
                if np.isnan(v):
                    continue
                a = acc[c, lane, k]
                a[0] += 1.0
                a[1] += v
                delta = v - a[2]
                a[2] += delta / a[0]
                a[3] += delta * (v - a[2])
                a[4] = v if a[0] == 1.0 else min(a[4], v)
                a[5] = v if a[0] == 1.0 else max(a[5], v)
    return of[:out], starts[:out], ends[:out], counts[:out], accs[:out]


@dataclass
class Closed:
    """Windows that have ended: their keys, bounds, numbers of events, and accumulators (n × fields × 6)."""

    keys: list[str]
    start: Ints
    end: Ints
    count: Ints
    acc: Float

    @staticmethod
    def none(fields: int) -> Closed:
        empty = np.empty(0, np.int64)
        return Closed([], empty, empty, empty, np.empty((0, fields, 6)))

    @staticmethod
    def of(parts: Sequence[Closed]) -> Closed:
        """All of these, by (end, start, key)."""
        keys = [key for part in parts for key in part.keys]
        start, end, count, acc = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("start", "end", "count", "acc")
        )
        bounds = zip(end.tolist(), start.tolist(), keys, strict=True)
        order = [i for _, i in sorted((bound, i) for i, bound in enumerate(bounds))]
        return Closed([keys[i] for i in order], start[order], end[order], count[order], acc[order])


class OpenWindows:
    """The open windows of each key. Memory goes by the keys that have one.

    As part of a state it is saved by key (`tidemill.state.Restorable`), so its bytes do not tell in which order
    windows came and went.
    """

    def __init__(self, fields: int, *, lanes: int, length: int, every: int, session: int) -> None:
        self.fields = fields
        self._shape = np.array([lanes, length, every, session], dtype=np.int64)
        self._lanes = lanes
        self._code: dict[str, int] = {}
        self._free: list[int] = []
        self._next: int | None = None
        self._room(0)

    def _room(self, n: int) -> None:
        lanes = self._lanes
        self._names: list[str] = [""] * n
        self._start, self._count = np.zeros((n, lanes), np.int64), np.zeros((n, lanes), np.int64)
        self._end = np.full((n, lanes), _SHUT)
        self._acc = np.zeros((n, lanes, self.fields, 6))

    def __len__(self) -> int:
        return len(self._code)

    def add(self, keys: Sequence[str], time: Ints, values: Float) -> list[Closed]:
        """Take up events in order of time: keys (n), times (n) and values (n × fields; NaN counts nowhere). What they
        displaced is to be given to `close`."""
        if not len(keys):
            return []
        codes = np.array([self._code_of(key) for key in keys], dtype=np.int64)
        out = []
        for a in range(0, len(codes), max(1, _CHUNK // self._lanes)):
            part = slice(a, a + max(1, _CHUNK // self._lanes))
            state = (self._start, self._end, self._count, self._acc)
            times = np.ascontiguousarray(time[part])
            of, start, end, count, acc = _add(codes[part], times, values[part], self._shape, *state)
            if len(of):
                out.append(Closed([self._names[c] for c in of.tolist()], start, end, count, acc))
        self._next = self._least()
        return out

    def _code_of(self, key: str) -> int:
        code = self._code.get(key)
        if code is None:
            if not self._free:
                self._grow()
            code = self._code[key] = self._free.pop()
            self._names[code] = key
        return code

    def _grow(self) -> None:
        old = len(self._names)
        names, arrays = self._names, (self._start, self._end, self._count, self._acc)
        self._room(max(16, 2 * old))
        self._names[:old] = names
        for new, given in zip((self._start, self._end, self._count, self._acc), arrays, strict=True):
            new[:old] = given
        self._free += range(len(self._names) - 1, old - 1, -1)

    def close(self, time: int, displaced: Sequence[Closed] = ()) -> Closed:
        """Every window that has ended by `time` and the `displaced` ones, by (end, start, key). They are forgotten."""
        parts = list(displaced)
        if self._next is not None and self._next <= time:
            code, lane = np.nonzero((self._end != _SHUT) & (self._end <= time))
            at = (code, lane)
            names = [self._names[c] for c in code.tolist()]
            parts.append(Closed(names, self._start[at], self._end[at], self._count[at], self._acc[at]))
            self._end[at], self._start[at], self._count[at], self._acc[at] = _SHUT, 0, 0, 0.0
            touched = np.unique(code)
            for c in touched[(self._end[touched] == _SHUT).all(axis=1)].tolist():
                del self._code[self._names[c]]
                self._free.append(c)
            self._next = self._least()
        return Closed.of(parts) if parts else Closed.none(self.fields)

    def _least(self) -> int | None:
        ends = self._end[self._end != _SHUT]
        return int(ends.min()) if len(ends) else None

    def next_end(self) -> int | None:
        """When the next window ends; None for none open."""
        return self._next

    def params(self) -> dict[str, Any]:
        lanes, length, every, session = self._shape.tolist()
        return {"fields": self.fields, "lanes": lanes, "length": length, "every": every, "session": session}

    def state(self) -> dict[str, Any]:
        """The open windows, by key and lane."""
        keys = sorted(self._code)
        at = [self._code[key] for key in keys]
        arrays = {"start": self._start, "end": self._end, "count": self._count, "acc": self._acc}
        return {"keys": keys, **{name: array[at] for name, array in arrays.items()}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state from `state()`. Raises `IncompatibleError` where it does not fit."""
        keys = list(state["keys"])
        n, shape = len(keys), (len(keys), self._lanes, self.fields, 6)
        if state["acc"].shape != shape or any(state[name].shape != shape[:2] for name in ("start", "end", "count")):
            raise IncompatibleError("not a state of these windows", wanted=str(shape), got=str(state["acc"].shape))
        self._room(n)
        self._names = keys
        self._code, self._free = {key: i for i, key in enumerate(keys)}, []
        for mine, name in ((self._start, "start"), (self._end, "end"), (self._count, "count"), (self._acc, "acc")):
            mine[...] = state[name]
        self._next = self._least()

"""Joins: a second stream's newest observation (as-of), and labels with the predictions that wait for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.stats import row_key
from streams.table import Table

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Latest:
    """As-of join: a table of each key's newest observation from another stream.

    An event sees the newest observation that stands before it in the job's order: at an earlier time, or at the same
    time where the observation's (source, id) sorts first. An observation that comes out of order (order `arrival`)
    never replaces a newer one. `fields` are kept, with the observation's `time` in microseconds, by which a
    feature can tell an old one.
    """

    name: str
    stream: str
    key: tuple[str, ...]
    fields: tuple[str, ...]

    def table(self) -> Table:
        return Table((*self.fields, "time"))

    def observe(self, table: Table, time: int, data: Mapping[str, Any]) -> None:
        """Take up one observation."""
        key = row_key(*[data[name] for name in self.key])
        if key is None:
            return
        row = table.rows.get(key)
        if row is None or row["time"] <= time:
            table.set(key, {**{name: data[name] for name in self.fields}, "time": time})


class Entry(msgspec.Struct, array_like=True, gc=False):
    """What is kept of one prediction besides its row and score: the event's id and time, the job's clock when it was
    made, the version that made it, the keys of the statistics its label will count in, and the label once it came."""

    id: str
    time: int
    since: int
    version: str
    keys: tuple[str | None, ...]
    label: float | None = None


ENTRY_BYTES = 520
"""What an entry takes beside its row: ids, keys, links (measured by the test of this module)."""

_WAITING, _SETTLED, _FIRST = 0, 1, 2


class Waiting(msgspec.Struct, dict=True):
    """Predictions that wait for their labels, and those labelled of late, in bounded memory.

    Every prediction has a slot: a row of `X` (the features as they were used), a score, and an `Entry`. The slots form
    two queues, waiting and settled, each in the order of the job's clock, so the earliest deadline is always at the
    front and leaving the middle costs nothing. Arrays double when full and freed slots are used again: the arrays'
    size is a function of the most predictions ever kept, at most the bounds.

    The clock is the largest event time so far, so deadlines never go back, also where events do.
    """

    X: Float
    score: Float
    entries: list[Entry | None]
    free: list[int]
    next: list[int]
    before: list[int]
    waiting: int = 0
    settled: int = 0

    @staticmethod
    def of(width: int) -> Waiting:
        """None yet, for rows of `width` features."""
        # The first two slots are the ends of the two rings.
        return Waiting(np.zeros((16, width)), np.zeros(16), [None, None], [], [0, 1], [0, 1])

    def __post_init__(self) -> None:
        # By id, made anew from the entries where a state is read back: saving it would take half as long again.
        self.slots: dict[str, int] = {entry.id: slot for slot, entry in enumerate(self.entries) if entry is not None}

    def add(self, entry: Entry) -> int:
        """A slot for a new prediction, last in the waiting queue; its row and score come with `fill`. One of the
        same id is to be removed first."""
        if self.free:
            slot = self.free.pop()
            self.entries[slot] = entry
        else:
            slot = len(self.entries)
            self.entries.append(entry)
            self.next.append(0)
            self.before.append(0)
        self.slots[entry.id] = slot
        self._link(slot, _WAITING)
        self.waiting += 1
        return slot

    def settle(self, slot: int, label: float, clock: int, keep: bool) -> None:
        """The label of a waiting prediction came: it moves to the settled queue, or with `keep` False is dropped."""
        self._unlink(slot)
        self.waiting -= 1
        entry = self.entries[slot]
        assert entry is not None
        if not keep:
            self._drop(slot, entry)
            return
        entry.label, entry.since = label, clock
        self._link(slot, _SETTLED)
        self.settled += 1

    def oldest(self, settled: bool = False) -> int | None:
        """The slot at the front of a queue."""
        end = _SETTLED if settled else _WAITING
        slot = self.next[end]
        return None if slot == end else slot

    def remove(self, slot: int) -> Entry:
        """Forget a prediction of either queue."""
        entry = self.entries[slot]
        assert entry is not None
        self._unlink(slot)
        if entry.label is None:
            self.waiting -= 1
        else:
            self.settled -= 1
        self._drop(slot, entry)
        return entry

    def expire(self, time: int, timeout: int, corrections: int) -> Iterator[Entry]:
        """Take out, in order of their deadlines, what has waited `timeout` or been settled `corrections` by `time`."""
        while True:
            waits, settled = self.since(False), self.since(True)
            first = None if waits is None else waits + timeout
            second = None if settled is None else settled + corrections
            # One queue after the other would free the slots in an order that depends on how often this is called.
            late = second is not None and (first is None or second < first)
            due, slot = (second, self.oldest(True)) if late else (first, self.oldest(False))
            if due is None or slot is None or due > time:
                return
            yield self.remove(slot)

    def since(self, settled: bool) -> int | None:
        """Since when the front of a queue has been there."""
        slot = self.oldest(settled)
        entry = None if slot is None else self.entries[slot]
        return None if entry is None else entry.since

    def fill(self, slots: NDArray[np.int64], X: Float, score: Float) -> None:
        """Rows and scores of predictions, in the order of their `add`; of equal slots the last stands."""
        size = len(self.score)
        while size < len(self.entries):
            size *= 2
        if size > len(self.score):
            grown, longer = np.zeros((size, self.X.shape[1])), np.zeros(size)
            grown[: len(self.X)], longer[: len(self.score)] = self.X, self.score
            self.X, self.score = grown, longer
        self.X[slots] = X
        self.score[slots] = score

    def nbytes(self) -> int:
        """Memory kept: the arrays, and `ENTRY_BYTES` for each slot."""
        return self.X.nbytes + self.score.nbytes + ENTRY_BYTES * (len(self.entries) - _FIRST)

    def _drop(self, slot: int, entry: Entry) -> None:
        del self.slots[entry.id]
        self.entries[slot] = None
        self.free.append(slot)

    def _link(self, slot: int, end: int) -> None:
        last = self.before[end]
        self.next[last] = slot
        self.before[slot] = last
        self.next[slot] = end
        self.before[end] = slot

    def _unlink(self, slot: int) -> None:
        after, before = self.next[slot], self.before[slot]
        self.next[before] = after
        self.before[after] = before

"""The answers that stand: of each annotator about each item the latest by (time, id), unless it is withdrawn.

A withdrawal names the answer's id, and wins whatever the times; one that names none takes back what is earlier by
(time, id). Whatever order they come in and however often they are repeated, the same answers stand in the end.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.time import MIN_TIME

Ints = NDArray[np.int64]
Stamp = tuple[int, str]
"""Time and id of an answer or a withdrawal: of two, the greater stands."""


_NONE = (np.empty(0, np.int64), np.empty(0, np.int64))


class Order(NamedTuple):
    """The order that does not depend on how answers came: numbers of items and of annotators sorted by id, and the
    answers that stand sorted by (item, annotator); `item` and `who` are their places in those orders."""

    items: Ints
    annotators: Ints
    rows: Ints
    item: Ints
    who: Ints


class Answers:
    """Answers by row, items and annotators by number, in the order of their first coming.

    A row is kept for each (item, annotator) that ever answered; `value` None says that nothing stands there.
    """

    def __init__(self) -> None:
        self.items: list[str] = []
        self.annotators: list[str] = []
        self.item = array("q")
        self.who = array("q")
        self.value: list[Any] = []
        self.stands = bytearray()
        """Of each row, whether anything stands there."""
        self.stamp: list[Stamp] = []
        self.of_item: list[list[int]] = []
        self.standing = 0
        self._item: dict[str, int] = {}
        self._who: dict[str, int] = {}
        self._row: dict[tuple[int, int], int] = {}
        self._sorted: tuple[tuple[Ints, Ints], tuple[Ints, Ints]] = (_NONE, _NONE)
        self._gone: dict[int, set[str]] = {}
        """Of rows that have some: the ids of answers that were withdrawn by name, seen or not."""

    def item_of(self, id: str) -> int:
        """The number of an item, a new one where it is not known yet."""
        code = self._item.get(id)
        if code is None:
            code = self._item[id] = len(self.items)
            self.items.append(id)
            self.of_item.append([])
        return code

    def put(self, item: int, by: str, value: Any, stamp: Stamp) -> int | None:
        """Let `by`'s answer about item number `item` be `value` (None: withdrawn), unless something later stands there
        or the answer was withdrawn by name.

        Returns the row, or None where nothing changes.
        """
        row, new = self._place(item, by)
        if not new and stamp <= self.stamp[row]:
            return None
        self.stamp[row] = stamp
        return self._set(row, None if stamp[1] in self._gone.get(row, ()) else value, new)

    def withdraw(self, item: int, by: str, answer: str) -> int | None:
        """Let the answer of this id, by `by` about item number `item`, never count. Returns what `put` does."""
        row, new = self._place(item, by)
        self._gone.setdefault(row, set()).add(answer)
        return self._set(row, None if self.stamp[row][1] == answer else self.value[row], new)

    def _set(self, row: int, value: Any, new: bool) -> int | None:
        before = self.value[row]
        if not new and before == value and type(before) is type(value):
            return None
        stands = value is not None
        self.standing += stands - self.stands[row]
        self.value[row], self.stands[row] = value, stands
        return row

    def _place(self, item: int, by: str) -> tuple[int, bool]:
        """The row of an annotator and an item, and whether it is new."""
        who = self._who.get(by)
        if who is None:
            who = self._who[by] = len(self.annotators)
            self.annotators.append(by)
        row = self._row.get((item, who))
        if row is None:
            row = self._row[item, who] = len(self.item)
            self.item.append(item)
            self.who.append(who)
            self.value.append(None)
            self.stands.append(False)
            self.stamp.append((MIN_TIME, ""))
            self.of_item[item].append(row)
            return row, True
        return row, False

    def order(self) -> Order:
        """The order of what stands now. O(n log n)."""
        self._sorted = _sorted(self.items, self._sorted[0]), _sorted(self.annotators, self._sorted[1])
        (items, place_item), (annotators, place_who) = self._sorted
        stands = np.flatnonzero(np.frombuffer(self.stands, np.bool_))
        item = place_item[np.array(self.item, np.int64)[stands]]
        who = place_who[np.array(self.who, np.int64)[stands]]
        by = np.argsort(item * len(annotators) + who)
        return Order(items, annotators, stands[by], item[by], who[by])

    def params(self) -> dict[str, Any]:
        return {}

    def state(self) -> dict[str, Any]:
        return {
            "items": list(self.items),
            "annotators": list(self.annotators),
            "item": np.array(self.item, np.int64),
            "who": np.array(self.who, np.int64),
            "value": list(self.value),
            "time": np.array([time for time, _ in self.stamp], np.int64),
            "id": [id for _, id in self.stamp],
            "gone": [[row, *sorted(ids)] for row, ids in sorted(self._gone.items())],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state from `state()`."""
        self.items, self.annotators = list(state["items"]), list(state["annotators"])
        self._sorted = (_NONE, _NONE)
        self.item, self.who = array("q", state["item"]), array("q", state["who"])
        self.value = list(state["value"])
        self.stamp = list(zip(state["time"].tolist(), state["id"], strict=True))
        self._gone = {row: set(ids) for row, *ids in state.get("gone", ())}
        self.of_item = [[] for _ in self.items]
        for row, item in enumerate(self.item):
            self.of_item[item].append(row)
        self.stands = bytearray(value is not None for value in self.value)
        self.standing = sum(self.stands)
        self._item = {id: i for i, id in enumerate(self.items)}
        self._who = {id: i for i, id in enumerate(self.annotators)}
        self._row = {(item, who): row for row, (item, who) in enumerate(zip(self.item, self.who, strict=True))}


def _sorted(ids: list[str], before: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """The numbers of ids sorted by id, and the place of each: those found `before`, if none came since."""
    if len(before[0]) == len(ids):
        return before
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return order, places

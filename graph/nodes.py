"""Node ids of any kind and number, each with a number of its own in the order of first coming."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graph.adjacency import MAX_NODES
from graph.columns import Column
from graph.table import find, index
from tidemill.errors import UserError, WrongTypeError
from tidemill.state import decode, encode

Int = NDArray[np.int64]
Id = int | str | bytes
Ids = Sequence[Any] | NDArray[Any]


@njit(cache=True, nogil=True)
def _intern(table: Int, keys: Int, count: int, new: Int, out: Int) -> int:
    for i in range(new.shape[0]):
        row, at = find(table, keys, new[i])
        if row < 0:
            keys[count] = new[i]
            row = count
            count += 1
            table[at] = count
        out[i] = row
    return count


@njit(cache=True, nogil=True)
def _find(table: Int, keys: Int, wanted: Int, out: Int) -> None:
    for i in range(wanted.shape[0]):
        out[i] = find(table, keys, wanted[i])[0]


@njit(cache=True, nogil=True)
def intern_ends(table: Int, keys: Int, count: int, source: Int, target: Int, ends: Int) -> int:
    """Number the ends of edges, edge by edge and source first, into `ends` (2 × edges); how many nodes there are."""
    for i in range(source.shape[0]):
        for end in range(2):
            key = source[i] if end == 0 else target[i]
            row, at = find(table, keys, key)
            if row < 0:
                keys[count] = key
                row = count
                count += 1
                table[at] = count
            ends[end, i] = row
    return count


class NodeIds:
    """The ids of one node type. Integers alone stay in native code; text, bytes, and any mixture with them, in a dict.

    `1` and `"1"` are two nodes. Truth values and floats are no ids: `1`, `1.0` and `True` would be one or three by
    turns.
    """

    def __init__(self, name: str, column: Callable[[str, Any, int], Column]) -> None:
        self.name = name
        self._keys = column("ids", np.int64, 0)
        self._table = np.zeros(1024, np.int64)
        self._count = 0
        self._list: list[Id] | None = None
        self._dict: dict[Id, int] = {}

    def __len__(self) -> int:
        return self._count

    def intern(self, ids: Ids) -> Int:
        """The numbers of `ids`; what is new gets the next ones, in turn. Raises `WrongTypeError` for what is no id,
        with none of them taken up, and `UserError` where there is no number left."""
        wanted = self.whole(ids)
        if self._count + len(ids) > MAX_NODES:
            raise UserError("too many nodes", where=f"node type {self.name}", wanted=f"at most {MAX_NODES:,}")
        if wanted is None:
            return self._intern_any(ids)
        self._room(len(wanted))
        out = np.empty(len(wanted), np.int64)
        self._count = _intern(self._table, self._keys.array, self._count, wanted, out)
        return out

    def intern_ends(self, source: Ids, target: Ids) -> tuple[Int, Int]:
        """The numbers of the ends of edges, numbered edge by edge, source first. Raises as `intern` does."""
        sources, targets = self.whole(source), self.whole(target)
        if sources is None or targets is None or self._count + 2 * len(source) > MAX_NODES:
            both = self.intern([end for pair in zip(listed(source), listed(target), strict=True) for end in pair])
            return np.ascontiguousarray(both[0::2]), np.ascontiguousarray(both[1::2])
        self._room(2 * len(source))
        ends = np.empty((2, len(source)), np.int64)
        self._count = intern_ends(self._table, self._keys.array, self._count, sources, targets, ends)
        return ends[0], ends[1]

    def table(self, more: int) -> tuple[Int, Int, int] | None:
        """What native code numbers up to `more` new whole numbers in (`intern_ends`): table, keys and how many there
        are, which it has to say by `counted`. None where not all ids are whole numbers, or numbers run out."""
        if self._list is not None or self._count + more > MAX_NODES:
            return None
        self._room(more)
        return self._table, self._keys.array, self._count

    def counted(self, count: int) -> None:
        """Native code has made the nodes up to `count`."""
        self._count = count

    def check(self, ids: Ids) -> None:
        """Raises `WrongTypeError` for what is no id."""
        if self.whole(ids) is not None or self._known_texts(listed(ids)) is not None:
            return
        for i in listed(ids):
            if not is_id(i):
                raise WrongTypeError(
                    "not a node id",
                    where=f"node type {self.name}",
                    wanted="a whole number of 64 bits, a text or bytes",
                    got=repr(i)[:80],
                )

    def numbers(self, ids: Ids) -> Int:
        """The numbers of `ids`, −1 for those not seen yet."""
        wanted = self.whole(ids)
        if wanted is None:
            ids = listed(ids)
            if self._list is None:
                whole = np.array([_is_whole(i) for i in ids], bool)
                return np.where(whole, self.numbers(np.array([i if _is_whole(i) else 0 for i in ids], np.int64)), -1)
            known = self._known_texts(ids)
            if known is not None:
                return known
            return np.array([self._dict.get(i, -1) if is_id(i) else -1 for i in ids], np.int64).reshape(len(ids))
        out = np.empty(len(wanted), np.int64)
        _find(self._table, self._keys.array, wanted, out)
        return out

    def ids(self, numbers: Sequence[int] | Int | None = None) -> list[Id]:
        """The ids of these numbers, or of all."""
        if self._list is not None:
            return list(self._list) if numbers is None else [self._list[i] for i in numbers]
        keys = self._keys.array[: self._count]
        return list((keys if numbers is None else keys[np.asarray(numbers, np.int64)]).tolist())

    def save(self) -> Any:
        """All ids as plain data: an array of integers, or a list."""
        return self._keys.array[: self._count].copy() if self._list is None else list(self._list)

    def load(self, ids: Any) -> None:
        """Take up the ids of `save`, in an empty one."""
        self.intern(ids)

    def parts(self) -> dict[str, NDArray[Any]]:
        """The ids in one array: whole numbers as they are, others as bytes of msgpack."""
        mixed = None if self._list is None else np.frombuffer(encode(self._list), np.uint8)
        return {"ids": self._keys.array[: self._count] if mixed is None else mixed}

    def take(self, parts: Mapping[str, NDArray[Any]]) -> None:
        """Take up what `parts` gave, in an empty one."""
        ids = parts["ids"]
        self.load(decode(ids.tobytes(), list) if ids.dtype == np.uint8 else ids)

    def whole(self, ids: Ids) -> Int | None:
        """The ids as one array where these are whole numbers of 64 bits and no other kind has come."""
        if self._list is not None:
            return None
        if isinstance(ids, np.ndarray):
            fits = ids.dtype.kind == "i" or (ids.dtype.kind == "u" and int(ids.max(initial=0)) < 1 << 63)
            return np.ascontiguousarray(ids, np.int64) if fits else None
        if all(_is_whole(i) for i in ids):
            return np.array(ids, np.int64).reshape(len(ids))
        return None

    def _intern_any(self, ids: Ids) -> Int:
        ids = listed(ids)
        numbers = self._known_texts(ids)
        if numbers is not None:
            return numbers
        self.check(ids)
        if self._list is None:
            self._list = self.ids()
            self._dict = {key: number for number, key in enumerate(self._list)}
            self._table = np.zeros(0, np.int64)
        known, names = self._dict, self._list
        out = np.empty(len(ids), np.int64)
        for at, given in enumerate(ids):
            key = _plainly(given)
            number = known.setdefault(key, len(names))
            if number == len(names):
                names.append(key)
            out[at] = number
        self._count = len(names)
        return out

    def _known_texts(self, ids: Sequence[Any]) -> Int | None:
        """The numbers of ids that are texts, where all have come before: they were looked at then. (`True` would find
        the number of 1.)"""
        if self._list is None or set(map(type, ids)) != {str}:
            return None
        found = list(map(self._dict.get, ids))
        return None if None in found else np.array(found, np.int64)

    def _room(self, more: int) -> None:
        """Room for so many new whole numbers."""
        self._keys.room(self._count + more)
        if 2 * (self._count + more) > len(self._table):
            self._rehash(2 * (self._count + more))

    def _rehash(self, wanted: int) -> None:
        self._table = np.zeros(1 << max(10, (2 * wanted - 1).bit_length()), np.int64)
        index(self._table, self._keys.array, self._count)


def listed(ids: Ids) -> Sequence[Any]:
    """The ids as values of Python's own."""
    return ids.tolist() if isinstance(ids, np.ndarray) else ids


def _is_whole(value: Any) -> bool:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and bool(-(1 << 63) <= value < 1 << 63)


def is_id(value: Any) -> bool:
    """Whether it can name a node."""
    if isinstance(value, str):
        return value.isprintable() or _is_utf8(value)
    return isinstance(value, bytes) or _is_whole(value)


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _plainly(id: Any) -> Id:
    """The same of Python's own type."""
    if isinstance(id, np.integer):
        return int(id)
    return str(id) if isinstance(id, str) else bytes(id) if isinstance(id, bytes) else int(id)

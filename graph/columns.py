"""Growing arrays: in memory, or in files that the system may page out."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from contextlib import suppress
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST = 1024
_SHARE = 1.5
"""Each growth makes room for half as much again, so that adding row by row stays linear."""
_LARGE, _RESERVED = 1 << 20, 1 << 29
"""What is larger than the one many bytes gets room for the other many, or for 16 times as much: pages that nobody has
written to cost nothing, and to copy into new ones costs more than all else that is done with an edge."""


class Column:
    """An array of `width` values a row (0: of plain values) that grows at its end; `array` is all there is room for.

    Growing replaces `array`: whoever holds the old one reads what it held then. With `file` the rows lie in that file,
    memory-mapped: pages that are not in use cost no memory.
    """

    def __init__(self, dtype: Any, width: int = 0, *, file: Path | None = None) -> None:
        self._dtype, self._width, self._file = np.dtype(dtype), width, file
        self.array: NDArray[Any] = self._made(0)

    def __len__(self) -> int:
        return len(self.array)

    def room(self, rows: int, fill: int | None = None) -> None:
        """Make room for `rows` rows; new ones are filled with `fill`, or hold anything."""
        have = len(self.array)
        if rows <= have:
            return
        grown = self._grown(max(rows, int(have * _SHARE), _FIRST), fill is None)
        if self._file is None:
            grown[:have] = self.array
        if fill is not None:
            grown[have:] = fill
        self.array = grown

    def take(self, array: NDArray[Any]) -> None:
        """Hold the rows of `array`, which is not copied where it lies in memory or in a private mapping."""
        if self._file is None:
            self.array = array
        else:
            self.array = self._made(len(array))
            self.array[:] = array

    def replace(self, rows: NDArray[Any]) -> None:
        """Hold `rows` and no others; room that is no longer needed is given back."""
        if self._file is not None:
            rows = rows.copy()
        self.array = self._made(0)
        self.room(len(rows))
        self.array[: len(rows)] = rows

    def _grown(self, rows: int, lazily: bool) -> NDArray[Any]:
        """Room for `rows` rows; for more where these are in memory, to be written to `lazily`, and the system gives as
        much."""
        width = max(self._width, 1)
        size = self._dtype.itemsize * width
        if lazily and self._file is None and rows * size > _LARGE:
            with suppress(OSError):
                # NumPy would ask for pages of 2 MiB: to have one zeroed as a row is added takes what is in use out of
                # the cache, and twice the time.
                memory = mmap(-1, max(16 * rows, _RESERVED // size) * size, MAP_PRIVATE | MAP_ANONYMOUS)
                array = np.frombuffer(memory, self._dtype)
                return array.reshape(-1, width) if self._width else array
        return self._made(rows)

    def _made(self, rows: int) -> NDArray[Any]:
        shape = (rows, self._width) if self._width else (rows,)
        if self._file is None:
            return np.empty(shape, self._dtype)
        with self._file.open("ab") as file:
            file.truncate(rows * self._dtype.itemsize * max(self._width, 1))
        if rows == 0:
            return np.empty(shape, self._dtype)
        return np.asarray(np.memmap(self._file, self._dtype, "r+", shape=shape))


def own_folder(folder: Path, owner: object) -> Path:
    """A folder in `folder` that nobody else has; it goes with its owner."""
    folder.mkdir(parents=True, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix="graph-", dir=folder))
    weakref.finalize(owner, shutil.rmtree, own, ignore_errors=True)
    return own

"""Many readers or one writer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Condition, Lock


class ReadWriteLock:
    """Readers share it, a writer has it alone. A writer that waits goes before readers that come later."""

    def __init__(self) -> None:
        self._condition = Condition(Lock())
        self._readers = 0
        self._waiting = 0
        self._writing = False
        # Made once: a query of one node takes little longer than making one does.
        self._shared = _Held(self._begin_reading, self._end_reading)
        self._alone = _Held(self._begin_writing, self._end_writing)

    def reading(self) -> AbstractContextManager[None]:
        return self._shared

    def writing(self) -> AbstractContextManager[None]:
        return self._alone

    def _begin_reading(self) -> None:
        with self._condition:
            while self._writing or self._waiting:
                self._condition.wait()
            self._readers += 1

    def _end_reading(self) -> None:
        with self._condition:
            self._readers -= 1
            if not self._readers:
                self._condition.notify_all()

    def _begin_writing(self) -> None:
        with self._condition:
            self._waiting += 1
            try:
                while self._writing or self._readers:
                    self._condition.wait()
                self._writing = True
            finally:
                self._waiting -= 1

    def _end_writing(self) -> None:
        with self._condition:
            self._writing = False
            self._condition.notify_all()


class _Held(AbstractContextManager[None]):
    def __init__(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._begin, self._end = begin, end

    def __enter__(self) -> None:
        self._begin()

    def __exit__(self, *error: object) -> None:
        self._end()

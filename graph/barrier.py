"""How far a graph has come, and waiting until it has come so far."""

from __future__ import annotations

import threading
from collections.abc import Mapping

_KEPT = 10_000
"""Names that are remembered: the newest."""


class Barrier:
    """Offsets of the log's partitions (`topic/partition`) before which everything can be sampled, and the names of
    barriers that were passed. Any number of threads may wait. Both are part of
    a graph's state."""

    def __init__(self) -> None:
        self.offsets: dict[str, int] = {}
        self._names: dict[str, None] = {}
        self._moved = threading.Condition()

    @property
    def names(self) -> list[str]:
        """The barriers that were passed, the newest last."""
        return list(self._names)

    def passed(self, offsets: Mapping[str, int], name: str = "") -> None:
        """Everything before `offsets` has come; with `name`, so has everything before the barrier of that name."""
        with self._moved:
            self.offsets.update(offsets)
            if name:
                self._names[name] = self._names.pop(name, None)
                while len(self._names) > _KEPT:
                    del self._names[next(iter(self._names))]
            self._moved.notify_all()

    def reached(self, what: Mapping[str, int] | str, timeout: float) -> bool:
        """Whether these offsets, or the barrier of that name, have been reached, waiting up to `timeout` seconds."""

        def is_reached() -> bool:
            if isinstance(what, str):
                return what in self._names
            return all(self.offsets.get(partition, 0) >= at for partition, at in what.items())

        with self._moved:
            return self._moved.wait_for(is_reached, timeout)

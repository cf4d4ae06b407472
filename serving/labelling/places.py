"""Items in the order in which they are handed out: the highest priority first, then the longest there."""

from __future__ import annotations

from bisect import bisect_left, insort

Place = tuple[float, int, str]


class Places(list[Place]):
    """Places of items, sorted; an item has one at most."""

    def __init__(self) -> None:
        super().__init__()
        self._of: dict[str, Place] = {}

    def put(self, about: str, place: Place | None) -> None:
        """Have the item at this place from now on (None: at none)."""
        before = self._of.get(about)
        if place == before:
            return
        if before is not None:
            del self[bisect_left(self, before)]
            del self._of[about]
        if place is not None:
            insort(self, place)
            self._of[about] = place

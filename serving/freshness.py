"""How old what we serve may be: seconds since the log was last seen to hold nothing newer."""

from __future__ import annotations

import time


class Freshness:
    """Noted by the follower, read by requests and metrics. Monotonic time; infinite before the first note."""

    def __init__(self) -> None:
        self._current_at: float | None = None
        self.reachable = False
        """Whether the log answered the last time it was asked."""

    def current(self) -> None:
        """Everything the log holds has been applied, now."""
        self._current_at = time.monotonic()
        self.reachable = True

    def lost(self) -> None:
        """The log does not answer."""
        self.reachable = False

    @property
    def started(self) -> bool:
        """Whether everything was read once."""
        return self._current_at is not None

    def seconds(self) -> float:
        """Staleness: 0.0 while the log answers and was read to its end within the last second."""
        if self._current_at is None:
            return float("inf")
        age = time.monotonic() - self._current_at
        return 0.0 if self.reachable and age < 1.0 else age

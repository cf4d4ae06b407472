"""How old what we serve may be: seconds since the log was last seen to hold nothing that is not applied."""

from __future__ import annotations

import time

CURRENT = 1.0
"""Below this age (s) nothing is called stale: the log is asked for its end about twice a second."""


class Freshness:
    """Noted by the follower, read by requests and metrics. Monotonic time; infinitely stale before the first note."""

    def __init__(self) -> None:
        self._current_at: float | None = None

    def current(self, at: float | None = None) -> None:
        """Everything that stood in the log at monotonic time `at` (default now) has been applied."""
        self._current_at = time.monotonic() if at is None else at

    @property
    def started(self) -> bool:
        """Whether everything was read once."""
        return self._current_at is not None

    def age(self) -> float:
        """Seconds since the log held nothing that is not applied."""
        return float("inf") if self._current_at is None else time.monotonic() - self._current_at

    def seconds(self) -> float:
        """Staleness in seconds; 0.0 while it is below `CURRENT`."""
        age = self.age()
        return 0.0 if age < CURRENT else age

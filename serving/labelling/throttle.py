"""How often somebody may fail: so many wrong attempts within so many seconds, then none for the rest of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

MAX_KEYS = 4096


class Throttle:
    """Counts failures by key (an address, a name). Threads share it."""

    def __init__(self, failures: int, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = failures
        self._window = window
        self._clock = clock
        self._failed: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def closed(self, key: str) -> bool:
        """Whether the key has failed too often to be tried now."""
        with self._lock:
            failed = self._failed.get(key)
            return failed is not None and len(failed) == self._failures and self._clock() - failed[0] < self._window

    def failed(self, key: str) -> None:
        with self._lock:
            if key not in self._failed and len(self._failed) >= MAX_KEYS:
                self._failed.clear()
            self._failed.setdefault(key, deque(maxlen=self._failures)).append(self._clock())

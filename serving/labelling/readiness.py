"""Whether the log answers, asked of the log itself: one question at a time, however many want to know.

A broker that is stopped takes connections and says nothing. So nobody waits longer than `wait` seconds for it, and a
question that hangs is the answer to all who ask meanwhile. An answer is told for `fresh` seconds.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future


class Readiness:
    """`ask` raises where the log does not answer."""

    def __init__(self, ask: Callable[[], object], *, wait: float = 2.0, fresh: float = 1.0) -> None:
        self._ask, self._wait, self._fresh = ask, wait, fresh
        self._lock = threading.Lock()
        self._asking: Future[bool] | None = None
        self._told = False
        self._until = 0.0

    async def there(self) -> bool:
        """Whether it answered, now or a moment ago."""
        with self._lock:
            if time.monotonic() < self._until:
                return self._told
            if self._asking is None:
                self._asking = Future()
                threading.Thread(target=self._work, args=(self._asking,), name="labelling-ready", daemon=True).start()
            asking = self._asking
        done, _ = await asyncio.wait([asyncio.wrap_future(asking)], timeout=self._wait)
        return bool(done) and asking.result()

    def _work(self, asking: Future[bool]) -> None:
        try:
            self._ask()
            there = True
        except Exception:
            there = False  # why is in the log of who follows it
        with self._lock:
            self._told, self._until, self._asking = there, time.monotonic() + self._fresh, None
        asking.set_result(there)

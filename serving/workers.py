"""Threads behind an HTTP server of ours, for what waits: a log, Redis, a password's digest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tidemill.errors import OverloadedError

_T = TypeVar("_T")


class Workers:
    """`threads` of them, and at most `waiting` more pieces of work; a further one is refused with `OverloadedError`,
    to come again after `retry_after` seconds."""

    def __init__(self, name: str, threads: int, waiting: int = 0, *, retry_after: float = 1.0) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._most = threads + waiting
        self._retry_after = retry_after
        self._busy = 0

    async def do(self, work: Callable[[], _T]) -> _T:
        """What `work` gives, done in a thread. To be called from one event loop."""
        if self._busy >= self._most:
            raise OverloadedError("too many requests at once", retry_after=self._retry_after)
        self._busy += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._busy -= 1

    def close(self) -> None:
        """Begin nothing any more, and wait for nothing."""
        self._pool.shutdown(wait=False, cancel_futures=True)

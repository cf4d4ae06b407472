"""Keeping snapshots while the job goes on: hashing, writing and syncing are not the job's time, and encoding only as
long as it is short."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from streams.engines import forked
from streams.engines.forked import Forked
from tidemill.errors import UnavailableError
from tidemill.state import StateStore

SHORT = 0.02
"""Seconds: a snapshot that takes longer to encode is encoded in a copy of the process from then on."""


class Keeper:
    """Saves one job's snapshots, one at a time, on a thread of its own."""

    def __init__(self, store: StateStore, job: str) -> None:
        self._store, self._job = store, job
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tidemill-snapshot")
        self._saving: tuple[int, Future[None]] | None = None
        self.seconds = 0.0
        """What the last snapshot took of a processor to be encoded, here or in a copy of the process."""

    @property
    def busy(self) -> bool:
        """Whether the last snapshot is not asked for yet with `kept`."""
        return self._saving is not None

    def save(self, sequence: int, encode: Callable[[], bytes]) -> None:
        """Begin to save what `encode` makes of the job as it stands now; only where not busy."""
        assert self._saving is None
        if self.seconds > SHORT and forked.POSSIBLE:
            with contextlib.suppress(OSError):  # no memory for a copy, or too many processes
                self._saving = sequence, self._thread.submit(self._save_forked, sequence, Forked(encode))
                return
        began = time.thread_time()
        data = encode()
        self.seconds = time.thread_time() - began
        self._saving = sequence, self._thread.submit(self._store.save, self._job, sequence, data)

    def kept(self, *, wait: bool = False) -> int | None:
        """The sequence of the snapshot that has become durable since the last call, once; with `wait`, whenever that
        is. Raises `UnavailableError` where it could not be kept."""
        if self._saving is None or not (wait or self._saving[1].done()):
            return None
        (sequence, saved), self._saving = self._saving, None
        saved.result()
        return sequence

    def close(self) -> None:
        """Wait for what is being written, and end the thread."""
        self._thread.shutdown(wait=True)

    def _save_forked(self, sequence: int, copy: Forked) -> None:
        try:
            data = copy.result()
        except UnavailableError:
            self.seconds = 0.0  # the next one is encoded here, where an error shows as what it is
            raise
        self.seconds = copy.seconds
        self._store.save(self._job, sequence, data)

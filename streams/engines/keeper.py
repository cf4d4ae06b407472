"""Keeping snapshots while the job goes on: encoding is the job's time; hashing, writing and syncing are not."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from tidemill.state import StateStore


class Keeper:
    """Saves one job's snapshots, one at a time, on a thread of its own."""

    def __init__(self, store: StateStore, job: str) -> None:
        self._store, self._job = store, job
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tidemill-snapshot")
        self._saving: tuple[int, Future[None]] | None = None

    @property
    def busy(self) -> bool:
        """Whether the last snapshot is not asked for yet with `kept`."""
        return self._saving is not None

    def save(self, sequence: int, data: bytes) -> None:
        """Begin to save; only where not busy."""
        assert self._saving is None
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

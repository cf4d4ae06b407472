"""Snapshots on disk: whole or not at all, checked on load, the last two kept.

A file is `<sequence>.snapshot`: the magic `TMS1`, the SHA-256 of what follows, then the data. It is written under
another name, synced, renamed, and the folder synced; so a crash at any moment leaves the snapshots before as they were.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

from tidemill.errors import UnavailableError
from tidemill.stream import check_name

_MAGIC = b"TMS1"
_HEADER = len(_MAGIC) + 32
_KEPT = 2


class FolderStore:
    """A `tidemill.state.StateStore` in folder `root`, a folder below it per job."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def save(self, job: str, sequence: int, data: bytes) -> None:
        """Raises `UnavailableError` where the disk has no room or refuses; earlier snapshots stay as they are."""
        folder = self._folder(job)
        part = folder / f"{sequence:020d}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with open(part, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(data).digest())
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self._path(job, sequence))
            _sync(folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise UnavailableError(
                "a snapshot cannot be kept", where=str(folder), got=error.strerror or str(error), fix="Make room."
            ) from None
        for old in self._sequences(job)[:-_KEPT]:
            self._path(job, old).unlink(missing_ok=True)

    def load(self, job: str, at_most: int | None = None) -> tuple[int, bytes] | None:
        """The newest snapshot whose bytes are what was written; a damaged one is passed over."""
        for sequence in reversed(self._sequences(job)):
            if at_most is not None and sequence > at_most:
                continue
            try:
                raw = self._path(job, sequence).read_bytes()
            except OSError:
                continue
            data = raw[_HEADER:]
            if raw[:_HEADER] == _MAGIC + hashlib.sha256(data).digest():
                return sequence, data
        return None

    def clear(self, job: str) -> None:
        shutil.rmtree(self._folder(job), ignore_errors=True)

    def _sequences(self, job: str) -> list[int]:
        stems = (path.stem for path in self._folder(job).glob("*.snapshot"))
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def _folder(self, job: str) -> Path:
        return self.root / check_name(job, "job")

    def _path(self, job: str, sequence: int) -> Path:
        return self._folder(job) / f"{sequence:020d}.snapshot"


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

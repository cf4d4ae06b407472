"""Which processes work in a home, those too that `up` did not start: each holds a lock on a file of its own.

A lock ends with its process, however that ends, and is seen from another container that shares the folder, where a
process's number says nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from tidemill_app.home import Home


@contextlib.contextmanager
def alive(home: Home, name: str) -> Iterator[None]:
    """Be seen by `living` as a `name`, until the block or the process ends."""
    file = home.run / f"{name}-{os.getpid()}-{uuid.uuid4().hex[:8]}.alive"
    descriptor = _locked(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def living(home: Home, name: str) -> list[int]:
    """The numbers of the processes that are a `name` of this home now, as they know themselves."""
    found = []
    for file in sorted(home.run.glob(f"{name}-*-*.alive")):
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(file, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink()  # left by one that was killed
            except BlockingIOError:
                found.append(int(file.stem.split("-")[-2]))
            finally:
                os.close(descriptor)
    return found


def _locked(file: Path) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # `living` may have taken it for a dead one's just before it was locked.
        if file.exists():
            return descriptor
        os.close(descriptor)

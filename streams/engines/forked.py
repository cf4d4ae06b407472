"""Making bytes of what stands in memory now, in a forked copy of this process, while this one goes on changing it.

A state of a few hundred thousand entries takes hundreds of milliseconds to encode, in which no event would be learned.
A fork takes a few, whatever the state is made of: the copy sees the memory as it was at the fork, the two share every
page until one writes to it, and the bytes come back through a pipe.

The copy has one thread, the one that forked; it makes the bytes and ends, and must touch nothing that other threads
had: no client of the log, no logging. It ends too where this process ends before it.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import sys
import time
import warnings
from collections.abc import Callable, Iterator

from tidemill.errors import UnavailableError

POSSIBLE = sys.platform == "linux"
"""Elsewhere there is no fork, or system libraries that do not outlive one."""

SECONDS = 120.0

_HEAD = struct.Struct("<qd")
"""How many bytes come, and the seconds they took."""


class Forked:
    """The bytes of `make()` as of now, made in a copy of this process. `result` is called once, from any thread."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._from, to = os.pipe()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of threads: see above
                self._pid = os.fork()
        except OSError:
            os.close(self._from)
            os.close(to)
            raise
        if self._pid == 0:
            os.close(self._from)  # else this copy would wait for itself to read, where the other process has ended
            _make_and_end(make, to)
        os.close(to)
        self.seconds = 0.0
        """What the copy took of a processor to make them; known after `result`."""

    def result(self) -> bytes:
        """Waits for the bytes. Raises `UnavailableError` where the copy failed, was ended, or takes two minutes."""
        data = b"".join(self._parts())
        os.close(self._from)
        _, status = os.waitpid(self._pid, 0)
        size, self.seconds = _HEAD.unpack(data[: _HEAD.size]) if len(data) >= _HEAD.size else (-1, 0.0)
        if status != 0 or len(data) - _HEAD.size != size:
            raise UnavailableError(
                "a copy of the process that was to encode a snapshot failed",
                wanted="its exit with 0",
                got=f"exit with {os.waitstatus_to_exitcode(status)} after {len(data)} bytes",
            )
        return data[_HEAD.size :]

    def _parts(self) -> Iterator[bytes]:
        deadline = time.monotonic() + SECONDS
        while select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = os.read(self._from, 1 << 20)
            if not part:
                return
            yield part
        os.kill(self._pid, signal.SIGKILL)


def _make_and_end(make: Callable[[], bytes], to: int) -> None:
    """In the copy: never returns."""
    status = 1
    try:
        os.nice(15)  # whoever waits for events goes first
        began = time.thread_time()
        data = make()
        left = memoryview(_HEAD.pack(len(data), time.thread_time() - began) + data)
        while left:
            left = left[os.write(to, left) :]
        status = 0
    finally:
        os._exit(status)

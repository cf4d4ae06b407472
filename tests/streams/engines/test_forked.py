"""The bytes are of the moment of the fork, whole or an error; the copy ends in every case."""

import os
import signal
import time

import pytest

from streams.engines import forked
from streams.engines.forked import Forked
from tidemill.errors import UnavailableError

pytestmark = pytest.mark.skipif(not forked.POSSIBLE, reason="forks only where POSSIBLE says so")


def gone(pid):
    """Whether there is no such child any more."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("did not come true in time")


def test_the_bytes_are_of_the_moment_of_the_fork_however_many():
    state, r = bytearray(b"before" * 4_000_000), os.pipe()
    copy = Forked(lambda: (os.read(r[0], 1), bytes(state))[1])  # not before the state below has changed
    state[:] = b"after"
    os.write(r[1], b"!")
    assert copy.result() == b"before" * 4_000_000
    assert copy.seconds > 0.0
    assert gone(copy._pid)


def test_no_bytes_are_bytes_too():
    assert Forked(lambda: b"").result() == b""


def test_a_copy_that_fails_is_an_error():
    copy = Forked(lambda: 1 // 0)
    with pytest.raises(UnavailableError, match="exit with 1 after 0 bytes"):
        copy.result()
    assert gone(copy._pid)


def test_half_of_the_bytes_is_an_error():
    copy = Forked(lambda: b"x" * 10_000_000)
    os.read(copy._from, 100)
    os.kill(copy._pid, signal.SIGKILL)
    with pytest.raises(UnavailableError, match="exit with -9"):
        copy.result()


def test_a_copy_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(forked, "SECONDS", 0.05)
    copy = Forked(signal.pause)
    with pytest.raises(UnavailableError, match="exit with -9"):
        copy.result()
    assert gone(copy._pid)


def test_a_copy_ends_where_nobody_reads():
    copy = Forked(lambda: b"x" * 10_000_000)
    os.close(copy._from)
    until(lambda: gone(copy._pid))

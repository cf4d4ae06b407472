"""Snapshots kept in the background: once each, errors raised where asked for, nothing half-written at the end; a large
one encoded in a copy of the process."""

import os
import threading
import time

import pytest

from streams.engines import forked
from streams.engines.keeper import SHORT, Keeper
from streams.state_store import FolderStore
from tidemill.errors import UnavailableError


class Slow(FolderStore):
    """Saves when it is let."""

    def __init__(self, root):
        super().__init__(root)
        self.let = threading.Event()

    def save(self, job, sequence, data):
        assert self.let.wait(10)
        super().save(job, sequence, data)


def test_the_job_goes_on_while_a_snapshot_is_kept(tmp_path):
    store = Slow(tmp_path)
    keeper = Keeper(store, "j")
    keeper.save(3, lambda: b"state")
    assert keeper.busy
    assert keeper.kept() is None
    assert store.load("j") is None
    store.let.set()
    assert keeper.kept(wait=True) == 3
    assert not keeper.busy
    assert keeper.kept(wait=True) is None
    assert store.load("j") == (3, b"state")
    keeper.close()


def test_a_snapshot_under_way_is_whole_at_the_end(tmp_path):
    store = Slow(tmp_path)
    keeper = Keeper(store, "j")
    keeper.save(4, lambda: b"last")
    threading.Timer(0.05, store.let.set).start()
    keeper.close()
    assert store.load("j") == (4, b"last")


def test_what_could_not_be_kept_is_said_and_the_next_can(tmp_path):
    (tmp_path / "j").write_text("in the way")
    keeper = Keeper(FolderStore(tmp_path), "j")
    keeper.save(1, lambda: b"")
    with pytest.raises(UnavailableError):
        keeper.kept(wait=True)
    (tmp_path / "j").unlink()
    keeper.save(2, lambda: b"")
    assert keeper.kept(wait=True) == 2
    keeper.close()


def slow(data):
    """What takes long to encode."""
    end = time.thread_time() + 2 * SHORT
    while time.thread_time() < end:
        pass
    return data


@pytest.mark.skipif(not forked.POSSIBLE, reason="forks only where POSSIBLE says so")
def test_what_takes_long_is_encoded_in_a_copy_of_the_process(tmp_path):
    store = FolderStore(tmp_path)
    keeper = Keeper(store, "j")
    for sequence in (1, 2, 3):
        keeper.save(sequence, lambda: slow(str(os.getpid()).encode()))
        assert keeper.kept(wait=True) == sequence
        _, pid = store.load("j")
        assert (pid == str(os.getpid()).encode()) == (sequence == 1)
        assert keeper.seconds > SHORT
    keeper.save(4, lambda: b"short again")
    keeper.kept(wait=True)
    keeper.save(5, lambda: str(os.getpid()).encode())
    keeper.kept(wait=True)
    assert store.load("j") == (5, str(os.getpid()).encode())
    keeper.close()


@pytest.mark.skipif(not forked.POSSIBLE, reason="forks only where POSSIBLE says so")
def test_after_a_copy_failed_the_error_shows_where_it_is(tmp_path):
    keeper = Keeper(FolderStore(tmp_path), "j")
    keeper.save(1, lambda: slow(b""))
    keeper.kept(wait=True)
    keeper.save(2, lambda: 1 // 0)
    with pytest.raises(UnavailableError, match="copy of the process"):
        keeper.kept(wait=True)
    with pytest.raises(ZeroDivisionError):
        keeper.save(3, lambda: 1 // 0)
    keeper.close()

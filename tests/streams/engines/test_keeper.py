"""Snapshots kept in the background: once each, errors raised where asked for, nothing half-written at the end."""

import threading

import pytest

from streams.engines.keeper import Keeper
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
    keeper.save(3, b"state")
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
    keeper.save(4, b"last")
    threading.Timer(0.05, store.let.set).start()
    keeper.close()
    assert store.load("j") == (4, b"last")


def test_what_could_not_be_kept_is_said_and_the_next_can(tmp_path):
    (tmp_path / "j").write_text("in the way")
    keeper = Keeper(FolderStore(tmp_path), "j")
    keeper.save(1, b"")
    with pytest.raises(UnavailableError):
        keeper.kept(wait=True)
    (tmp_path / "j").unlink()
    keeper.save(2, b"")
    assert keeper.kept(wait=True) == 2
    keeper.close()

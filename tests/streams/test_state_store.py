"""Snapshots are whole or absent, whatever happens while they are written."""

import errno
import os

import pytest

from streams.state_store import FolderStore
from tidemill.errors import DeclarationError, UnavailableError


def test_the_newest_sound_snapshot_is_given(tmp_path):
    store = FolderStore(tmp_path)
    assert store.load("job") is None
    for sequence in (3, 7, 9):
        store.save("job", sequence, f"state {sequence}".encode())
    assert store.load("job") == (9, b"state 9")
    assert store.load("job", at_most=8) == (7, b"state 7")
    assert store.load("job", at_most=6) is None  # two are kept


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-1], lambda raw: raw[:-1] + b"?", lambda raw: b"", lambda raw: b"x"]
)
def test_a_damaged_snapshot_is_passed_over(tmp_path, damage):
    store = FolderStore(tmp_path)
    store.save("job", 1, b"one")
    store.save("job", 2, b"two")
    path = sorted((tmp_path / "job").iterdir())[-1]
    path.write_bytes(damage(path.read_bytes()))
    assert store.load("job") == (1, b"one")


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    store = FolderStore(tmp_path)
    store.save("job", 1, b"one")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnavailableError, match="No space left"):
        store.save("job", 2, b"two")
    assert store.load("job") == (1, b"one")
    assert [p.name for p in (tmp_path / "job").iterdir()] == ["00000000000000000001.snapshot"]


def test_clear_forgets_one_job(tmp_path):
    store = FolderStore(tmp_path)
    store.save("a", 1, b"a")
    store.save("b", 1, b"b")
    store.clear("a")
    assert store.load("a") is None
    assert store.load("b") == (1, b"b")


def test_a_name_cannot_leave_the_folder(tmp_path):
    with pytest.raises(DeclarationError):
        FolderStore(tmp_path).save("../x", 1, b"")

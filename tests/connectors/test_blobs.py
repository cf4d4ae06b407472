"""Blobs appear whole or not at all, on a disk and in an object store, and no name leads elsewhere."""

import errno
import os
import uuid

import pytest

from connectors import blobs as module
from connectors.blobs import open_blobs, safe_path
from tidemill.errors import ConfigError, NotFoundError, UnavailableError, UserError


@pytest.fixture(params=["path", "file", "memory"])
def blobs(request, tmp_path):
    folder = tmp_path / "a store"
    url = {"path": str(folder), "file": folder.as_uri(), "memory": f"memory://{uuid.uuid4().hex}"}[request.param]
    return open_blobs(url)


def test_write_read_list_remove(blobs):
    assert blobs.names() == []
    assert blobs.write("a/b", b"1")
    assert blobs.write("a/c", b"")
    assert blobs.write("a/b", b"2")
    assert (blobs.read("a/b"), blobs.read("a/c")) == (b"2", b"")
    assert (blobs.names(), blobs.names("a"), blobs.names("x")) == (["a"], ["b", "c"], [])
    blobs.remove("a/b")
    blobs.remove("a/b")
    assert blobs.names("a") == ["c"]
    with pytest.raises(NotFoundError, match="a/b"):
        blobs.read("a/b")


def test_new_is_only_where_none_is(blobs):
    assert blobs.write("a", b"1", new=True)
    assert not blobs.write("a", b"2", new=True)
    assert blobs.read("a") == b"1"


def test_a_url_with_escapes_is_the_folder_it_names(tmp_path):
    open_blobs((tmp_path / "a b").as_uri()).write("x", b"1")
    assert (tmp_path / "a b" / "x").read_bytes() == b"1"
    assert open_blobs(str(tmp_path / "a b")).uri("x") == (tmp_path / "a b" / "x").as_uri()


@pytest.mark.parametrize(
    "part", ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\\b", "a\0", "a\n", "é", "-rf", "x" * 201]
)
def test_names_that_lead_elsewhere_are_refused(part):
    with pytest.raises(UserError, match="name"):
        safe_path("models", part)


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    blobs = open_blobs(str(tmp_path))
    blobs.write("a", b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for new in (False, True):
        with pytest.raises(UnavailableError, match="no room"):
            blobs.write("a", b"new", new=new)
    monkeypatch.undo()
    assert blobs.read("a") == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_unfinished_files_are_not_listed(tmp_path):
    blobs = open_blobs(str(tmp_path))
    (tmp_path / ".0123.part").write_bytes(b"half")
    assert blobs.names() == []


def test_unknown_protocol():
    with pytest.raises(ConfigError):
        open_blobs("nosuch://bucket/x")


def test_many_new_blobs_are_put_at_once_and_none_over_another(blobs):
    blobs.write("a/b", b"old")
    blobs.write_new({"a/b": b"new", "a/c": b"", "d/e": b"2"})
    assert (blobs.read("a/b"), blobs.read("a/c"), blobs.read("d/e")) == (b"old", b"", b"2")
    blobs.write_new({})
    assert (blobs.names(), blobs.names("a")) == (["a", "d"], ["b", "c"])


@pytest.mark.parametrize("at_once", [True, False])
def test_files_are_on_the_disk_before_they_have_their_names(tmp_path, monkeypatch, at_once):
    blobs, seen = open_blobs(str(tmp_path)), []
    if not at_once:
        monkeypatch.setattr("connectors.blobs._libc", lambda: None)
    real = module._sync_all

    def sync(root, paths):
        seen.append((len(list(tmp_path.rglob("*.part"))), blobs.names("a")))
        real(root, paths)

    monkeypatch.setattr(module, "_sync_all", sync)
    blobs.write_new({"a/b": b"1", "a/c": b"2"})
    assert seen == [(2, []), (0, ["b", "c"])]


def test_many_blobs_that_find_no_room_leave_nothing_half_written(tmp_path, monkeypatch):
    def full(root, paths):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_sync_all", full)
    with pytest.raises(UnavailableError, match="no room"):
        open_blobs(str(tmp_path)).write_new({"a/b": b"1", "a/c": b"2"})
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []

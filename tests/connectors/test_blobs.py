"""Blobs appear whole or not at all, on a disk and in an object store, and no name leads elsewhere."""

import errno
import os
import uuid

import pytest

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

"""Files that are there whole or not at all."""

import os

import pytest

from training import durable


def test_a_folder_that_was_half_written_is_never_seen_and_swept_away(tmp_path, monkeypatch):
    durable.write_folder(tmp_path / "a", {"x": b"1"})

    def dies(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(durable.os, "rename", dies)
    with pytest.raises(KeyboardInterrupt):
        durable.write_folder(tmp_path / "b", {"x": b"2", "y": b"3"})
    monkeypatch.undo()
    assert not (tmp_path / "b").exists() and len(os.listdir(tmp_path)) == 2
    durable.sweep(tmp_path)
    assert os.listdir(tmp_path) == ["a"]
    durable.write_folder(tmp_path / "a", {"y": b"4"})
    assert {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()} == {"y": b"4"}


def test_a_file_takes_its_name_when_it_is_whole(tmp_path, monkeypatch):
    durable.write_durably(tmp_path / "f", b"old")
    monkeypatch.setattr(durable.os, "fsync", lambda at: (_ for _ in ()).throw(OSError("no room")))
    with pytest.raises(OSError, match="no room"):
        durable.write_durably(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"

"""A home is made, marked, read, and removed; no other folder ever is."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tidemill.errors import ConfigError, UnavailableError, UserError
from tidemill_app.home import MARKER, Home, StackRecord, write_atomically


def test_it_is_made_for_the_owner_only_and_twice_is_harmless(tmp_path):
    home = Home(tmp_path / "h")
    home.create()
    home.create()
    assert home.is_ours()
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert home.keys.stat().st_mode & 0o777 == 0o700


def test_a_folder_with_something_else_is_neither_used_nor_removed(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    home = Home(tmp_path)
    with pytest.raises(ConfigError, match="something else"):
        home.create()
    with pytest.raises(UserError, match="not a Tidemill home"):
        home.purge()
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_purge_does_not_follow_links(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    home = Home(tmp_path / "h")
    home.create()
    (home.path / "link").symlink_to(outside)
    linked = Home(tmp_path / "alias")
    linked.path.symlink_to(home.path)
    with pytest.raises(UserError):
        linked.purge()
    home.purge()
    assert not home.path.exists()
    assert (outside / "kept").exists()


def test_an_interrupted_purge_can_be_run_again(tmp_path, monkeypatch):
    home = Home(tmp_path / "h")
    home.create()
    (home.path / "a").mkdir()
    monkeypatch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        home.purge()
    monkeypatch.undo()
    assert (home.path / MARKER).exists()
    home.purge()


def test_the_record_comes_back_and_a_spoiled_one_is_said(tmp_path):
    home = Home(tmp_path / "h")
    home.create()
    assert home.read() is None
    record = StackRecord(bootstrap="b:1", ports={"kafka": 1})
    home.write(record)
    assert home.read() == record
    (home.path / "stack.json").write_text("{")
    with pytest.raises(ConfigError, match=r"stack\.json.*unreadable"):
        home.read()


def test_a_file_is_no_home(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(ConfigError, match="not a folder"):
        Home(tmp_path / "f").read()


def test_a_failed_write_leaves_the_old_bytes(tmp_path, monkeypatch):
    file = tmp_path / "f"
    write_atomically(file, b"old")
    monkeypatch.setattr(os, "replace", lambda a, b: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_lock_is_held_by_one(tmp_path):
    home = Home(tmp_path / "h")
    home.create()
    with home.locked(), pytest.raises(UnavailableError, match="holds the home"), home.locked(seconds=0.0):
        pass
    with home.locked(seconds=0.0):
        pass


def test_who_waits_for_the_lock_gets_it_once_it_is_free(tmp_path):
    home, inside, times, meanwhile = Home(tmp_path / "h"), [], [], threading.Event()
    home.create()

    def enter(number):
        with home.locked():
            inside.append(number)
            times.append(len(inside))
            meanwhile.wait(0.1)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        with home.locked():
            waiting = [pool.submit(enter, n) for n in range(8)]
            assert not times
        for each in waiting:
            each.result()
    assert times == [1] * 8


def test_many_at_once_make_one_home(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: Home(tmp_path / str(n // 4)).create(), range(120)))
    for n in range(30):
        home = Home(tmp_path / str(n))
        assert home.is_ours()
        assert {child.name for child in home.path.iterdir()} == {MARKER, "run", "logs", "keys"}

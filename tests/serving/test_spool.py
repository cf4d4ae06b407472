"""A queue on disk: whole or not at all, in order, through crashes and full disks."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

import pytest

from serving.spool import Spool
from tidemill.errors import UnavailableError


def items(n: int, start: int = 0) -> list[bytes]:
    return [f"item {i}".encode() * 5 for i in range(start, start + n)]


def opened_again(spool: Spool) -> Spool:
    """The folder as a process finds it that comes after a kill -9."""
    os.close(spool._lock)
    return Spool(spool.folder)


def test_what_was_appended_is_read_in_order_in_any_portions(tmp_path: Path):
    spool = Spool(tmp_path, segment_bytes=500)
    for start in range(0, 100, 7):
        spool.append(items(7, start))
    assert spool.read(0, 9) == []  # nothing is on the disk yet
    spool.sync()
    got: list[bytes] = []
    at = 0
    while portion := spool.read(at, 9):
        got += [item for _, item in portion]
        at = portion[-1][0]
    assert got == items(105)
    assert len(list(tmp_path.glob("*.spool"))) > 3


def test_discarded_segments_are_removed_and_the_rest_stays(tmp_path: Path):
    spool = Spool(tmp_path, segment_bytes=500)
    for start in range(0, 100, 10):
        spool.append(items(10, start))
    spool.discard(55, {"0": 7})
    spool.save_sent()
    again = opened_again(spool)
    assert (again.sent.sequence, again.sent.ends, len(again)) == (55, {"0": 7}, 45)
    assert [item for _, item in again.read(55, 1000)] == items(45, 55)
    assert min(int(p.stem) for p in tmp_path.glob("*.spool")) > 40


def test_everything_sent_leaves_no_segment_and_sequences_go_on(tmp_path: Path):
    spool = Spool(tmp_path)
    spool.append(items(5))
    spool.discard(5, {})
    spool.close()
    assert not list(tmp_path.glob("*.spool"))
    again = Spool(tmp_path)
    again.append(items(1))
    again.sync()
    assert again.read(5, 10)[0][0] == 6


@pytest.mark.parametrize("cut", [1, 5, 15, 16, 30])
def test_a_torn_frame_is_cut_off_and_what_comes_after_is_sound(tmp_path: Path, cut: int):
    spool = Spool(tmp_path)
    spool.append(items(3))
    path = next(tmp_path.glob("*.spool"))
    os.truncate(path, path.stat().st_size - cut)
    again = opened_again(spool)
    assert again.last == 2
    again.append(items(2, 3))
    again.sync()
    assert [s for s, _ in again.read(0, 10)] == [1, 2, 3, 4]
    assert [i for _, i in again.read(0, 10)] == items(2) + items(2, 3)


def test_a_flipped_byte_is_found(tmp_path: Path):
    spool = Spool(tmp_path)
    spool.append(items(3))
    path = next(tmp_path.glob("*.spool"))
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    again = opened_again(spool)
    assert (again.last, again.faults) == (2, 1)


def test_damage_in_the_middle_is_said_and_counted_and_what_a_crash_cut_short_is_not(tmp_path: Path, caplog):
    spool = Spool(tmp_path, segment_bytes=500)
    for start in range(0, 100, 10):
        spool.append(items(10, start))
    first, second, *_, last = sorted(tmp_path.glob("*.spool"))
    os.truncate(last, last.stat().st_size - 3)
    again = opened_again(spool)
    assert (again.faults, caplog.records) == (0, [])
    data = bytearray(first.read_bytes())
    data[20] ^= 1
    first.write_bytes(data)
    again = opened_again(again)
    assert again.faults == 1
    (told,) = caplog.records
    assert str(first) in told.getMessage() and f"{len(data)} bytes" in told.getMessage()
    assert [i for _, i in again.read(0, 1000)] == items(99)[int(second.stem) - 1 :]


def test_a_sync_that_failed_is_said_and_counted_though_the_next_one_succeeds(tmp_path: Path, caplog, monkeypatch):
    spool = Spool(tmp_path)
    spool.append(items(3))

    def fails(file: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        with pytest.raises(UnavailableError, match="Input/output"):
            spool.sync()
    spool.sync()
    assert (spool.durable, spool.faults) == (3, 1)
    assert "Input/output" in caplog.text


def test_a_full_disk_leaves_nothing_half_written_and_recovers(tmp_path: Path):
    spool = Spool(tmp_path)
    spool.append(items(3))
    size = spool.bytes
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        with pytest.raises(UnavailableError, match="too large"):
            spool.append(items(50, 3))
        assert "too large" in spool.room()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert next(tmp_path.glob("*.spool")).stat().st_size == size
    assert spool.room() == ""
    spool.append(items(2, 3))
    spool.sync()
    assert [item for _, item in spool.read(0, 100)] == items(5)
    assert opened_again(spool).last == 5


def test_the_bound_holds(tmp_path: Path):
    spool = Spool(tmp_path, max_bytes=1000)
    with pytest.raises(UnavailableError, match="full"):
        spool.append(items(100))
    spool.append(items(5))
    assert spool.last == 5


def test_appending_discarding_and_syncing_at_once_loses_nothing(tmp_path: Path):
    spool = Spool(tmp_path, segment_bytes=300)
    done = threading.Event()

    def appends() -> None:
        for i in range(3_000):
            spool.append(items(1, i))
        done.set()

    def syncs() -> None:
        while not done.is_set():
            spool.sync()

    threads = [threading.Thread(target=appends), threading.Thread(target=syncs)]
    for thread in threads:
        thread.start()
    got: list[bytes] = []
    while len(got) < 3_000:
        if done.is_set() and not threads[1].is_alive():
            spool.sync()
        portion = spool.read(len(got), 50)
        got += [item for _, item in portion]
        if portion:
            spool.discard(len(got), {})
    for thread in threads:
        thread.join()
    assert got == items(3_000)
    spool.close()
    assert spool.bytes == 0 and not list(tmp_path.glob("*.spool"))


def test_a_second_process_takes_the_next_slot(tmp_path: Path):
    first = Spool.claim(tmp_path)
    second = Spool.claim(tmp_path)
    assert first.folder != second.folder
    first.close()
    assert Spool.claim(tmp_path).folder == first.folder


def test_a_read_ends_where_it_has_enough_bytes_but_never_without_an_item(tmp_path: Path):
    spool = Spool(tmp_path)
    spool.append([b"a" * 10, b"b" * 10, b"c" * 100, b"d"])
    spool.sync()
    assert [[item[:1] for _, item in spool.read(after, 10, 15)] for after in range(5)] == [
        [b"a", b"b"], [b"b", b"c"], [b"c"], [b"d"], [],
    ]  # fmt: skip

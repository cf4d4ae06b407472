"""What killed servers left is sent by one that lives, once; what a living one has is left to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from connectors.memory import MemoryLog
from serving.leftovers import Leftovers
from serving.prediction_log import PredictionLog
from serving.spool import Spool
from tests.serving.helpers import until
from tests.serving.test_prediction_log import Faulty, ids, prediction, told


def killed(log: Faulty, folder: Path, endpoint: str, numbers: range) -> None:
    """As kill -9 leaves a server's spool: appended, not sent, and nobody holds the lock."""
    spool = Spool(folder)
    kept = PredictionLog(endpoint, log, spool)
    for i in numbers:
        kept.append(prediction(i))
    os.close(spool._lock)


@pytest.mark.parametrize("fault", ["", "down", "after"])
def test_every_spool_that_nobody_has_is_sent_once_and_those_of_the_living_are_left_alone(tmp_path: Path, fault: str):
    log = Faulty(MemoryLog())
    log.fault = fault
    for slot in range(3):
        killed(log, tmp_path / "late" / str(slot), "late", range(slot * 10, slot * 10 + 10))
    killed(log, tmp_path / "gone" / "0", "gone", range(5))
    living = Spool(tmp_path / "late" / "3")
    PredictionLog("late", log, living).append(prediction(99))
    leftovers = Leftovers(log, tmp_path, every=0.01)
    leftovers.start()
    try:
        if fault:
            until(lambda: log.commits or fault == "down")
            log.fault = ""
        until(lambda: not list(tmp_path.glob("late/[0-2]/*.spool")) and not list(tmp_path.glob("gone/0/*.spool")))
    finally:
        leftovers.close()
    assert sorted(told(log)) == sorted(ids(30))
    assert told(log, "gone") == ids(5)
    assert len(living) == 1
    assert Spool.claim(tmp_path / "late").folder.name == "0", "a spool that was sent is not free again"


def test_one_that_cannot_be_read_keeps_no_other_from_being_sent(tmp_path: Path):
    log = Faulty(MemoryLog())
    spool = Spool(tmp_path / "broken" / "0")
    spool.append([b"no prediction"])
    os.close(spool._lock)
    killed(log, tmp_path / "late" / "0", "late", range(3))
    leftovers = Leftovers(log, tmp_path, every=0.01)
    leftovers.start()
    try:
        until(lambda: not list(tmp_path.glob("late/0/*.spool")))
    finally:
        leftovers.close()
    assert told(log) == ids(3)
    assert list(tmp_path.glob("broken/0/*.spool"))

"""Predictions reach the topic in order and once: through outages, ambiguous commits and kill -9."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.memory import MemoryLog
from serving.prediction_log import PredictionLog
from serving.spool import Sent, Spool
from tests.serving.helpers import until
from tidemill import events
from tidemill.errors import UnavailableError
from tidemill.events import PredictionMade
from tidemill.log import Log, Partition


def prediction(i: int) -> PredictionMade:
    return PredictionMade(id=f"e{i}", about=f"e{i}", time=i, model="m", version="1", score=0.5, features=[1.0, 2.0])


class Faulty:
    """A log whose transactions fail as told: `before` (nothing committed), `after` (committed, but not said so)."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.fault = ""
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def writer(self, transactional_id: str = "") -> Any:
        if self.fault == "down":
            raise UnavailableError("no broker")
        return _Writer(self, self._log.writer(transactional_id))


class _Writer:
    def __init__(self, log: Faulty, writer: Any) -> None:
        self._log = log
        self._writer = writer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def commit(self) -> None:
        fault = self._log.fault
        if fault in ("down", "before"):
            raise UnavailableError("commit timed out")
        self._writer.commit()
        self._log.commits += 1
        if fault == "after":
            raise UnavailableError("commit timed out")


def told(log: Log, endpoint: str = "late") -> list[str]:
    """The ids in the topic, as a separate reader of committed records sees them."""
    at = Partition(f"predictions.{endpoint}", 0)
    if at.topic not in log.topics():
        return []
    reader = log.reader({at: 0})
    out: list[str] = []
    while reader.positions()[at] < log.end(at):
        for record in reader.poll(100, 1.0):
            out.append(events.decode(record.value or b"").id)
    return out


def ids(n: int) -> list[str]:
    return [f"e{i}" for i in range(n)]


@pytest.fixture
def log() -> Iterator[Faulty]:
    yield Faulty(MemoryLog())


def started(log: Any, folder: Path, **options: Any) -> PredictionLog:
    made = PredictionLog("late", log, Spool(folder), **options)
    made.start()
    return made


def test_predictions_arrive_in_order_with_their_features(log: Faulty, tmp_path: Path):
    kept = started(log, tmp_path)
    for i in range(500):
        kept.append(prediction(i))
    kept.close()
    assert told(log) == ids(500)
    record = log.reader({Partition("predictions.late", 0): 0}).poll(1, 1.0)[0]
    assert events.decode(record.value or b"") == prediction(0)
    assert dict(record.headers)["ce_type"] == b"prediction.made.v1"


@pytest.mark.parametrize("fault", ["down", "before", "after"])
def test_an_outage_is_bridged_by_the_spool_without_duplicates(log: Faulty, tmp_path: Path, fault: str):
    kept = started(log, tmp_path)
    for i in range(100):
        kept.append(prediction(i))
    until(lambda: kept.unsent == 0)
    log.fault = fault
    for i in range(100, 200):
        kept.append(prediction(i))
    until(lambda: kept.down)
    for i in range(200, 300):
        kept.append(prediction(i))
    log.fault = ""
    until(lambda: kept.unsent == 0 and not kept.down)
    kept.close()
    assert told(log) == ids(300)


@pytest.mark.parametrize("fault", ["before", "after"])
def test_after_a_restart_the_rest_is_sent_once(log: Faulty, tmp_path: Path, fault: str):
    kept = started(log, tmp_path)
    log.fault = fault
    for i in range(50):
        kept.append(prediction(i))
    until(lambda: kept.down)
    kept.close(timeout=5)
    assert kept.unsent > 0 or fault == "after"
    log.fault = ""
    again = started(log, tmp_path)
    for i in range(50, 60):
        again.append(prediction(i))
    until(lambda: again.unsent == 0)
    again.close()
    assert told(log) == ids(60)


def test_a_lost_hint_costs_a_longer_look_and_no_duplicate(log: Faulty, tmp_path: Path):
    kept = started(log, tmp_path)
    for i in range(20):
        kept.append(prediction(i))
    until(lambda: log.commits and kept.unsent == 0)
    # As kill -9 leaves it: items on disk, sent already, and the hint of long ago.
    kept._stop.set()
    kept._sender_stop.set()
    for thread in kept._threads:
        thread.join()
    kept._spool.sent = Sent(kept._spool.sent.spool)
    kept._spool.save_sent()
    os.close(kept._spool._lock)
    again = started(log, tmp_path)
    again.append(prediction(20))
    until(lambda: again.unsent == 0)
    again.close()
    assert told(log) == ids(21)


def test_a_full_disk_is_said_refuses_at_once_and_recovers(log: Faulty, tmp_path: Path):
    kept = started(log, tmp_path)
    kept.append(prediction(0))
    until(lambda: kept.unsent == 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        with pytest.raises(UnavailableError, match="cannot be kept"):
            kept.append(prediction(99))
        assert kept.problem
        until(lambda: kept.problem.startswith("disk"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    until(lambda: not kept.problem)
    for i in range(1, 31):
        kept.append(prediction(i))
    kept.close()
    assert told(log) == ids(31)


def test_what_was_appended_survives_a_kill_at_that_moment(log: Faulty, tmp_path: Path):
    killed = PredictionLog("late", log, Spool(tmp_path))  # its threads never ran
    for i in range(20):
        killed.append(prediction(i))
    os.close(killed._spool._lock)
    again = started(log, tmp_path)
    until(lambda: again.unsent == 0)
    again.close()
    assert told(log) == ids(20)


def batches(kept: PredictionLog, start: int, count: int) -> None:
    """Ten predictions a request, in turns for three topics, one of them the log's own."""
    for i in range(start, start + count):
        topic = ("", "predictions.a", "predictions.b")[i % 3]
        kept.append_all([prediction(10 * i + j) for j in range(10)], topic)


def arrived(log: Log) -> list[str]:
    return [id for endpoint in ("late", "a", "b") for id in told(log, endpoint)]


def test_a_request_is_kept_whole_or_not_at_all(log: Faulty, tmp_path: Path):
    kept = started(log, tmp_path)
    kept.append_all([])
    kept.append_all([prediction(i) for i in range(10)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(p.stat().st_size for p in tmp_path.glob("*.spool"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1_000, before[1]))  # room for two of them
    try:
        with pytest.raises(UnavailableError, match="cannot be kept"):
            kept.append_all([prediction(i) for i in range(10, 20)], "predictions.a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    kept.append_all([prediction(i) for i in range(20, 30)])
    kept.close()
    assert told(log) == [*ids(10), *ids(30)[20:]]
    assert told(log, "a") == []


@pytest.mark.parametrize("fault", ["down", "before", "after"])
def test_one_log_bridges_an_outage_for_many_topics(log: Faulty, tmp_path: Path, fault: str):
    kept = started(log, tmp_path)
    batches(kept, 0, 30)
    until(lambda: kept.unsent == 0)
    log.fault = fault
    batches(kept, 30, 30)
    until(lambda: kept.down)
    batches(kept, 60, 30)
    log.fault = ""
    until(lambda: kept.unsent == 0 and not kept.down)
    kept.close()
    assert sorted(arrived(log)) == sorted(ids(900))
    assert [told(log, name) for name in ("late", "a", "b")] == [
        [f"e{10 * i + j}" for i in range(first, 90, 3) for j in range(10)] for first in range(3)
    ]


@pytest.mark.parametrize("sent", [1, 2, 4])
def test_after_a_kill_what_reached_any_topic_is_not_sent_again(
    log: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: int
):
    """Killed after so many transactions of two answers each, with the hint of before the first."""
    monkeypatch.setattr("serving.prediction_log._BATCH", 2)
    killed = PredictionLog("late", log, Spool(tmp_path))
    for i in range(9):
        topic = ("predictions.a", "predictions.b", "")[i // 3]
        killed.append_all([prediction(10 * i + j) for j in range(10)], topic)
    killed._spool.sync()
    killed._log = Dying(log, sent)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        killed._send_spooled()
    os.close(killed._spool._lock)
    assert len(arrived(log)) == 20 * sent
    again = started(log, tmp_path)
    until(lambda: again.unsent == 0)
    again.close()
    assert [told(log, name) for name in ("a", "b", "late")] == [ids(30), ids(60)[30:], ids(90)[60:]]


class Dying:
    """A log at whose commit the process is killed: as many as given have arrived, and it does not know of the last."""

    def __init__(self, log: Log, commits: int) -> None:
        self._log = log
        self.left = commits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def writer(self, transactional_id: str = "") -> Any:
        return _Last(self, self._log.writer(transactional_id))


class _Last:
    def __init__(self, log: Dying, writer: Any) -> None:
        self._log = log
        self._writer = writer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def commit(self) -> None:
        self._writer.commit()
        self._log.left -= 1
        if not self._log.left:
            raise KeyboardInterrupt


def test_what_a_server_of_before_kept_is_read(log: Faulty, tmp_path: Path):
    """The spool's items had no topic, and the hint named partitions by number."""
    spool = Spool(tmp_path)
    before = msgspec.msgpack.encode([b"e0", events.encode(prediction(0)), [("ce_id", b"e0")]])
    spool.append([before])
    os.close(spool._lock)
    hint = msgspec.json.decode((tmp_path / "sent.json").read_bytes()) | {"ends": {"0": 0}}
    (tmp_path / "sent.json").write_bytes(msgspec.json.encode(hint))
    again = started(log, tmp_path)
    until(lambda: again.unsent == 0)
    again.close()
    assert told(log) == ["e0"]
    assert again._spool.sent.spool == hint["spool"]


def test_who_ends_in_order_leaves_nothing_to_look_through(log: Faulty, tmp_path: Path):
    for start in (0, 10):
        kept = started(log, tmp_path)
        batches(kept, start, 10)
        kept.close()
        ends = {name: log.end(Partition(f"predictions.{name}", 0)) for name in ("late", "a", "b")}
        names = {"late": "0", "a": "predictions.a/0", "b": "predictions.b/0"}
        assert kept._spool.sent.ends == {names[name]: end for name, end in ends.items()}

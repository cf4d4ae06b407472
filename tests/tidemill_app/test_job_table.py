"""What is wanted of each job, as the topic `jobs` says it."""

import pytest

from connectors.memory import MemoryLog
from tidemill.errors import NotFoundError
from tidemill.log import TopicSpec
from tidemill.time import SystemClock
from tidemill_app.home import Home
from tidemill_app.job_table import TOPIC, JobFiles, JobTable


def table(log):
    made = JobTable(log, SystemClock())
    made.refresh()
    return made


def test_what_is_not_given_stays_as_it_was():
    log = MemoryLog()
    table(log).change("a", wanted="running", bundle="b" * 64, file="job.py")
    table(log).change("a", wanted="stopped")
    found = table(log).get("a")
    assert (found.wanted, found.bundle, found.file) == ("stopped", "b" * 64, "job.py")
    with pytest.raises(NotFoundError, match="one of: a"):
        table(log).get("b")


def test_a_wish_that_fails_says_so():
    log = MemoryLog()
    here = table(log)
    wish = here.change("a", wanted="running")
    here.failed(wish, "no such column")
    for found in (here, table(log)):
        assert (found.get("a").wanted, found.get("a").reason) == ("failed", "no such column")
        assert found.get("a").id == wish.id


def test_the_failure_of_an_older_wish_does_not_touch_a_newer_one():
    log = MemoryLog()
    supervisors, users = table(log), table(log)
    old = supervisors.change("a", wanted="running", bundle="1" * 64)
    users.refresh()
    new = users.change("a", wanted="running", bundle="2" * 64, reason="")
    supervisors.failed(old, "the old code failed")
    for found in (users, table(log)):
        found.refresh()
        assert found.get("a") == new
    # Neither does compaction lose it: the outcome has a key of its own.
    at = log.partitions(TOPIC)[0]
    keys = [r.key for r in log.reader({at: 0}).poll(10, 1.0)]
    assert keys == [b"a", b"a", b"a/outcome"]


def test_a_removed_job_is_no_more_until_it_is_submitted_anew():
    log = MemoryLog()
    here, there = table(log), table(log)
    here.change("a", wanted="stopped", bundle="1" * 64, options={"x": "1"})
    here.change("a", wanted="removed")
    there.refresh()
    assert here.jobs == there.jobs == table(log).jobs == {}
    here.change("a", wanted="running", bundle="2" * 64)
    assert (table(log).get("a").bundle, table(log).get("a").options) == ("2" * 64, {})


def test_strangers_records_are_passed_over():
    log = MemoryLog()
    log.create(TOPIC, TopicSpec(compacted=True))
    writer = log.writer()
    for value in (b"", b"{", b'{"type": "job.changed.v1", "id": "x", "time": 1, "job": "../up", "wanted": "running"}'):
        writer.send(TOPIC, value, key=b"x")
    writer.flush()
    assert table(log).jobs == {}


def test_a_status_is_read_as_it_was_written(tmp_path):
    files = JobFiles(Home(tmp_path), "a")
    assert files.read_status() == {}
    files.write_status({"state": "running", "lag": {"t/0": None}})
    assert files.read_status() | {"reported": 0} == {"state": "running", "lag": {"t/0": None}, "reported": 0}
    files.status.write_text("{half")
    assert files.read_status() == {}

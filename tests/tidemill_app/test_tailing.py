"""Tail: the last events, those from a place or time on, and those to come."""

import json

import numpy as np
import pytest

from connectors import arrow
from connectors.memory import MemoryLog
from tidemill.cloudevents import ARROW, to_headers
from tidemill.errors import ConfigError
from tidemill.log import Partition, Record, TopicSpec
from tidemill.time import to_rfc3339
from tidemill_app.reading import read_all
from tidemill_app.tailing import offset_at, one_line, safe_text, show, start, tail


def send(log, topic, *values, partition=0):
    writer = log.writer()
    for value in values:
        writer.send(topic, json.dumps(value).encode(), key=b"k", partition=partition)
    writer.flush()
    writer.close()


@pytest.mark.stack
def test_the_last_few_over_all_partitions(log, name):
    log.create(name, TopicSpec(partitions=2))
    send(log, name, 1, 2, 3)
    send(log, name, 4, 5, partition=1)
    assert [r.value for r in tail(log, name, last=3)] == [b"3", b"4", b"5"]
    assert len(list(tail(log, name, origin="beginning"))) == 5
    assert [r.value for r in tail(log, name, origin="1")] == [b"2", b"3", b"5"]
    with pytest.raises(ConfigError, match="beginning, end, an offset"):
        start(log, name, "yesterday")


class Counting(MemoryLog):
    """A log that counts the records it hands out."""

    polled = 0

    def reader(self, positions):
        reader = super().reader(positions)
        poll = reader.poll

        def counted(most, timeout):
            records = poll(most, timeout)
            self.polled += len(records)
            return records

        reader.poll = counted
        return reader


def test_a_long_topic_is_shown_from_its_first_record_on_without_being_read_whole():
    now = iter(range(1_000_000))
    log = Counting(lambda: next(now))
    log.create("t", TopicSpec(partitions=3))
    writer = log.writer()
    for n in range(9000):
        writer.send("t", str(n).encode(), partition=n // 2 % 3)
    shown = tail(log, "t", origin="beginning")
    assert [next(shown).value for _ in range(4)] == [b"0", b"1", b"2", b"3"]
    assert log.polled <= 3000
    assert [r.value for r in shown] == [str(n).encode() for n in range(4, 9000)]


def test_of_a_long_topic_the_first_from_a_time_on_is_exact():
    now = iter(range(1_000, 90_000_000, 500))
    log, at = MemoryLog(lambda: next(now) // 2_000 * 2_000), Partition("t", 0)
    log.create("t", TopicSpec())
    writer = log.writer()
    for n in range(9_000):
        writer.send("t", str(n).encode())
    stamps = [record.timestamp for record in read_all(log, "t")]
    for time in (0, stamps[4_321], stamps[4_321] + 1, stamps[-1], stamps[-1] + 1):
        assert offset_at(log, at, time) == next((i for i, stamp in enumerate(stamps) if stamp >= time), 9_000)


def test_markers_of_transactions_do_not_count_as_records():
    log = MemoryLog(lambda: 0)
    log.create("t", TopicSpec(partitions=2))
    writer = log.writer("w")
    for n in range(6):
        writer.begin()
        writer.send("t", str(n).encode(), partition=0)
        writer.abort() if n in (2, 3, 4) else writer.commit()
    assert [r.value for r in tail(log, "t", last=1)] == [b"5"]
    assert [r.value for r in tail(log, "t", last=3)] == [b"0", b"1", b"5"]
    assert [r.value for r in tail(log, "t", last=9)] == [b"0", b"1", b"5"]
    assert list(tail(log, "t", last=0)) == []


@pytest.mark.stack
def test_from_a_time_of_appending_on(log, name):
    log.create(name, TopicSpec())
    for value in range(5):
        send(log, name, value)
    there = list(read_all(log, name))
    for record in there:
        first = next(r.offset for r in there if r.timestamp >= record.timestamp)
        assert offset_at(log, Partition(name, 0), record.timestamp) == first
    assert offset_at(log, Partition(name, 0), there[-1].timestamp + 1_000_000) == 5
    assert next(iter(tail(log, name, origin=to_rfc3339(there[2].timestamp)))).timestamp == there[2].timestamp


@pytest.mark.stack
def test_following_shows_what_comes(log, name):
    log.create(name, TopicSpec())
    send(log, name, "before")
    seen = []
    for record in tail(log, name, follow=True, stop=lambda: len(seen) == 3):
        seen.append(record.value)
        if len(seen) == 1:
            send(log, name, "one", "two")
    assert seen == [b'"before"', b'"one"', b'"two"']


def record(value, headers=()):
    return Record("t", 0, 7, b"k", value, headers, 0)


def test_a_block_is_shown_event_by_event():
    value = arrow.encode({"a": np.array([1, 2]), "at": np.array([0, 1], "datetime64[us]")})
    headers = to_headers("", "/s", "t", None, ARROW)
    one, two = show(record(value, headers), arrow.decode)
    assert (one.row, two.row, one.data["a"], two.data["a"]) == (0, 1, 1, 2)
    assert json.loads(json.dumps(two.data["at"])).startswith("1970-01-01T00:00:00.000001")


def test_what_is_no_json_cannot_reach_the_terminal_raw():
    (seen,) = show(record(b"\x1b[2J\xff\n"), None)
    assert seen.raw
    assert "\x1b" not in one_line(seen)
    assert "\\x1b[2J\\xff\\n" in one_line(seen)
    assert safe_text(b"x" * 3000).endswith("… (3000 bytes)")
    assert "(no value)" in one_line(next(show(record(None), None)))


def test_control_characters_inside_json_stay_escaped():
    (seen,) = show(record(b'{"a": "\\u001b[2J"}'), None)
    assert "\x1b" not in one_line(seen)

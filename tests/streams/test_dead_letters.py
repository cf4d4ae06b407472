"""Dead letters keep the bytes; records no longer at hand are read again."""

from connectors.memory import MemoryLog
from streams.dead_letters import DeadLetters, RecentRecords, fetch
from tidemill.block import Place
from tidemill.errors import WrongTypeError
from tidemill.log import Record, TopicSpec


def test_a_letter_has_the_untouched_bytes_and_says_what_and_where():
    record = Record("t", 2, 7, b"k", b"{", (("own", b"1"),), 0)
    topic, value, key, headers = DeadLetters("job").letter(
        Place("t", 2, 7), WrongTypeError("no number", got="'x'", field="km"), record, 1_000_000
    )
    assert (topic, value, key) == ("dead.job", b"{", b"k")
    assert dict(headers) == {
        "own": b"1",
        "dead_topic": b"t",
        "dead_partition": b"2",
        "dead_offset": b"7",
        "dead_row": b"0",
        "dead_error": b"WrongTypeError",
        "dead_message": b"no number; got 'x'",
        "dead_field": b"km",
        "dead_time": b"1970-01-01T00:00:01Z",
    }


def test_records_are_fetched_by_place_and_gone_ones_left_out():
    log = MemoryLog()
    log.create("t", TopicSpec(partitions=2))
    writer = log.writer()
    for i in range(1200):
        writer.send("t", b"%d" % i, partition=i % 2)
    log.delete_before(log.partitions("t")[0], 10)
    places = [Place("t", 0, 3), Place("t", 0, 10), Place("t", 0, 599), Place("t", 1, 0), Place("t", 1, 5, 4)]
    found = fetch(log, places)
    assert {p: r.value for p, r in found.items()} == {
        Place("t", 0, 10): b"20",
        Place("t", 0, 599): b"1198",
        Place("t", 1, 0): b"1",
        Place("t", 1, 5, 4): b"11",
    }


def test_recent_records_are_bounded():
    recent = RecentRecords(limit=10_000)
    for i in range(100):
        recent.add([Record("t", 0, 10 * i + j, None, b"x" * 100, (), 0) for j in range(10)])
    assert recent.find(Place("t", 0, 999)).offset == 999
    assert recent.find(Place("t", 0, 5)) is None
    assert recent.find(Place("t", 1, 999)) is None

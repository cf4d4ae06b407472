import pytest

from connectors.memory import MemoryLog
from tidemill.errors import TooLargeError
from tidemill.log import MAX_RECORD_BYTES, Partition, TopicSpec, check_size, gone, offset_before


def test_the_size_of_a_record_is_key_value_and_headers():
    assert check_size("t", b"k", b"value", [("name", b"1"), ("null", None)]) == 15
    assert check_size("t", None, None) == 0
    assert check_size("t", b"k", b"v" * (MAX_RECORD_BYTES - 1)) == MAX_RECORD_BYTES
    with pytest.raises(TooLargeError, match=f"t: record is too large; wanted at most {MAX_RECORD_BYTES}"):
        check_size("t", b"kk", b"v" * (MAX_RECORD_BYTES - 1))
    with pytest.raises(TooLargeError):
        check_size("t", b"k", b"v" * (MAX_RECORD_BYTES - 1), [("", b"1")])


def test_what_is_gone_is_named():
    partition = Partition("data.x", 2)
    assert "data.x/2: offsets 3 to 11 are gone" in str(gone(partition, 3, 12, 20))
    error = str(gone(partition, 25, 12, 20))
    assert "ends before" in error and "wanted offset 25" in error and "12 to 20" in error


def test_an_offset_near_a_time_is_never_after_it():
    now = iter(range(1_000, 30_000_000, 1_000))
    log, at = MemoryLog(clock=lambda: next(now)), Partition("t", 0)
    log.create("t", TopicSpec())
    writer = log.writer()
    for _ in range(20_000):
        writer.send("t", b"")
    stamps = [record.timestamp for record in log.reader({at: 0}).poll(20_000, 1.0)]
    for time in (0, 1, stamps[5_000], stamps[-1], 10**12):
        first = next((i for i, stamp in enumerate(stamps) if stamp >= time), len(stamps))
        assert first - 2_000 <= offset_before(log, at, time) <= first

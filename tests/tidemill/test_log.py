import pytest

from tidemill.errors import TooLargeError
from tidemill.log import MAX_RECORD_BYTES, Partition, check_size, gone


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

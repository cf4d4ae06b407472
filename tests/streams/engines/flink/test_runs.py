"""Records cross between Java and Python as they are."""

import struct

import msgspec
import pytest

pytest.importorskip("pyflink")

from streams.engines.flink.runs import MOST_SENT, packed, records_of
from tidemill.log import Partition, Record

EVENTS = Partition("events", 3)


def int64(value):
    return b"\xd3" + struct.pack(">q", value)


def binary(value):
    return b"\xc0" if value is None else b"\xc6" + struct.pack(">I", len(value)) + value


def as_java_writes(records):
    """The bytes of `Gather.java`: every length in four bytes."""
    out = b"\xdd" + struct.pack(">I", len(records))
    for r in records:
        out += b"\x95" + int64(r.offset) + binary(r.key) + binary(r.value) + b"\xdd" + struct.pack(">I", len(r.headers))
        for name, value in r.headers:
            text = name.encode()
            out += b"\x92\xdb" + struct.pack(">I", len(text)) + text + binary(value)
        out += int64(r.timestamp)
    return out


def test_a_run_is_its_records():
    records = [
        Record("events", 3, 0, None, b"", (), 0),
        Record("events", 3, 2**40, b"key", b"x" * 70_000, (("ce_id", b"1"), ("über", b"")), 1_700_000_000_000_000),
        Record("events", 3, -1, b"", None, (), -1),
    ]
    assert records_of(as_java_writes(records), EVENTS) == records
    assert records_of(as_java_writes([]), EVENTS) == []


def test_what_is_sent_comes_in_order_and_a_message_is_bounded():
    sent = [("out", str(i).encode(), None if i % 2 else b"k", [("ce_id", b"1")]) for i in range(MOST_SENT + 1)]
    messages = [msgspec.msgpack.decode(message) for message in packed(sent)]
    assert [len(m) for m in messages] == [MOST_SENT, 1]
    assert [(t, v, k, [tuple(h) for h in hs]) for m in messages for t, v, k, hs in m] == sent
    assert list(packed([])) == []

"""Rows in memory as a log: the log's conformance suite, event-time order, the same records every time."""

import numpy as np
import pyarrow as pa
import pytest

from connectors import arrow
from connectors.datasets import flights
from connectors.datasets.dataset import declare
from connectors.table_log import BLOCK_ROWS, TableLog
from tidemill.block import Block
from tidemill.checks.log_subject import Subject, read
from tidemill.checks.logs import CHECKS, unmet
from tidemill.decode import Decoder
from tidemill.errors import UserError
from tidemill.log import Partition, TopicSpec

ROWS = 10_000


def stream(times):
    n = len(times)
    ids = pa.array([f"e{i}" for i in range(n)], pa.string())
    table = pa.table({"id": ids, "time": pa.array(times, pa.int64()), "x": pa.array(range(n), pa.int64())})
    return declare("toy", table)


def everything(log, at=0, most=3):
    [place] = [p for topic in log.topics() for p in log.partitions(topic)]
    return read(log, {place: at}, most=most)[0]


SUBJECT = Subject("table", lambda: stream(list(range(ROWS))).log(), can=frozenset())


@pytest.mark.parametrize("check", [c for c in CHECKS if not unmet(c, SUBJECT)], ids=lambda c: c.__name__)
def test_conforms(check):
    check(SUBJECT)


def test_rows_are_sorted_by_time_and_ties_keep_their_order():
    times = np.random.default_rng(3).integers(0, 500, ROWS).tolist()
    data = stream(times)
    log = data.log()
    items = Decoder(data.spec, arrow.decode).decode(everything(log))
    block = Block.concat(items)
    expected = sorted(range(ROWS), key=lambda i: times[i])
    assert block.columns["x"].tolist() == expected
    assert block.time.tolist() == [times[i] for i in expected]


def test_offsets_count_records_and_any_start_gives_the_same_rest():
    log = stream(list(range(ROWS))).log()
    records = everything(log)
    assert [r.offset for r in records] == list(range(-(-ROWS // BLOCK_ROWS)))
    assert records == everything(log, most=100)
    assert everything(log, at=1) == records[1:]


def test_lines_and_rest_follow():
    log = TableLog(stream([]).spec, None, [(5, b"five"), (3, b"three"), (5, b"also five")], [b"bad"])
    assert [r.value for r in everything(log)] == [b"three", b"five", b"also five", b"bad"]
    assert [r.timestamp for r in everything(log)] == [3, 5, 5, 5]


def test_an_empty_log():
    for log in (stream([]).log(), TableLog(stream([]).spec)):
        assert everything(log) == []
        place = Partition("data.toy", 0)
        assert (log.begin(place), log.end(place)) == (0, 0)
        assert log.reader({place: 0}).poll(10, 0) == []


def test_read_only():
    log = stream([]).log()
    with pytest.raises(UserError, match="read-only"):
        log.writer()
    with pytest.raises(UserError, match="read-only"):
        log.create("x", TopicSpec())


def test_the_flights_streams_are_logs():
    for data in flights.dataset().streams:
        items = Decoder(data.spec, arrow.decode).decode(everything(data.log())[:2])
        assert [type(i) for i in items] == [Block, Block]
        assert items[0].time.tolist() == data.time[:BLOCK_ROWS].tolist()

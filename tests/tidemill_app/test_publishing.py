"""Publishing: rows are checked as a job would read them, and say who they are in their headers."""

import json

import pytest

from connectors import arrow
from tidemill import events
from tidemill.block import Block
from tidemill.cloudevents import from_headers
from tidemill.decode import Advance, Decoder
from tidemill.errors import TooLargeError
from tidemill.log import MAX_RECORD_BYTES, Partition
from tidemill.stream import RECORD_TIME, Field, StreamSpec
from tidemill_app.catalogue import Catalogue
from tidemill_app.publishing import Checker, Pace, RefusedRows, in_time_order, publish
from tidemill_app.reading import read_all
from tidemill_app.rows import Row, encode

pytestmark = pytest.mark.stack

SECOND = 1_000_000


def spec_of(name: str, **changes) -> StreamSpec:
    fields = (Field("id", "string"), Field("at", "time"), Field("km", "float", nullable=True))
    return StreamSpec(**{"name": name, "fields": fields, "time": "at", "id": "id", "key": "id"} | changes)


def rows(*values: dict) -> list[Row]:
    return [Row(i, encode(v), v) for i, v in enumerate(values, 1)]


def trips(n: int, start: int = 0) -> list[Row]:
    return rows(*({"id": f"t{i}", "at": f"1970-01-01T00:00:{i:02d}Z", "km": i / 2} for i in range(start, start + n)))


def items_of(log, spec):
    decoder = Decoder(spec, arrow.decode)
    by_partition = {p.number: [] for p in log.partitions(spec.topic)}
    for record in read_all(log, spec.topic):
        by_partition[record.partition].append(record)
    return {n: decoder.decode(records) for n, records in by_partition.items()}


def test_events_carry_their_headers_and_the_end_is_promised_everywhere(log, name):
    spec = Catalogue(log).declare(spec_of(name, partitions=3))
    report = publish(log, spec, lambda: trips(20))
    assert (report.sent, report.records, report.bad, report.disorder) == (20, 20, 0, 0)
    records = [r for r in read_all(log, spec.topic) if b"time.advanced" not in dict(r.headers)["ce_type"]]
    first = next(r for r in records if r.key == b"t7")
    assert json.loads(first.value) == {"id": "t7", "at": "1970-01-01T00:00:07Z", "km": 3.5}
    assert from_headers(first.headers) == ("t7", f"/streams/{name}", f"{name}.v1", 7 * SECOND, "application/json")
    for items in items_of(log, spec).values():
        assert isinstance(items[-1], Advance)
        assert (items[-1].time, items[-1].promise) == (19 * SECOND + 1, True)
    assert sorted(
        i for items in items_of(log, spec).values() for b in items if isinstance(b, Block) for i in b.ids
    ) == sorted(f"t{i}" for i in range(20))


def test_arrow_blocks_hold_the_same_events_in_the_same_partitions(log, name):
    as_json = Catalogue(log).declare(spec_of(name, partitions=3))
    as_arrow = Catalogue(log).declare(spec_of(name + "a", partitions=3))
    data = [*trips(20), *rows({"id": "last", "at": "1970-01-01T00:01:00Z"})]
    publish(log, as_json, lambda: data)
    report = publish(log, as_arrow, lambda: data, format="arrow", arrow=arrow.encode, block_rows=10)
    assert report.sent == 21
    assert report.records < 10
    for number in range(3):
        one, two = ([b for b in items_of(log, spec)[number] if isinstance(b, Block)] for spec in (as_json, as_arrow))
        assert [r for b in one for r in b.rows()] == [r for b in two for r in b.rows()]
        assert [t for b in one for t in b.time.tolist()] == [t for b in two for t in b.time.tolist()]
        assert [t for b in one for t in b.ids] == [t for b in two for t in b.ids]


def test_nothing_is_sent_where_a_row_does_not_fit(log, name):
    spec = Catalogue(log).declare(spec_of(name))
    good = [row._replace(line=i) for i, row in enumerate(trips(50) * 30, 1)]
    bad = [*good, Row(1501, b'{"id": "x"}', {"id": "x"}), Row(1502, b"{", None)]
    with pytest.raises(RefusedRows, match=r"line 1501: .*`at`.* \(and 1 more\).*Nothing was sent") as caught:
        publish(log, spec, lambda: bad)
    assert [row.line for row in caught.value.rows] == [1501, 1502]
    assert log.end(Partition(spec.topic, 0)) == 0
    report = publish(log, spec, lambda: bad, allow_bad=True)
    assert (report.sent, report.bad) == (1500, 2)


def test_standard_input_stops_at_the_first_bad_row_and_says_how_far_it_came(log, name):
    spec = Catalogue(log).declare(spec_of(name))
    with pytest.raises(RefusedRows, match="1000 was sent"):
        publish(log, spec, lambda: iter([*(trips(50) * 20), Row(1001, b"{", None)]), twice=False)


def test_an_event_above_the_limit_is_refused(log, name):
    spec = Catalogue(log).declare(spec_of(name))
    huge = rows({"id": "x", "at": "1970-01-01", "note": "x" * MAX_RECORD_BYTES})
    with pytest.raises(RefusedRows) as caught:
        publish(log, spec, lambda: huge)
    assert isinstance(caught.value.rows[0].error, TooLargeError)


def test_sorting_and_the_report_of_disorder(log, name):
    spec = Catalogue(log).declare(spec_of(name))
    mixed = [*trips(5, start=10), *trips(5)]
    checked = [chunk for chunk, _ in Checker(spec).check(mixed, size=3)]
    merged = Block.concat([c.block for c in in_time_order(checked)])
    assert merged.time.tolist() == sorted(merged.time.tolist())
    assert publish(log, spec, lambda: mixed, advance=False).disorder == 14 * SECOND
    assert publish(log, spec, lambda: mixed, sort=True).disorder == 0


@pytest.mark.parametrize("format", ["json", "arrow"])
@pytest.mark.parametrize("key", [None, "id"])
def test_without_an_id_field_the_file_and_line_are_the_id(log, name, format, key):
    """Of each event, so that a job knows a file that is published twice again, in blocks too."""
    spec = Catalogue(log).declare(spec_of(name, id=None, key=key, partitions=3))
    for _ in range(2):
        publish(log, spec, lambda: trips(3), origin="abc", format=format, arrow=arrow.encode, advance=False)
    ids = [i for items in items_of(log, spec).values() for b in items for i in b.ids]
    assert sorted(ids) == ["abc/1", "abc/1", "abc/2", "abc/2", "abc/3", "abc/3"]


def test_a_label_needs_only_what_it_is_about(log, name):
    Catalogue(log).declare(spec_of(name))
    spec = Catalogue(log).declare_labels(name)
    publish(log, spec, lambda: rows({"about": "t1", "value": 1}), origin="f", advance=False)
    (record,) = read_all(log, spec.topic)
    label = events.decode(record.value)
    assert isinstance(label, events.LabelGiven)
    assert (label.id, label.about, label.value, record.key) == ("f/1", "t1", 1, b"t1")


def test_record_time_promises_nothing(log, name):
    spec = Catalogue(log).declare(spec_of(name, time=RECORD_TIME))
    publish(log, spec, lambda: trips(2))
    assert len(list(read_all(log, spec.topic))) == 2


def test_the_pace_follows_rate_and_event_time():
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))
        now[0] += seconds

    steady = Pace(rate=10, now=lambda: now[0], sleep=sleep)
    for _ in range(3):
        steady.wait(0)
    assert slept == [0.1, 0.1]
    slept.clear()
    replay = Pace(speed=60, now=lambda: now[0], sleep=sleep)
    for time in (0, 60 * SECOND, 30 * SECOND, 180 * SECOND):
        replay.wait(time)
    assert slept == [1.0, 2.0]

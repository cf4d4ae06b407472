"""Decoding: good records become columns, each bad one is named."""

import json

import msgspec
import numpy as np
import pytest

from tidemill import events
from tidemill.block import Block
from tidemill.cloudevents import headers_of, to_headers
from tidemill.decode import Advance, Bad, Decoder
from tidemill.errors import (
    MalformedError,
    NotFiniteError,
    TombstoneError,
    TooLargeError,
    UnknownTagError,
    WrongTypeError,
)
from tidemill.events import TimeAdvanced
from tidemill.log import Record
from tidemill.stream import Field, StreamSpec, answer_stream, label_stream

SPEC = StreamSpec(
    name="trips",
    fields=(
        Field("id", "string"),
        Field("at", "time"),
        Field("km", "float"),
        Field("stops", "int", default=0),
        Field("note", "string", nullable=True),
    ),
    key="id",
    time="at",
    id="id",
)


def record(value: object, offset: int = 0, headers=()) -> Record:
    data = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return Record("data.trips", 0, offset, None, data, headers, 77)


GOOD = {"id": "a", "at": "1970-01-01T00:00:01Z", "km": 2, "note": "x", "more": [1]}


def test_rows_become_declared_columns():
    (block,) = Decoder(SPEC).decode([record(GOOD), record(GOOD | {"id": "b", "note": None, "stops": 3}, 1)])
    assert block.time.tolist() == [1_000_000, 1_000_000]
    assert block.ids.tolist() == ["a", "b"]
    assert block.columns["km"].dtype == np.float64
    assert block.columns["stops"].tolist() == [0, 3]
    assert block.columns["note"].tolist() == ["x", None]
    assert block.offset.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"{", MalformedError),
        (b'{"id": "\xff"}', MalformedError),
        (None, TombstoneError),
        (b'{"id":"a","at":"1970-01-01T00:00:01Z","km":NaN}', NotFiniteError),
        (b'{"id":"a","at":"1970-01-01T00:00:01Z","km":1e999}', NotFiniteError),
        (GOOD | {"km": "far"}, WrongTypeError),
        (GOOD | {"at": "yesterday"}, WrongTypeError),
        ({"id": "a"}, WrongTypeError),
        ([1], WrongTypeError),
        (GOOD | {"note": "x" * 2000}, TooLargeError),
        (b"[" * 100_000, TooLargeError),
    ],
)
def test_bad_payloads_are_named_and_do_not_disturb_their_neighbours(value, error):
    before, bad, after = Decoder(SPEC, max_event_bytes=1000).decode([record(GOOD), record(value, 1), record(GOOD, 2)])
    assert len(before) == len(after) == 1
    assert isinstance(bad, Bad)
    assert type(bad.error) is error
    assert bad.place.offset == 1


@pytest.mark.parametrize("field", ["j", "unknown"])
def test_deep_nesting_in_a_field_is_malformed_too(field):
    spec = StreamSpec(name="t", fields=(Field("at", "time"), Field("j", "json", nullable=True)), time="at")
    deep = b"[" * 100_000 + b"]" * 100_000
    (bad,) = Decoder(spec).decode([record(b'{"at":"2013-01-01","%s":%s}' % (field.encode(), deep))])
    assert isinstance(bad.error, MalformedError)


def test_an_advance_beyond_the_calendar_moves_no_clock():
    event = TimeAdvanced(id="t", time=1 << 61)
    (bad,) = Decoder(SPEC).decode([record(events.encode(event), 0, headers_of(TimeAdvanced(id="t", time=0)))])
    assert isinstance(bad.error, WrongTypeError)


def test_deep_nesting_is_malformed_not_a_crash():
    (bad,) = Decoder(SPEC).decode([record(b"[" * 100_000)])
    assert isinstance(bad.error, MalformedError)


def test_headers_override_the_payload_and_advances_stand_apart():
    advance = TimeAdvanced(id="t", time=5, promise=True)
    one, moved, two = Decoder(SPEC).decode(
        [
            record(GOOD, 0, to_headers("other", "/elsewhere", "trip", 9)),
            record(events.encode(advance), 1, headers_of(advance)),
            record(GOOD, 2),
        ]
    )
    assert (one.ids[0], one.sources[0], one.time[0]) == ("other", "/elsewhere", 9)
    assert isinstance(moved, Advance)
    assert (moved.time, moved.promise, moved.record.offset) == (5, True, 1)
    assert two.sources[0] == "/streams/trips"


def test_a_label_stream_knows_its_tag():
    label = events.LabelGiven(id="l", time=3, about="a", value=1)
    good, bad = Decoder(label_stream("trips")).decode(
        [record(events.encode(label)), record({"type": "label.given.v9", "id": "l"}, 1)]
    )
    assert good.columns["about"].tolist() == ["a"]
    assert good.columns["value"].tolist() == [1]
    assert isinstance(bad.error, UnknownTagError)


def test_arrow_rows_are_judged_one_by_one():
    columns = {
        "id": np.array(["a", "b", "c"], object),
        "at": np.array([1, 2, 3], np.int64) * 1_000_000,
        "km": np.array([1.0, np.nan, 2.0]),
    }
    spec = StreamSpec(
        name="trips",
        fields=SPEC.fields,
        time="at",
        time_unit="us",
        id="id",
    )
    items = Decoder(spec, lambda data: columns).decode(
        [record(b"arrow", 4, [("content-type", b"application/vnd.apache.arrow.stream")])]
    )
    block, bad = items
    assert block.ids.tolist() == ["a", "c"]
    assert block.row.tolist() == [0, 2]
    assert (bad.place.offset, bad.place.row) == (4, 1)
    assert isinstance(bad.error, NotFiniteError)


def test_a_block_names_its_events_in_a_column_of_its_own():
    columns = {"at": np.array([1, 2, 3]), "ce_id": np.array(["f/1", None, 7], object)}
    spec = StreamSpec(name="s", fields=(Field("at", "time"),), time="at", time_unit="us")
    arrow = [("content-type", b"application/vnd.apache.arrow.stream")]
    block, bad = Decoder(spec, lambda data: columns).decode([record(b"arrow", 4, arrow)])
    # Where it names none, the place does.
    assert block.ids.tolist() == ["f/1", f"{block.topic}/{block.partition[0]}/4/1"]
    assert (bad.place.row, bad.error.field) == (2, "ce_id")


def test_arrow_timestamps_are_event_times_whatever_unit_json_has():
    columns = {
        "id": np.array(["a", "b"], object),
        "at": np.array(["2013-03-10T07:00", "NaT"], "datetime64[ms]"),
        "km": np.array([1.0, 2.0]),
    }
    block, bad = Decoder(SPEC, lambda data: columns).decode(
        [record(b"arrow", 4, [("content-type", b"application/vnd.apache.arrow.stream")])]
    )
    assert block.time.tolist() == [1_362_898_800_000_000]
    assert isinstance(bad.error, WrongTypeError)


def test_every_time_column_of_a_block_becomes_microseconds():
    spec = StreamSpec(
        name="t",
        fields=(
            Field("at", "time"),
            Field("due", "time", nullable=True),
            Field("n", "int"),
            Field("by", "time", default=5),
        ),
        time="at",
        time_unit="s",
    )
    at = np.array(["2013-01-01", "2013-01-02", "NaT"], "datetime64[us]")
    columns = {"at": at, "due": at[::-1], "n": np.array([1, 2, 1 << 63], np.uint64)}
    arrow = [("content-type", b"application/vnd.apache.arrow.stream")]
    block, *bad = Decoder(spec, lambda data: columns).decode([record(b"arrow", 0, arrow)])
    day = 86_400_000_000
    assert block.time.dtype == np.int64
    assert block.columns["at"].tolist() == [15706 * day, 15707 * day]
    assert block.columns["due"].tolist() == [None, 15707 * day]
    assert block.columns["by"].tolist() == [5_000_000, 5_000_000]
    assert [(b.place.row, b.error.field) for b in bad] == [(2, "at")]
    columns["at"] = at[:1].repeat(3)
    *_, last = Decoder(spec, lambda data: columns).decode([record(b"arrow", 0, arrow)])
    assert (last.place.row, last.error.field) == (2, "n")


WHOLE = [
    b'{"id":"a","at":1000,"km":1.5,"note":null}',
    b'{"id":"b","at":"1970-01-01T00:00:02Z","km":2,"stops":4}',
    b'{"id":"c",\n "at":3,\n "km":-0.0,"note":"\\u00fc}"}',
    b'{"id":"d","at":4.5,"km":4,"more":[{},{"x":"}\\n{"}]}',
]
BROKEN = [
    b"",
    b"{}",
    b' {"id":"z","at":1,"km":2} ',
    b'{"id":"e","at":1,"km":1}{"id":"f","at":1,"km":1}',
    b'{"id":"g","at":1,"km":1}\n{"id":"h","at":1,"km":1}',
    b'{"id":"i","at":1,"km":1,"more":{}',
    b'"km":1}',
    b'{"id":"j","at":1,"km":1,"more":[{}',
    b"{}]}",
    b'{"id":"k","at":1,"km":1,"note":"}',
    b'{"}',
    b'{"id":"l","at":true,"km":1}',
    b'{"id":"m","at":99999999999999999999,"km":1}',
    b'{"id":"n","at":1,"km":NaN}',
]
OTHER = [
    (WHOLE[0], to_headers("other", "/elsewhere", "trip", 9)),
    (events.encode(TimeAdvanced(id="t", time=5)), headers_of(TimeAdvanced(id="t", time=5))),
    (WHOLE[0], [("ce_time", b"never")]),
]


TWO_IN_ONE = BROKEN[3]
AS_MANY_VALUES_AS_RECORDS = [
    [TWO_IN_ONE, b""],
    [b'{"id":"i","at":1,"km":1,', b'"stops":2}', TWO_IN_ONE],
    [TWO_IN_ONE, b'{"id":"i","at":1,"km":1,"more":[{}', b"{}]}"],
]


@pytest.mark.parametrize("seed", range(60 + len(AS_MANY_VALUES_AS_RECORDS)))
def test_what_is_parsed_at_once_is_what_is_parsed_one_by_one(seed):
    """However good, broken and half records come together, in whatever order."""
    rng = np.random.default_rng(seed)
    kinds = [WHOLE, WHOLE + BROKEN, WHOLE + OTHER, BROKEN][seed % 4]
    picked = [kinds[i] for i in rng.integers(len(kinds), size=rng.integers(2, 12))]
    if seed >= 60:
        picked = AS_MANY_VALUES_AS_RECORDS[seed - 60]
    records = [record(one[0], i, one[1]) if isinstance(one, tuple) else record(one, i) for i, one in enumerate(picked)]
    decoder = Decoder(msgspec.structs.replace(SPEC, time_unit="us"))
    together = [row for item in decoder.decode(records) for row in told(item)]
    assert together == [row for r in records for item in decoder.decode([r]) for row in told(item)]
    if picked and all(one in WHOLE for one in picked):
        assert decoder._together(records) is not None


TAG = b'{"type":"trip.v1",'
TAGGED = [TAG + value[1:] for value in WHOLE]
BROKEN_TOO = [TAG + value[1:] for value in BROKEN if value.startswith(b"{")]
OTHER_TAGS = [
    WHOLE[0],
    b'{"type":"trip.v2",' + WHOLE[1][1:],
    b'{"type":1,' + WHOLE[2][1:],
    TAG + b'"type":"trip.v2",' + WHOLE[0][1:],
    b'{"type":"trip.v2","type":"trip.v1",' + WHOLE[0][1:],
    (TAGGED[0], to_headers("x", "/elsewhere", "trip.v2", 9)),
]
HEADED = [(TAGGED[1], to_headers("y", "/elsewhere", "trip.v1", 9))]


@pytest.mark.parametrize("seed", range(40))
def test_platform_events_are_parsed_at_once_too(seed):
    rng = np.random.default_rng(seed)
    kinds = [TAGGED, TAGGED + OTHER_TAGS, TAGGED + HEADED, TAGGED + OTHER_TAGS + BROKEN_TOO][seed % 4]
    picked = [kinds[i] for i in rng.integers(len(kinds), size=rng.integers(2, 12))]
    records = [record(one[0], i, one[1]) if isinstance(one, tuple) else record(one, i) for i, one in enumerate(picked)]
    decoder = Decoder(msgspec.structs.replace(SPEC, time_unit="us", tag="trip.v1"))
    together = [row for item in decoder.decode(records) for row in told(item)]
    assert together == [row for r in records for item in decoder.decode([r]) for row in told(item)]
    if seed % 4 in (0, 2):
        assert decoder._together(records) is not None


def test_a_tag_may_be_a_declared_field_too():
    spec = msgspec.structs.replace(SPEC, tag="trip.v1", time_unit="us", fields=(*SPEC.fields, Field("type", "string")))
    good, bad = Decoder(spec).decode([record(TAGGED[0]), record(WHOLE[0], 1)])
    assert good.columns["type"].tolist() == ["trip.v1"]
    assert bad.place.offset == 1


def told(item):
    """An item's rows as plain values."""
    if not isinstance(item, Block):
        return [item if isinstance(item, Advance) else (type(item.error), str(item.error), item.place)]
    columns = {name: [repr(v) for v in values.tolist()] for name, values in item.columns.items()}
    place = [item.place(i) for i in range(len(item))]
    return list(zip(item.time.tolist(), item.ids, item.sources, place, *columns.values(), strict=True))


LABEL = {"type": "label.given.v1", "id": "l1", "time": 1, "about": "a", "value": 1}
ANSWER = {"type": "answer.given.v1", "id": "x", "time": 9, "about": "a", "by": "ann", "value": "cat"}


@pytest.mark.parametrize("headed", [False, True])
def test_events_that_stand_beside_a_streams_own_are_passed_over(headed):
    def of(value, offset):
        headers = to_headers(value["id"], "/s", value["type"], value["time"]) if headed else ()
        return record(value, offset, headers)

    records = [of(ANSWER, 0), of(LABEL, 1), of(ANSWER | {"id": "y"}, 2), of(LABEL | {"id": "l2"}, 3)]
    (labels,) = Decoder(label_stream("p")).decode(records)
    assert labels.offset.tolist() == [1, 3]
    (answers,) = Decoder(answer_stream("p")).decode(records)
    assert answers.offset.tolist() == [0, 2]
    assert answers.columns["by"].tolist() == ["ann", "ann"]
    assert Decoder(answer_stream("p")).decode(records[1:2]) == []


def test_a_type_that_nobody_knows_is_bad_also_where_others_stand_beside():
    (bad,) = Decoder(label_stream("p")).decode([record(LABEL | {"type": "label.lost.v1"})])
    assert isinstance(bad, Bad)
    assert isinstance(bad.error, UnknownTagError)

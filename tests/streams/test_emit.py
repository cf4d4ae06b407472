"""Rows as records: what is written can be read back, by platform events, declared streams and Arrow alike."""

import msgspec
import numpy as np
import pytest

from connectors import arrow
from streams.emit import Emitter, texts
from tests.streams.engines.helpers import make_job
from tidemill import events
from tidemill.cloudevents import from_headers
from tidemill.decode import Decoder
from tidemill.errors import SubmissionError, TooLargeError
from tidemill.job import Output, Rows
from tidemill.log import Record
from tidemill.stream import Field, StreamSpec
from tidemill.time import to_rfc3339

ROWS = Rows(
    "out",
    np.array([1_500_000, 2_000_000], np.int64),
    ["a", "b"],
    {"about": ["a", "b"], "model": ["m", "m"], "version": ["1", "1"], "score": np.array([0.25, np.nan])},
)


def emitter(**output):
    return Emitter(make_job(writes=(Output("out", "data.out", **output),)), arrow.encode)


def test_a_platform_event_is_one():
    good = Rows("out", ROWS.time[:1], ROWS.ids[:1], {name: v[:1] for name, v in ROWS.columns.items()})
    ((topic, value, key, headers),) = emitter(tag="prediction.made.v1", key="about").rows(0, good)
    event = events.decode(value)
    assert isinstance(event, events.PredictionMade)
    assert (topic, key, event.id, event.time, event.score) == ("data.out", b"a", "a", 1_500_000, 0.25)
    assert event.source == "/jobs/sums"
    attributes = from_headers(headers)
    assert (attributes.id, attributes.type, attributes.time) == ("a", "prediction.made.v1", 1_500_000)


def test_a_declared_stream_reads_what_was_emitted():
    spec = StreamSpec(
        name="out",
        fields=(Field("id", "string"), Field("time", "time"), Field("score", "float", nullable=True)),
        id="id",
        time="time",
    )
    records = [
        Record("data.out", 0, i, key, value, headers, 0)
        for i, (_, value, key, headers) in enumerate(emitter().rows(0, ROWS))
    ]
    (block,) = Decoder(spec).decode(records)
    assert block.time.tolist() == [1_500_000, 2_000_000]
    assert block.ids.tolist() == ["a", "b"]
    assert np.isnan(block.columns["score"][1])
    bare = [r._replace(headers=()) for r in records]
    assert Decoder(spec).decode(bare)[0].time.tolist() == [1_500_000, 2_000_000]


def test_times_are_written_one_way_whatever_stands_beside_them():
    times = np.array([0, 1, 1_000_000, 1_500_000, -1, 253_402_300_799_000_000], np.int64)
    assert texts(times) == [to_rfc3339(t) for t in times.tolist()]
    assert [texts(times[i : i + 1])[0] for i in range(len(times))] == texts(times)


def test_numpy_values_in_lists_are_written():
    rows = Rows("out", [1], ["a"], {"x": [np.float64(1.5)], "y": np.ones((1, 2)), "z": [{"deep": np.int64(3)}]})
    ((_, value, _, _),) = emitter().rows(0, rows)
    assert msgspec.json.decode(value) == {
        "id": "a",
        "time": "1970-01-01T00:00:00.000001Z",
        "x": 1.5,
        "y": [1.0, 1.0],
        "z": {"deep": 3},
    }


def test_an_arrow_block_per_output_and_group_and_none_above_the_limit():
    out = emitter(format="arrow")
    for group in (1, 0, 1):
        assert list(out.rows(group, ROWS)) == []
    blocks = [arrow.decode(value) for _, value, _, _ in out.blocks()]
    assert [b["id"].tolist() for b in blocks] == [["a", "b"], ["a", "b", "a", "b"]]
    assert list(out.blocks()) == []
    small = Emitter(make_job(writes=(Output("out", "data.out", format="arrow"),)), arrow.encode, limit=2_000)
    many = Rows("out", np.arange(400), [f"e{i}" for i in range(400)], {"x": np.arange(400.0)})
    list(small.rows(0, many))
    sent = list(small.blocks())
    assert len(sent) > 1
    assert all(len(value) <= 2_000 for _, value, _, _ in sent)
    assert [i for _, v, _, _ in sent for i in arrow.decode(v)["id"].tolist()] == many.ids
    list(small.rows(0, Rows("out", [0], ["x" * 5000], {})))
    with pytest.raises(TooLargeError):
        list(small.blocks())


def test_an_output_that_is_not_declared_is_named():
    with pytest.raises(SubmissionError, match="'nowhere'"):
        list(emitter().rows(0, Rows("nowhere", [1], ["a"], {})))

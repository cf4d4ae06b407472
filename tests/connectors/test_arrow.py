"""Columns survive the wire as declared, and no bytes whatever do more than raise `MalformedError`."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.arrow import batch_bytes, columns_of, decode, encode, from_numpy, text, to_numpy
from tidemill.block import column
from tidemill.errors import MalformedError, TidemillError

COLUMNS: dict[str, Any] = {
    "id": column(["a", "b", "ü"], np.object_),
    "tail": column(["N1", None, "N3"], np.object_),
    "time": np.array([1, 2, 3], dtype=np.int64),
    "x": np.array([0.5, np.nan, -0.0]),
    "small": np.array([1, 2, 3], dtype=np.uint8),
    "late": np.array([True, False, True]),
    "count": column([1, None, 3], np.object_),
    "maybe": column([True, None, False], np.object_),
    "json": column([{"a": [1, "x"]}, 3, None], np.object_),
}


def same(a: np.ndarray, b: np.ndarray) -> bool:
    if a.dtype != b.dtype:
        return False
    if a.dtype == object:
        return a.tolist() == b.tolist() and list(map(type, a)) == list(map(type, b))
    return a.tobytes() == b.tobytes()


def test_every_kind_of_column_comes_back_as_it_went() -> None:
    back = decode(encode(COLUMNS))
    assert list(back) == list(COLUMNS)
    for name, values in COLUMNS.items():
        assert same(back[name], values), name


def test_equal_columns_give_equal_bytes() -> None:
    assert encode(COLUMNS) == encode({name: values.copy() for name, values in COLUMNS.items()})


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=5))


@given(st.lists(st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.text(max_size=3), SCALARS))))
def test_any_json_values_come_back(values: list[Any]) -> None:
    assert decode(encode({"v": column(values, np.object_)}))["v"].tolist() == values


@given(st.lists(st.floats()), st.lists(st.one_of(st.none(), st.text())))
def test_floats_and_strings_come_back(numbers: list[float], words: list[str | None]) -> None:
    assert same(decode(encode({"v": np.array(numbers)}))["v"], np.array(numbers))
    assert decode(encode({"v": column(words, np.object_)}))["v"].tolist() == words


def test_numbers_are_read_without_a_copy() -> None:
    values = decode(encode({"x": np.arange(10.0)}))["x"]
    assert not values.flags.owndata
    assert not values.flags.writeable


def test_slices_strides_and_foreign_byte_order_are_written_right() -> None:
    numbers = np.arange(10, dtype=np.int64)
    assert decode(encode({"v": numbers[::3]}))["v"].tolist() == [0, 3, 6, 9]
    assert decode(encode({"v": numbers.astype(">i8")}))["v"].tolist() == numbers.tolist()
    assert decode(encode({"v": (numbers > 4)[::2]}))["v"].tolist() == [False, False, False, True, True]
    array = from_numpy(numbers).slice(2, 3)
    assert to_numpy(array).tolist() == [2, 3, 4]
    assert to_numpy(pa.chunked_array([array, array])).tolist() == [2, 3, 4, 2, 3, 4]


def test_what_other_writers_send_is_read_as_our_columns() -> None:
    day = datetime.date(2013, 3, 10)
    batch = pa.record_batch(
        {
            "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
            "large": pa.array(["a", None, "b"], pa.large_string()),
            "float": pa.array([1.5, None, 2.5]),
            "int": pa.array([1, None, 2], pa.int32()),
            "time": pa.array([1, None, 3], pa.timestamp("ms", "UTC")),
            "day": pa.array([day] * 3),
            "list": pa.array([[1], None, [2, 3]]),
        }
    )
    got = decode(batch_bytes(batch))
    assert got["dictionary"].tolist() == got["large"].tolist() == ["a", None, "b"]
    assert same(got["float"], np.array([1.5, np.nan, 2.5]))
    assert got["int"].tolist() == [1, None, 2]
    assert got["time"].dtype == np.dtype("datetime64[us]")
    assert got["time"].view(np.int64)[[0, 2]].tolist() == [1000, 3000]
    assert np.isnat(got["time"][1])
    assert got["day"][0] == np.datetime64(day)
    assert got["list"].tolist() == [[1], None, [2, 3]]


def test_timestamps_are_written_as_microseconds() -> None:
    times = np.array(["2013-03-10T07:00", "NaT"], dtype="datetime64[ns]")
    got = decode(encode({"t": times}))["t"]
    assert got.dtype == np.dtype("datetime64[us]")
    assert got[0] == times[0]
    assert np.isnat(got[1])


def test_empty() -> None:
    assert decode(encode({})) == {}
    assert len(decode(encode({"x": np.empty(0)}))["x"]) == 0


def test_refusals_name_the_column() -> None:
    with pytest.raises(TidemillError, match="'bad'"):
        encode({"bad": [object()]})
    with pytest.raises(TidemillError, match="'bad'"):
        encode({"bad": np.zeros((2, 2))})
    with pytest.raises(TidemillError, match="length"):
        encode({"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(ValueError, match="nulls"):
        to_numpy(pa.array([1, None]))


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xff" * 64, b"ARROW1\0\0", encode(COLUMNS)[:-200], encode(COLUMNS)[:40]]
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(data)


@pytest.mark.parametrize("offsets", [[0, 3, 1], [0, 1, 1 << 30], [-5, 0, 4], [0, -1, 4]])
def test_strings_that_lie_about_their_places_are_not_read(offsets: list[int]) -> None:
    good = encode({"s": column(["ab", "cd"], np.object_)})
    at = np.array([0, 2, 4], dtype=np.int32).tobytes()
    assert good.count(at) == 1
    with pytest.raises(MalformedError):
        decode(good.replace(at, np.array(offsets, dtype=np.int32).tobytes()))


def test_strings_that_are_no_utf8_are_not_read() -> None:
    good = encode({"s": column(["abcd"], np.object_)})
    assert good.count(b"abcd") == 1
    with pytest.raises(MalformedError):
        decode(good.replace(b"abcd", b"\xff\xfecd"))


def test_not_exactly_one_batch() -> None:
    batch = pa.record_batch({"x": pa.array([1])})
    for count in (0, 2):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            for _ in range(count):
                writer.write_batch(batch)
        with pytest.raises(MalformedError, match="record batch"):
            decode(sink.getvalue().to_pybytes())


def test_a_column_named_twice() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(MalformedError, match="twice"):
        columns_of(batch)


@given(st.data())
def test_altered_bytes_never_do_more_than_raise(data: st.DataObject) -> None:
    good = bytearray(encode(COLUMNS))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(good)))
    try:
        decode(bytes(good[:end]) if data.draw(st.booleans()) else bytes(good))
    except MalformedError:
        pass


def test_text() -> None:
    assert text("ü").as_py() == "ü"

"""Blocks: many events as columns that stay aligned."""

import numpy as np
import pytest

from tidemill.block import Block, Place, column, dtype_of, rows_of


def block(n: int, start: int = 0) -> Block:
    at = np.arange(start, start + n)
    return Block(
        "s",
        "data.s",
        at.astype(np.int64),
        column([f"e{i}" for i in at], np.object_),
        column(["/s"] * n, np.object_),
        np.zeros(n, np.int32),
        at.astype(np.int64),
        np.zeros(n, np.int32),
        {"x": np.where(at % 2, np.nan, at / 2), "j": column([[int(i)] for i in at], np.object_)},
    )


@pytest.mark.parametrize(
    ("type", "nullable", "dtype"),
    [
        ("int", False, np.int64),
        ("int", True, np.object_),
        ("float", True, np.float64),
        ("bool", False, np.bool_),
        ("time", False, np.int64),
        ("string", False, np.object_),
        ("json", False, np.object_),
    ],
)
def test_the_type_of_a_column(type, nullable, dtype):
    assert dtype_of(type, nullable) is dtype


def test_a_column_keeps_nested_values_and_turns_null_floats_into_nan():
    nested = column([[1, 2], [3, 4]], np.object_)
    assert nested.shape == (2,)
    assert nested[1] == [3, 4]
    assert np.isnan(column([1.0, None], np.float64)[1])


def test_picking_rows_keeps_everything_aligned():
    whole = block(6)
    for index in (slice(1, 4), np.array([1, 2, 3]), np.arange(6) % 6 < 4):
        part = whole.take(index)
        assert [p["j"] for p in part.rows()] == [[int(i)] for i in part.time]
        assert part.place(1) == Place("data.s", 0, int(part.time[1]), 0)
        assert part.ids.tolist() == [f"e{i}" for i in part.time]


def test_joining_is_the_inverse_of_splitting():
    whole = block(7)
    joined = Block.concat([whole.take(slice(0, 3)), whole.take(slice(3, 3)), whole.take(slice(3, 7))])
    assert list(joined.rows()) == list(whole.rows())
    assert joined.ids.tolist() == whole.ids.tolist()
    assert Block.concat([whole]) is whole


def test_rows_are_plain_python():
    rows = list(block(2).rows())
    assert rows == [{"x": 0.0, "j": [0]}, {"x": None, "j": [1]}]
    assert type(rows[0]["x"]) is float
    assert list(rows_of({}, 2)) == [{}, {}]


def test_columns_of_unequal_length_are_not_rows():
    with pytest.raises(ValueError):
        list(rows_of({"a": [1], "b": [1, 2]}, 2))

"""Arrays and values in one file: back as they went, equal content in equal bytes, and garbage refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from connectors.arrays import decode, encode
from tidemill.errors import MalformedError, TidemillError

ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda s: s != "__metadata__"),
    st.one_of(
        hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
        for dtype in ("bool", "int8", "uint16", "int64", "float32", "float64", ">i4", ">f8")
    ),
    max_size=4,
)
VALUES = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(2**53), 2**53),
            st.text(),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
        max_leaves=5,
    ),
    max_size=4,
)


@given(ARRAYS, VALUES)
def test_back_as_it_went_and_equal_bytes(arrays: dict[str, np.ndarray], values: dict[str, Any]) -> None:
    data = encode(arrays, values)
    back, plain = decode(data)
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].shape == array.shape
        assert back[name].dtype == array.dtype.newbyteorder("=")
        assert back[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()
    assert plain == values
    assert encode(dict(reversed(arrays.items())), dict(reversed(values.items()))) == data


def test_views_are_kept_as_they_look() -> None:
    grid = np.arange(12.0).reshape(3, 4)
    back, _ = decode(encode({"t": grid.T, "s": grid[::2, 1::2]}))
    assert np.array_equal(back["t"], grid.T)
    assert np.array_equal(back["s"], grid[::2, 1::2])


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([object()]), np.array([1j]), np.array(["2013"], "M8[D]")])
def test_other_arrays_are_refused_by_name(array: np.ndarray) -> None:
    with pytest.raises(TidemillError, match="'w'"):
        encode({"w": array})


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), [1, {"a": -float("inf")}], {1: 2}, (1, 2), b"x", object()]
)
def test_values_that_json_would_change_are_refused_by_name(value: Any) -> None:
    with pytest.raises(TidemillError, match="'v"):
        encode({}, {"v": value})


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\xff" * 64, encode({"a": np.arange(10)})[:-1], b"\x80\x04N."])
def test_garbage(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_at_all(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(data)

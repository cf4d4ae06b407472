"""A model's content in one file: back bit for bit, equal content in equal bytes, and garbage refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load

from connectors.content import decode, encode
from tidemill import state as states
from tidemill.errors import IncompatibleError, TidemillError
from tidemill.job import ModelContent

NAMES = st.text(max_size=8) | st.sampled_from(["content", "state.w", "__metadata__"])
ARRAYS = st.one_of(
    hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    for dtype in ("bool", "int8", "uint16", "int64", "float32", "float64", ">i4", ">f8", "U3")
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.binary() | st.floats(),
    lambda inner: st.lists(inner | ARRAYS, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def content(state: dict[str, Any], **params: Any) -> ModelContent:
    return ModelContent("streams.learners.logistic:ScaledLogistic", params, state)


@given(st.dictionaries(NAMES, ARRAYS | PLAIN, max_size=5), st.dictionaries(st.text(max_size=4), PLAIN, max_size=2))
def test_back_as_it_went_bit_for_bit_and_equal_bytes(state: dict[str, Any], params: dict[str, Any]):
    data = encode(content(state, **{f"p{name}": value for name, value in params.items()}))
    back = decode(data)
    assert states.encode(back) == states.encode(content(state, **{f"p{n}": value for n, value in params.items()}))
    assert {n for n, v in back.state.items() if isinstance(v, np.ndarray)} == {
        n for n, v in state.items() if isinstance(v, np.ndarray)
    }
    assert encode(ModelContent(back.kind, back.params, dict(reversed(back.state.items())))) == data


def test_any_tool_finds_the_arrays_by_name():
    grid = np.arange(12.0).reshape(3, 4)
    data = encode(content({"weight": grid.T, "part": grid[::2, 1::2], "bias": np.array(2.5), "n": 7}))
    found = load(data)
    assert np.array_equal(found["state.weight"], grid.T)
    assert np.array_equal(found["state.part"], grid[::2, 1::2])
    assert (found["state.bias"].shape, found["state.bias"]) == ((), 2.5)
    decode(data).state["weight"][0, 0] = 1.0  # a copy of its own, that may be written


def test_what_cannot_be_kept_is_refused():
    for value in (object(), np.array([1j]), np.array(["2013"], "M8[D]")):
        with pytest.raises(TidemillError, match="cannot be saved"):
            encode(content({"w": value}))


WHOLE = encode(content({"a": np.arange(10)}))
OTHER = WHOLE.replace(b"kind", b"kimd")


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\xff" * 64, WHOLE[:-1], b"\x80\x04N.", OTHER])
def test_garbage(data: bytes):
    with pytest.raises(IncompatibleError):
        decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_at_all(data: bytes):
    with pytest.raises(IncompatibleError):
        decode(data)

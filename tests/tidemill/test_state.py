"""States as canonical bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from streams.learners.logistic import ScaledLogistic
from tidemill.errors import IncompatibleError, TidemillError
from tidemill.state import decode, encode


class Held(msgspec.Struct):
    learner: ScaledLogistic
    rows: np.ndarray
    anything: dict[str, Any]


def held() -> Held:
    learner = ScaledLogistic(["a", "b"], lr=0.1)
    learner.learn_block(np.array([[1.0, 2.0], [3.0, 1.0]]), np.array([0.0, 1.0]))
    names = np.array(["x", None], dtype=object)
    return Held(learner, np.arange(4, dtype=np.int32), {"deep": [np.ones((2, 2))], "names": names, "n": 3})


def test_arrays_and_learners_come_back_as_they_were() -> None:
    was = held()
    now = decode(encode(was), Held)
    assert encode(now) == encode(was)
    assert now.learner.params() == was.learner.params()
    assert now.rows.dtype == np.int32 and now.rows.flags.writeable
    assert isinstance(now.anything["deep"][0], np.ndarray) and now.anything["names"].tolist() == ["x", None]


def test_bytes_do_not_depend_on_the_order_of_filling() -> None:
    assert encode({"a": 1, "b": np.zeros(1)}) == encode({"b": np.zeros(1), "a": 1})


def test_what_cannot_be_saved_is_named() -> None:
    with pytest.raises(TidemillError, match="object"):
        encode({"a": object()})


@pytest.mark.parametrize("data", [b"", b"\x81\xa1a\x01", encode([1, 2, 3])])
def test_bytes_of_another_state_are_refused(data: bytes) -> None:
    with pytest.raises(IncompatibleError):
        decode(data, Held)


def test_an_array_of_the_other_byte_order_is_the_same_numbers():
    big = np.array([1, 2**20], dtype=">i4")
    assert decode(encode(big), np.ndarray).tolist() == [1, 2**20]
    assert encode(big) == encode(big.astype("<i4"))

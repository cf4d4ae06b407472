import uuid

import numpy as np
import pytest

from graph.columns import Column
from graph.nodes import NodeIds
from tidemill.errors import WrongTypeError


def ids():
    return NodeIds("user", lambda name, dtype, width: Column(dtype, width))


@pytest.mark.parametrize("cut", [1, 7, 5_000])
def test_numbers_count_in_the_order_of_first_coming(cut):
    rng = np.random.default_rng(0)
    keys = rng.integers(-(1 << 63), (1 << 63) - 1, 3_000, dtype=np.int64)[rng.integers(0, 3_000, 5_000)]
    known, wanted = ids(), {}
    expected = [wanted.setdefault(k, len(wanted)) for k in keys.tolist()]
    got = np.concatenate([known.intern(keys[i : i + cut]) for i in range(0, len(keys), cut)])
    assert got.tolist() == expected
    assert (len(known), known.ids()) == (len(wanted), list(wanted))
    assert known.numbers(keys[:50]).tolist() == expected[:50]
    assert known.numbers([12345, keys[0]]).tolist() == [-1, 0]
    assert known.ids([1, 0]) == list(wanted)[1::-1]


def test_any_mixture_of_kinds_has_numbers_and_whole_numbers_keep_theirs():
    known = ids()
    assert known.intern([5, 6]).tolist() == [0, 1]
    assert known.numbers(["5", True, 5, 1 << 70, None]).tolist() == [-1, -1, 0, -1, -1]
    assert known.intern(["5", b"5", 5, 7]).tolist() == [2, 3, 0, 4]
    assert known.numbers(["5", True, 5, b"5", 5.0, []]).tolist() == [2, -1, 0, 3, -1, -1]
    assert known.numbers(np.array([7, 6])).tolist() == [4, 1]
    for again in (ids(), ids()):
        again.load(known.save())
        assert again.ids() == known.ids() == [5, 6, "5", b"5", 7]
    taken = ids()
    taken.take(known.parts())
    assert taken.ids() == known.ids()


@pytest.mark.parametrize("wrong", [True, 1.0, None, (1, 2), uuid.UUID(int=1), 1 << 63, float("nan")])
def test_what_is_no_id_is_refused_and_none_is_taken_up(wrong):
    for before in ([], [1], ["a"]):
        known = ids()
        known.intern(before)
        with pytest.raises(WrongTypeError, match="not a node id"):
            known.intern([2, "b", wrong])
        assert known.ids() == before


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.uint64])
def test_whole_numbers_of_any_width_are_one_kind(dtype):
    known = ids()
    assert known.intern(np.array([3, 1, 3], dtype)).tolist() == [0, 1, 0]
    assert known.numbers([1, 3]).tolist() == [1, 0]
    assert known.save().dtype == np.int64


def test_a_whole_number_of_more_than_63_bits_is_refused():
    with pytest.raises(WrongTypeError, match="not a node id"):
        ids().intern(np.array([1 << 63], np.uint64))


def test_no_ids_are_no_numbers():
    known = ids()
    for none in ([], np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, object)):
        assert known.intern(none).tolist() == known.numbers(none).tolist() == []

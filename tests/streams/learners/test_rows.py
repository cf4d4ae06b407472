"""Input checks shared by the block learners."""

import numpy as np
import pytest

from streams.learners.rows import NO_WEIGHTS, as_ops, as_row, as_rows, as_targets, as_weights, sound
from tidemill.errors import NotFiniteError, WrongTypeError
from tidemill.learner import LARGEST, LEARN, PREDICT


def test_rows_come_out_contiguous_and_float64():
    rows = as_rows(np.asfortranarray(np.arange(6, dtype=np.int32).reshape(3, 2)), ["a", "b"])
    assert rows.flags.c_contiguous and rows.dtype == np.float64
    assert as_row([1, 2], ["a", "b"]).shape == (1, 2)
    with pytest.raises(WrongTypeError):
        as_row([1, 2, 3], ["a", "b"])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, LARGEST, -LARGEST, 1e308])
def test_one_value_that_cannot_be_computed_with_is_found_by_both_looks(bad):
    X = np.array([[1.0, 2.0], [3.0, 4.0]])
    ops, y = np.full(2, PREDICT, dtype=np.uint8), np.zeros(2)
    limit = np.nextafter(LARGEST, 0.0)
    for value, well in ((limit, True), (-limit, True), (-0.0, True), (bad, False)):
        X[1, 0] = value
        assert sound(ops, X.view(np.int64), y, NO_WEIGHTS) is well
    for rows in (X, np.where(bad == X, bad, -X) if bad == bad else X):
        with pytest.raises(NotFiniteError, match=r"feature 'a' of row 1") as told:
            as_rows(rows, ["a", "b"])
        assert told.value.field == "a"
    assert limit * 2 * limit * 2 < np.inf


def test_what_is_not_learned_is_not_looked_at():
    ops = np.array([PREDICT, LEARN], dtype=np.uint8)
    assert np.isnan(as_targets([np.nan, 1.0], 2, ops)[0])
    with pytest.raises(NotFiniteError):
        as_targets([1.0, np.nan], 2, ops)
    assert as_weights([np.nan, 1.0], 2, ops)[1] == 1.0
    assert as_weights(None, 2, ops) is NO_WEIGHTS


def test_operations_are_checked():
    with pytest.raises(WrongTypeError):
        as_ops([7], 1)
    with pytest.raises(WrongTypeError):
        as_ops([PREDICT], 2)

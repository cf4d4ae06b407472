"""What a learner of blocks gets for its one method; that all of ours keep the laws, the conformance suite proves."""

import numpy as np
import pytest

from streams.learners.blockwise import Blockwise
from tidemill.learner import LEARN, PREDICT, PREDICT_LEARN


class Told(Blockwise):
    """Keeps what it was asked for."""

    features = ("a", "b")

    def run_block(self, ops, X, y, w=None):
        self.asked = (ops.tolist(), X.tolist(), y.tolist(), None if w is None else w.tolist())
        return np.arange(len(X)) + 0.5


def test_each_form_is_the_block_with_its_own_operations():
    told, rows = Told(), np.array([[1.0, 2.0], [3.0, 4.0]])
    assert told.predict_one(rows[0]) == 0.5 and told.asked == ([PREDICT], [[1.0, 2.0]], [0.0], None)
    told.learn_one(rows[1], 1.0)
    assert told.asked == ([LEARN], [[3.0, 4.0]], [1.0], None)
    told.learn_one(rows[1], 1.0, 2.0)
    assert told.asked[3] == [2.0]
    assert told.predict_block(rows).tolist() == [0.5, 1.5] and told.asked[0] == [PREDICT, PREDICT]
    told.learn_block(rows, np.ones(2), np.array([1.0, 3.0]))
    assert told.asked == ([PREDICT_LEARN] * 2, rows.tolist(), [1.0, 1.0], [1.0, 3.0])


def test_one_without_its_method_cannot_be_made():
    with pytest.raises(TypeError, match="run_block"):
        Blockwise()

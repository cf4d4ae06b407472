"""What waits together runs together, as far as it fits, and nobody pays for another's mistake."""

import asyncio

import numpy as np
import pytest

from serving.batching import Batcher
from serving.plane import Loaded
from tidemill.errors import OverloadedError, RequestError
from tidemill.servable import Tensor


class Doubling:
    """Doubles its rows and refuses negative ones; `runs` are the rows of each run."""

    def __init__(self, batchable=True):
        self.batchable, self.runs = batchable, []

    def predict(self, inputs):
        data = inputs["x"].data
        self.runs.append(len(data))
        if (data < 0).any():
            raise RequestError("negative", field="x")
        return {"y": Tensor("y", data * 2)}


def rows(*values):
    return {"x": Tensor("x", np.array([[float(v)] for v in values]))}


def ask(servables, asked, **options):
    """All of `asked` at once, the one beside its servable; the values or the error of each."""
    loaded = {id(s): Loaded("m", "1", s) for s in servables}

    async def gather():
        batcher = Batcher(**options)
        pairs = zip(servables, asked, strict=True)
        answers = await asyncio.gather(
            *(batcher.predict(loaded[id(servable)], inputs) for servable, inputs in pairs), return_exceptions=True
        )
        assert len(batcher) == 0
        batcher.close()
        return [a if isinstance(a, Exception) else a["y"].data.ravel().tolist() for a in answers]

    return asyncio.run(gather())


def test_each_gets_its_own_rows_of_a_run():
    model = Doubling()
    assert ask([model] * 3, [rows(1), rows(2, 3), rows(4)]) == [[2.0], [4.0, 6.0], [8.0]]
    assert model.runs == [4]


@pytest.mark.parametrize("most", [4, 5])
def test_a_run_is_not_larger_than_allowed_but_one_request_always_runs(most):
    model = Doubling()
    ask([model] * 4, [rows(1, 2), rows(3, 4), rows(5, 6), rows(*range(9))], max_rows=most)
    assert model.runs == [4, 2, 9]


def test_only_one_model_and_one_shape_run_together_and_only_what_is_batchable():
    one, other, single = Doubling(), Doubling(), Doubling(batchable=False)
    wide = {"x": Tensor("x", np.ones((1, 2)))}
    asked = [rows(1), rows(2), wide, rows(3), rows(4), rows(5)]
    answers = ask([one, other, one, one, single, single], asked)
    assert answers == [[2.0], [4.0], [2.0, 2.0], [6.0], [8.0], [10.0]]
    assert (one.runs, other.runs, single.runs) == ([2, 1], [1], [1, 1])


def test_one_wrong_request_spoils_no_other():
    model = Doubling()
    first, wrong, last = ask([model] * 3, [rows(1), rows(-1), rows(3)])
    assert (first, last) == ([2.0], [6.0])
    assert isinstance(wrong, RequestError)
    assert model.runs == [3, 1, 1, 1]


def test_the_queue_is_bounded():
    answers = ask([Doubling()] * 20, [rows(1)] * 20, limit=5)
    assert sum(isinstance(a, OverloadedError) for a in answers) == 15

"""Calibration counted by hand, and of a model that knows what it knows."""

import numpy as np
import pytest

from streams.labelling.calibration import calibration
from streams.labelling.categorical import Categorical
from tests.streams.labelling.test_dawid_skene import drawn


def test_bins_and_error_by_hand():
    rows, error = calibration([0.95, 0.99, 0.55, 1.0], [True, False, True, True])
    assert rows == [[1.0, 0.55, 1.0], [3.0, pytest.approx(0.98), pytest.approx(2 / 3)]]
    assert error == pytest.approx((0.45 + 3 * (0.98 - 2 / 3)) / 4)
    assert calibration([], []) == ([], None)


def test_an_item_is_judged_as_if_nothing_were_known_of_it():
    """Told the opposite of the truth of one item, the model still says of it what the answers alone say."""
    truth, item, who, value, _ = drawn(5, items=60)
    model = Categorical(method="dawid-skene", layers=1, classes=2, smoothing=1.0)
    rows = np.arange(len(item))
    model.apply(rows.tolist(), item.tolist(), who.tolist(), value[None, :])
    before = model.without([7])
    model.apply([-1], [7], [-1], np.array([[1 - truth[7]]]))
    assert np.allclose(model.without([7]), before)
    assert model.posterior()[0, 7, 1 - truth[7]] == 1.0
    counts = model.counts().copy()
    model.without(list(range(60)))
    assert (model.counts() == counts).all()

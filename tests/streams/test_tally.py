"""The figures of a classifier of several classes, from sums that are cut off nowhere."""

import numpy as np
import pytest

from streams.tally import Tally
from tidemill import state as states

MADE = [([0.7, 0.2, 0.1], 0, 1.0), ([0.72, 0.2, 0.08], 1, 3.0), ([0.05, 0.0, 0.95], 2, 2.0), ([0.0, 1.0, 0.0], 0, 6.0)]
"""Probabilities, the class that it was, and the seconds to its label."""


@pytest.fixture
def tally():
    tally = Tally()
    for p, y, delay in MADE:
        tally.learned += 1
        tally.add(np.array(p), y, delay)
    return tally


def test_figures_are_those_of_their_formulae(tally):
    told = tally.values()
    assert told["accuracy"] == told["accuracy_recent"] == 0.5 and told["label_delay"] == 3.0
    assert told["log_loss"] == pytest.approx(-np.log([0.7, 0.2, 0.95, 1e-15]).mean())  # what was said to be impossible
    # by tenth: 0.7 and 0.72 of which one was right, 0.95 right, 1.0 wrong and in the last tenth too
    assert told["calibration_error"] == pytest.approx((abs(1.42 - 1) + abs(1.95 - 1)) / 4)
    assert tally.calibration() == [pytest.approx([0.71, 0.5, 2]), pytest.approx([0.975, 0.5, 2])]


def test_what_is_recent_begins_anew_and_the_rest_goes_on(tally):
    tally.recent = [0, 0]
    tally.learned += 1
    tally.add(np.array([0.1, 0.8, 0.1]), 1, 0.0)
    told = tally.values()
    assert (told["accuracy_recent"], told["accuracy"]) == (1.0, 0.6)


def test_of_nothing_there_are_figures_too_and_a_state_brings_all_back(tally):
    assert set(Tally().values().values()) == {0.0} and Tally().calibration() == []
    again = states.decode(states.encode(tally), Tally)
    assert again.values() == tally.values() and again.calibration() == tally.calibration()

"""Measures of doubt are 0 where there is none, 1 where there is most, and as the books have them between."""

import numpy as np
import pytest

from streams.labelling.uncertainty import disagreement, entropy, least_confidence, margin


@pytest.mark.parametrize("measure", [entropy, margin, least_confidence])
@pytest.mark.parametrize("k", [2, 3, 10])
def test_from_none_to_most(measure, k):
    P = np.vstack([np.eye(k)[1], np.full(k, 1 / k), [0.7, *[0.3 / (k - 1)] * (k - 1)]])
    certain, unsure, between = measure(P)
    assert certain == pytest.approx(0, abs=1e-12) and unsure == pytest.approx(1) and 0 < between < 1


def test_by_hand():
    P = np.array([[0.5, 0.3, 0.2]])
    assert entropy(P)[0] == pytest.approx(-(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2)) / np.log(3))
    assert margin(P)[0] == pytest.approx(0.8)
    assert least_confidence(P)[0] == pytest.approx(0.75)


def test_disagreement():
    a, b = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
    assert disagreement(np.array([a, b])) == pytest.approx(1)
    assert disagreement(np.array([a, a])) == pytest.approx(0, abs=1e-12) and disagreement(np.array([a])) == 0
    # Versions that are unsure alike agree, however unsure they are.
    assert disagreement(np.full((3, 3), 1 / 3)) == pytest.approx(0, abs=1e-12)
    some = np.array([[0.9, 0.1], [0.6, 0.4]])
    mean = some.mean(0)
    shannon = lambda p: -(p * np.log2(p)).sum()  # noqa: E731
    assert disagreement(some) == pytest.approx(shannon(mean) - np.mean([shannon(p) for p in some]))

"""Official figures: classification beside scikit-learn, detection at its ends."""

from __future__ import annotations

import numpy as np
import pytest

from training.tasks.figures import classification_figures, detection_figures


def test_classification_is_that_of_scikit_learn():
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(4), 300), rng.integers(0, 4, 300)
    found, said = classification_figures(probabilities, labels), probabilities.argmax(1)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, said))
    assert found["f1"] == pytest.approx(f1_score(labels, said, average="macro"))
    assert found["log_loss"] == pytest.approx(log_loss(labels, probabilities, labels=range(4)))


def test_no_items_have_no_figures():
    assert np.isnan(classification_figures(np.zeros((0, 3)), np.zeros(0, int))["accuracy"])


def test_detection_at_its_ends():
    pytest.importorskip("pycocotools")
    truth = [np.array([[0, 10, 10, 30, 30], [1, 50, 50, 20, 20]])]
    right = [np.array([[0, 10, 10, 30, 30, 0.9], [1, 50, 50, 20, 20, 0.8]])]
    assert detection_figures(right, truth, 2)["map"] == pytest.approx(1)
    moved = [np.array([[0, 16, 10, 30, 30, 0.9], [1, 50, 50, 20, 20, 0.8]])]
    found = detection_figures(moved, truth, 2)
    assert found["map50"] == pytest.approx(1) and found["map"] < 0.9
    assert detection_figures([np.zeros((0, 6))], truth, 2)["map50"] == 0
    assert np.isnan(detection_figures([np.zeros((0, 6))], [np.zeros((0, 5))], 2)["map50"])

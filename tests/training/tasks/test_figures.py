"""Official figures: classification beside scikit-learn, detection at its ends."""

from __future__ import annotations

import numpy as np
import pytest

from training.tasks.figures import MOST_CLASSES, classification_figures, detection_figures


def test_classification_is_that_of_scikit_learn():
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(4), 300), rng.integers(0, 4, 300)
    found, said = classification_figures(probabilities, labels), probabilities.argmax(1)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, said))
    assert found["f1"] == pytest.approx(f1_score(labels, said, average="macro"))
    assert found["log_loss"] == pytest.approx(log_loss(labels, probabilities, labels=range(4)))


def test_recall_of_each_class_that_occurs_is_that_of_scikit_learn():
    from sklearn.metrics import recall_score

    rng = np.random.default_rng(1)
    probabilities, labels = rng.dirichlet(np.ones(4), 300), rng.integers(0, 3, 300)
    found = classification_figures(probabilities, labels, ("a", "b", "c", "d"))
    theirs = recall_score(labels, probabilities.argmax(1), average=None, labels=[0, 1, 2])
    assert [found[f"recall.{name}"] for name in "abc"] == pytest.approx(theirs) and "recall.d" not in found
    assert not [name for name in classification_figures(probabilities, labels) if name.startswith("recall")]


def test_of_many_classes_the_most_frequent_have_a_figure():
    labels = np.concatenate([np.arange(MOST_CLASSES + 5), np.arange(5, MOST_CLASSES + 5)])
    found = classification_figures(np.eye(MOST_CLASSES + 5)[labels], labels, [f"c{k}" for k in range(MOST_CLASSES + 5)])
    named = [name for name in found if name.startswith("recall.")]
    assert named == [f"recall.c{k}" for k in range(5, MOST_CLASSES + 5)]


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
    named = detection_figures(moved, truth, 3, ("a", "b", "c"))
    assert named["recall.b"] == pytest.approx(1) and named["recall.a"] < 0.9 and "recall.c" not in named
    assert (named["recall.a"] + named["recall.b"]) / 2 == pytest.approx(named["ar100"])
    assert detection_figures([np.zeros((0, 6))], truth, 2)["map50"] == 0
    assert np.isnan(detection_figures([np.zeros((0, 6))], [np.zeros((0, 5))], 2)["map50"])

"""Mean average precision of any weighting of images, beside pycocotools."""

from __future__ import annotations

import numpy as np
import pytest

from training.matching import Matches, overlaps


def made(seed: int, images: int = 30, classes: int = 3):
    """Boxes known, and found near them, some missed and some made up."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(images):
        n = int(rng.integers(0, 6))
        corner, extent = rng.uniform(0, 80, (n, 2)), rng.uniform(8, 30, (n, 2))
        known = np.column_stack([rng.integers(0, classes, n), corner, extent])
        seen = known[rng.random(n) < 0.8]
        near = seen + np.column_stack([np.zeros(len(seen)), rng.normal(0, 3, (len(seen), 4))])
        extra = np.column_stack([rng.integers(0, classes, 2), rng.uniform(0, 80, (2, 2)), rng.uniform(8, 30, (2, 2))])
        rows = np.concatenate([near, extra])
        truth.append(known)
        found.append(np.column_stack([rows, rng.permutation(len(rows)) / 7 + rng.random(len(rows)) / 50]))
    return found, truth


def test_overlaps_are_intersection_over_union():
    found = overlaps(np.array([[0, 0, 2, 2]]), np.array([[1, 1, 2, 2], [5, 5, 1, 1], [0, 0, 2, 2]]))
    assert found[0].tolist() == pytest.approx([1 / 7, 0, 1])


@pytest.mark.parametrize("seed", range(4))
def test_every_image_once_is_the_official_figure(seed):
    pytest.importorskip("pycocotools")
    from training.tasks.figures import detection_figures

    found, truth = made(seed)
    ours = Matches(found, truth, 3).mean_average_precision(np.ones(len(truth)))
    assert ours == pytest.approx(detection_figures(found, truth, 3)["map50"], abs=1e-6)
    assert 0.1 < ours < 0.95


def test_a_weight_of_two_is_the_image_twice():
    found, truth = made(9)
    weights = np.random.default_rng(1).integers(0, 3, len(truth)).astype(float)
    again = [i for i, w in enumerate(weights) for _ in range(int(w))]
    twice = Matches([found[i] for i in again], [truth[i] for i in again], 3)
    once = Matches(found, truth, 3).mean_average_precision(weights)
    assert once == pytest.approx(twice.mean_average_precision(np.ones(len(again))), abs=0.01)


def test_nothing_found_and_nothing_known():
    none = np.zeros((0, 6))
    assert Matches([none], [np.array([[0, 1, 1, 2, 2]])], 1).mean_average_precision(np.ones(1)) == 0
    assert Matches([none], [np.zeros((0, 5))], 1).mean_average_precision(np.ones(1)) == 0

"""The confident joint and what it finds, by hand and as cleanlab 2.9 has them; flipped labels are found."""

import numpy as np
import pytest

from streams.labelling.confident import confident_joint, doubtful, joint, qualities, thresholds
from tidemill.errors import ConfigError

P = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9], [0.7, 0.3]])
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_by_hand():
    assert thresholds(P, LABELS) == pytest.approx([1.9 / 3, 1.8 / 3])
    C, confident = confident_joint(P, LABELS)
    assert C.tolist() == [[2, 1], [1, 2]] and confident.tolist() == [0, 0, 1, 1, 1, 0]
    assert joint(C, LABELS) == pytest.approx(np.array([[2, 1], [1, 2]]) / 6)
    doubts = doubtful(P, LABELS)
    assert doubts.rows.tolist() == [2, 5] and doubts.quality[2] == 0.2 and doubts.likeliest[2] == 1
    assert qualities(P, LABELS, "normalised_margin")[2] == pytest.approx((0.2 - 0.8 + 1) / 2)


def noisy(n=3000, k=5, seed=1):
    """Probabilities that lean to the truth, and labels of which 5 % are flipped."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    made = rng.dirichlet(np.ones(k), n) * 0.6
    made[np.arange(n), truth] += 0.4
    flipped = rng.choice(n, n // 20, replace=False)
    labels = truth.copy()
    labels[flipped] = (truth[flipped] + rng.integers(1, k, len(flipped))) % k
    return made, labels, flipped


@pytest.mark.parametrize("rank", ["self_confidence", "normalised_margin"])
def test_flipped_labels_are_found(rank):
    made, labels, flipped = noisy()
    doubts = doubtful(made, labels, rank=rank)
    top = doubts.rows[: len(flipped)]
    assert np.isin(top, flipped).mean() > 0.75  # by chance 0.05
    assert abs(len(doubts.rows) - len(flipped)) < 0.5 * len(flipped)
    assert (np.diff(doubts.quality[doubts.rows]) >= 0).all()


def test_classes_without_labels_and_without_rows():
    made, labels, _ = noisy(200, 4)
    without = labels.copy()
    without[without == 3] = 0
    doubts = doubtful(made, without)
    assert doubts.joint[3].sum() == 0 and doubts.joint.sum() == pytest.approx(1)
    empty = doubtful(np.zeros((0, 3)), np.zeros(0, np.int64))
    assert not len(empty.rows) and not len(empty.quality)


@pytest.mark.parametrize("labels", [[0, 1], [0] * 5 + [2], [-1] * 6])
def test_what_does_not_fit_is_refused(labels):
    with pytest.raises(ConfigError):
        doubtful(P, np.array(labels))
    with pytest.raises(ConfigError):
        doubtful(P, LABELS, rank="luck")

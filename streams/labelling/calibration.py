"""How far posteriors can be believed: their confidence beside how often they were right, on items whose label is known.

    error = Σ_bins n_b / n · |mean confidence_b − share right_b|          (expected calibration error, equal bins)

Known are reviewed items and gold questions. What is judged is what would be believed of such an item had nobody told,
its own share left out of what its annotators are taken for. Reviewers look at doubtful items first, so of those alone
the figures are worse than of all items; gold questions are drawn without regard to doubt.

Source: Naeini, Cooper, Hauskrecht, *Obtaining well calibrated probabilities using Bayesian binning*, AAAI 2015.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BINS = 10


def calibration(confidence: Sequence[float], right: Sequence[bool]) -> tuple[list[list[float]], float | None]:
    """Rows `[weight, mean confidence, share right]` of the bins that hold any, and the error (None of none)."""
    if not len(confidence):
        return [], None
    p, hit = np.array(confidence, np.float64), np.array(right, np.float64)
    bins = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    weight, mean, share = (np.bincount(bins, part, BINS) for part in (np.ones(len(p)), p, hit))
    rows = [[w, m / w, s / w] for w, m, s in zip(weight.tolist(), mean.tolist(), share.tolist(), strict=True) if w]
    return rows, float(np.abs(mean - share).sum() / len(p))

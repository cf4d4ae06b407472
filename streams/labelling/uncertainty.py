"""How unsure class probabilities are, each as a number in [0, 1]: 0 is certain, 1 is as unsure as can be.

Source: Settles, *Active learning literature survey*, 2009; for committees McCallum and Nigam, *Employing EM and
pool-based active learning for text classification*, 1998 (here with the Jensen-Shannon divergence).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def _logs(P: Float) -> Float:
    return np.log(np.maximum(P, 1e-300))


def entropy(P: Float) -> Float:
    """−Σ p log p / log K of each row of `P` (n × K); shape (n,)."""
    return np.asarray(-(P * _logs(P)).sum(axis=-1) / np.log(P.shape[-1]))


def margin(P: Float) -> Float:
    """1 − (the largest − the second largest) of each row."""
    top = np.sort(P, axis=-1)
    return np.asarray(1.0 - (top[..., -1] - top[..., -2]))


def least_confidence(P: Float) -> Float:
    """(1 − the largest) · K / (K − 1) of each row."""
    k = P.shape[-1]
    return np.asarray((1.0 - P.max(axis=-1)) * k / (k - 1))


def disagreement(versions: Float) -> float:
    """The Jensen-Shannon divergence of the probabilities that several model versions (v × K) give one item: entropy of
    their mean − mean of their entropies, over its largest value log min(v, K); 0 for one version."""
    v, k = versions.shape
    if v < 2:
        return 0.0
    apart = float(entropy(versions.mean(axis=0)[None])[0] - entropy(versions).mean()) * np.log(k)
    return float(min(max(apart / np.log(min(v, k)), 0.0), 1.0))

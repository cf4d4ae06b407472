"""The running sums behind the metrics of a classifier of several classes."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
BINS = 10
_TINY = 1e-15


class Tally(msgspec.Struct):
    """What became of predictions and labels, and the sums that the metrics are made of. `bins` are, by tenth of the
    confidence, the sum of confidences, right ones and all."""

    predicted: int = 0
    learned: int = 0
    corrected: int = 0
    repeated: int = 0
    withdrawn: int = 0
    evicted: int = 0
    orphans: int = 0
    right: int = 0
    loss: float = 0.0
    delay: float = 0.0
    recent: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    bins: Float = msgspec.field(default_factory=lambda: np.zeros((BINS, 3)))

    def add(self, p: Float, y: int, delay: float) -> None:
        """A label came for a prediction that gave probabilities `p`, `delay` seconds after its event."""
        best = int(p.argmax())
        self.right += best == y
        self.recent[0] += best == y
        self.recent[1] += 1
        self.loss -= float(np.log(max(p[y], _TINY)))
        self.delay += delay
        self.bins[min(int(p[best] * BINS), BINS - 1)] += (p[best], best == y, 1.0)

    def values(self) -> dict[str, float]:
        """Accuracy and log loss (nats) of predictions as they were made, of the labels since the last measurement
        (`accuracy_recent`), expected calibration error, mean label delay (s), and the counts."""
        n = max(self.learned, 1)
        gap = float(np.abs(self.bins[:, 0] - self.bins[:, 1]).sum()) / n
        told = {"accuracy": self.right / n, "accuracy_recent": self.recent[0] / max(self.recent[1], 1)}
        told |= {"log_loss": self.loss / n, "calibration_error": gap, "label_delay": self.delay / n}
        counts = ("predicted", "learned", "corrected", "repeated", "withdrawn", "evicted", "orphans")
        return told | {name: float(getattr(self, name)) for name in counts}

    def calibration(self) -> list[list[float]]:
        """Mean confidence, share of right ones and count, of each tenth that has any."""
        return [[c / n, right / n, n] for c, right, n in self.bins.tolist() if n]

"""Boxes found against boxes known: mean average precision at one IoU, of any weighting of the images.

As COCO has it: within an image and class, boxes found, the most probable first, each take the known box that they
overlap most among those not yet taken, where IoU is at least the threshold. That is done once; a weighting (a bootstrap
replicate) then only counts. Source: Lin et al., *Microsoft COCO*, ECCV 2014, and pycocotools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 100
"""Boxes of an image that count, the most probable."""

_RECALLS = np.linspace(0, 1, 101)


class Matches:
    """What was `found` in each image, [n, 6], against the `truth`, [m, 5]: class, x, y, width, height (and score)."""

    def __init__(
        self, found: Sequence[NDArray[Any]], truth: Sequence[NDArray[Any]], classes: int, *, iou: float = 0.5
    ) -> None:
        self._known = np.zeros((classes, len(truth)))
        rows: list[list[tuple[float, bool, int]]] = [[] for _ in range(classes)]
        for image, (boxes, known) in enumerate(zip(found, truth, strict=True)):
            for k in range(classes):
                wanted = known[known[:, 0] == k] if len(known) else known
                self._known[k, image] = len(wanted)
                mine = boxes[boxes[:, 0] == k]
                mine = mine[np.argsort(-mine[:, 5], kind="stable")][:MOST]
                hits = _hits(mine[:, 1:5], wanted[:, 1:5] if len(wanted) else np.zeros((0, 4)), iou)
                rows[k] += [(float(s), bool(h), image) for s, h in zip(mine[:, 5], hits, strict=True)]
        self._ranked = []
        for mine_of_class in rows:
            ranked = sorted(mine_of_class, key=lambda row: -row[0])
            self._ranked.append(
                (np.array([hit for _, hit, _ in ranked], bool), np.array([i for _, _, i in ranked], np.int64))
            )

    def mean_average_precision(self, weights: NDArray[np.float64]) -> float:
        """The mean over classes that occur of the average precision (at 101 recalls), an image counting `weights`
        times; 0 where none occurs."""
        values = []
        for (hit, image), known in zip(self._ranked, self._known @ weights, strict=True):
            if known == 0:
                continue
            counted = weights[image] if len(image) else np.zeros(0)
            right, wrong = np.cumsum(counted * hit), np.cumsum(counted * ~hit)
            precision = right / np.maximum(right + wrong, 1e-12)
            precision = np.maximum.accumulate(precision[::-1])[::-1]
            at = np.searchsorted(right / known, _RECALLS - 1e-12, side="left")
            values.append(np.where(at < len(precision), np.append(precision, 0.0)[at], 0.0).mean())
        return float(np.mean(values)) if values else 0.0


def _hits(boxes: NDArray[Any], known: NDArray[Any], iou: float) -> list[bool]:
    """Of each box, the most probable first, whether it takes a known one."""
    if not len(known):
        return [False] * len(boxes)
    overlap, taken, out = overlaps(boxes, known), np.zeros(len(known), bool), []
    for row in overlap:
        best = int(np.where(taken, -1.0, row).argmax())
        hit = bool(not taken[best] and row[best] >= iou)
        taken[best] |= hit
        out.append(hit)
    return out


def overlaps(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """IoU [n, m] of boxes x, y, width, height."""
    a, b = np.asarray(first, np.float64)[:, None], np.asarray(second, np.float64)[None]
    near = np.maximum(a[..., :2], b[..., :2])
    far = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    both = (far - near).clip(min=0).prod(-1)
    either = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - both
    shared: NDArray[np.float64] = both / np.maximum(either, 1e-12)
    return shared

"""Features of small grey images, learned without a label: how near each patch is to centres of whitened patches.

Source: Coates, Lee and Ng, *An analysis of single-layer networks in unsupervised feature learning*, AISTATS 2011.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

FOLDER = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "fashion_mnist"
PATCH, STRIDE, CENTRES, GRID = 6, 2, 100, 4


def fashion_mnist(part: str) -> tuple[Any, Any]:
    """Images (n × 28 × 28, 0 to 255) and classes of `train` or `t10k`."""
    images = gzip.decompress((FOLDER / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((FOLDER / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(labels, np.uint8, offset=8)


class PatchFeatures:
    """Learned from images alone: `CENTRES` × `GRID`² features of an image."""

    def __init__(self, images: Any, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        patches = _patches(images).reshape(-1, PATCH * PATCH)
        patches = patches[rng.permutation(len(patches))[:40_000]]
        values, vectors = np.linalg.eigh(np.cov(patches.T))
        self.white = (vectors / np.sqrt(values + 0.05)) @ vectors.T
        self.mean = patches.mean(axis=0)
        points = (patches - self.mean) @ self.white
        self.centres = points[rng.permutation(len(points))[:CENTRES]]
        for _ in range(10):
            mine = (points @ self.centres.T - 0.5 * (self.centres**2).sum(axis=1)).argmax(axis=1)
            sums, count = np.zeros_like(self.centres), np.bincount(mine, minlength=CENTRES)
            np.add.at(sums, mine, points)
            self.centres = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], self.centres)

    def of(self, images: Any) -> Any:
        """n × features, float64."""
        out = []
        for at in range(0, len(images), 200):
            points = (_patches(images[at : at + 200]) - self.mean) @ self.white
            squares = (points**2).sum(axis=-1, keepdims=True) - 2 * points @ self.centres.T
            away = np.sqrt(np.maximum(squares + (self.centres**2).sum(axis=1), 0))
            near = np.maximum(away.mean(axis=-1, keepdims=True) - away, 0)
            n, side = near.shape[:2]
            cell = side // GRID
            out.append(near.reshape(n, GRID, cell, GRID, cell, CENTRES).sum(axis=(2, 4)).reshape(n, -1))
        return np.concatenate(out).astype(np.float64)


def _patches(images: Any) -> Any:
    """Of each image its patches, of mean 0 and (about) deviation 1; n × 12 × 12 × 36."""
    windows = sliding_window_view(images.astype(np.float32) / 255, (PATCH, PATCH), axis=(1, 2))
    patches = windows[:, ::STRIDE, ::STRIDE].reshape(len(images), 12, 12, PATCH * PATCH)
    patches = patches - patches.mean(axis=-1, keepdims=True)
    return patches / np.sqrt(patches.var(axis=-1, keepdims=True) + 0.01)

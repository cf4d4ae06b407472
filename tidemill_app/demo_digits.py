"""Scikit-learn's digits as PNG images, each with an embedding that was made without a label."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.errors import ConfigError
from tidemill.stream import Field, StreamSpec

CLASSES = [str(digit) for digit in range(10)]
SIDE, SCALE = 8, 4
WIDTH, GAMMA = 256, 0.4
TESTED = 500


class Test(msgspec.Struct, eq=False):
    """Digits that nobody labels: the models are measured on them."""

    embeddings: NDArray[np.float64]
    labels: NDArray[np.int64]
    images: list[bytes]


class Digits(msgspec.Struct, eq=False):
    """The digits of the stream: ids, PNG images (32 × 32, grey), embeddings (n × `WIDTH`), and the truth, which only
    simulated annotators see; and those for measuring."""

    ids: list[str]
    images: list[bytes]
    embeddings: NDArray[np.float64]
    labels: NDArray[np.int64]
    test: Test

    def spec(self) -> StreamSpec:
        """The declaration of the stream."""
        return StreamSpec(
            name="digits",
            fields=(
                Field("id", "string"),
                Field("time", "time"),
                Field("media", "string", default=""),
                Field("media_type", "string", default=""),
                Field("group", "string", default=""),
                Field("embedding", "json", nullable=True),
            ),
            key="id",
            time="time",
            id="id",
            time_unit="us",
        )


def digits(seed: int = 0, limit: int | None = None) -> Digits:
    """All 1,797 of them (or `limit` for the stream), in a random order; `TESTED` are kept apart. Raises `ConfigError`
    where scikit-learn is not installed."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        fix = "Run `make torch` (or `make setup-dev`), which install it."
        raise ConfigError("the digits are scikit-learn's, which is not installed", fix=fix) from None
    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.target))
    pixels, labels = found.images[order], found.target[order].astype(np.int64)
    images, vectors = [png(p) for p in pixels], embed(pixels)
    stream = slice(TESTED, None if limit is None else TESTED + limit)
    return Digits(
        ids=[f"digit-{i:04d}" for i in range(len(labels[stream]))],
        images=images[stream],
        embeddings=vectors[stream],
        labels=labels[stream],
        test=Test(vectors[:TESTED], labels[:TESTED], images[:TESTED]),
    )


def png(pixels: Any) -> bytes:
    """8 × 8 values from 0 (white) to 16 as a PNG of 32 × 32, dark on light."""
    from PIL import Image

    grey = np.kron(255 - np.minimum(pixels * 16, 255), np.ones((SCALE, SCALE))).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grey).save(out, "PNG")
    return out.getvalue()


def embed(pixels: Any) -> NDArray[np.float64]:
    """Random Fourier features cos(W x + b) of the pixels, W and b drawn once: a frozen embedding in which what is near
    in pixels is near (Rahimi and Recht, *Random features for large-scale kernel machines*, NeurIPS 2007)."""
    rng = np.random.default_rng(7)
    weight, shift = rng.normal(size=(SIDE * SIDE, WIDTH)) * GAMMA, rng.uniform(0, 2 * np.pi, WIDTH)
    return np.asarray(np.cos(pixels.reshape(len(pixels), -1) / 16.0 @ weight + shift))

"""Handwritten digits, 8×8 pixels, from scikit-learn: 1,797 rows in the order of the file, at synthetic times."""

from __future__ import annotations

import pyarrow as pa

from connectors.arrow import from_numpy
from connectors.datasets.dataset import Dataset, tabular
from tidemill.errors import ConfigError

PIXELS = tuple(f"p{row}{column}" for row in range(8) for column in range(8))
"""Fields of the pixels, by row and column; values 0 (white) to 16."""


def load() -> Dataset:
    """Features `p00`…`p77`, target `digit` (0 to 9). Raises `ConfigError` where scikit-learn is not installed."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise ConfigError(
            "the data set is scikit-learn's, which is not installed",
            where="data set digits",
            fix="pip install scikit-learn",
        ) from None

    source = load_digits()
    columns: dict[str, pa.Array] = {name: from_numpy(source.data[:, i].copy()) for i, name in enumerate(PIXELS)}
    columns["digit"] = from_numpy(source.target.astype("int64"))
    return tabular("digits", "Handwritten digits, 8×8 pixels (1,797 rows)", columns, ("digit",))

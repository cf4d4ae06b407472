"""The block form is asked again only where it failed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streams.classifier import OnlineClassifier
from streams.guard import Guard
from tests.streams.test_classifier import NAMES, events
from tidemill.block import Block
from tidemill.errors import BadEvent
from tidemill.learner import LARGEST


def test_a_block_is_halved_until_the_failing_events_are_alone() -> None:
    of, asked = events(1024), []

    def features_block(part: Block) -> np.ndarray:
        asked.append(len(part))
        if "e0-700" in part.ids:
            raise OSError("no such file")
        return np.stack([part.columns[n] for n in NAMES], axis=1)

    settings = {"features": lambda e, k: [], "feature_names": NAMES, "features_block": features_block}
    guard = Guard(OnlineClassifier(name="n", stream="s", **settings).plan())
    of.ids[:] = [f"e0-{i:04}" if i != 300 else "e0-700" for i in range(1024)]
    X, errors = guard.rows(of)
    assert list(errors) == [300] and "no such file" in str(errors[300])
    assert np.isnan(X[300]).all()
    assert np.array_equal(np.delete(X[:, 0], 300), np.delete(of.columns["a"], 300))
    assert len(asked) == 1 + 2 * 10


@pytest.mark.parametrize(
    ("row", "well"),
    [
        ([1.0, 2], True),
        ([True, np.float64(2.0)], True),
        ([-1e150, 1e150], True),
        ([np.nan, 1.0], False),
        ([np.inf, -np.inf], False),
        ([1e308, -1e308], False),
        ([0.0, -LARGEST], False),
        ([0.0, 10**400], False),
        ([1.0], False),
        ([1.0, None], False),
        (["1", 2.0], False),
    ],
)
def test_a_row_that_cannot_be_computed_with_is_refused(row: Any, well: bool) -> None:
    guard = Guard(OnlineClassifier(name="n", stream="s", features=lambda e, k: row, feature_names=NAMES).plan())
    if well:
        assert np.isfinite(np.array(guard.row({}, None), dtype=np.float64)).all()
    else:
        with pytest.raises(BadEvent):
            guard.row({}, None)


@pytest.mark.parametrize("value", [1e308, -LARGEST, 10**400, np.nan, np.inf, "1", [1]])
def test_a_value_that_cannot_be_counted_is_refused(value: Any) -> None:
    guard = Guard(OnlineClassifier(name="n", stream="s", features=NAMES).plan())
    with pytest.raises(BadEvent) as told:
        guard.number("km", value)
    assert told.value.field == "km"

"""The block form is asked again only where it failed."""

from __future__ import annotations

import numpy as np

from streams.classifier import OnlineClassifier
from streams.guard import Guard
from tests.streams.test_classifier import NAMES, events
from tidemill.block import Block


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

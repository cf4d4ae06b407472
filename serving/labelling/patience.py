"""How long an item waits for the consensus: a job that stopped must not stop the labelling."""

from __future__ import annotations

from collections.abc import Iterable

from tidemill.time import SECOND

PATIENCE = 300 * SECOND
"""How long an answer waits to be looked at before the item is asked as if there were no consensus."""


def forsaken(times: Iterable[int], seen: int) -> int:
    """From when on an item with answers of these times waits no more, where the consensus has looked at `seen` of them:
    `PATIENCE` after the first that it has not looked at."""
    given = sorted(times)
    return given[min(seen, len(given) - 1)] + PATIENCE

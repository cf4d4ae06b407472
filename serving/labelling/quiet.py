"""Asking for an exact estimation once a project has fallen silent: the service does, for jobs see no clock.

Between estimations the consensus job is quick and nearly right; under order `Arrival` nothing tells it that no more
answers come. So once some seconds went by without one, and there are answers that no `estimation.asked.v1` stands
behind, the service appends one. What is published last is then what all answers that stand come to, without anybody's
doing.

Every process of the service looks, each by its own clock, from when it read the newest answer. All would append the
same event: its id is made of the newest answer's, and its time lies a microsecond after the newest answer's, so that it
moves no job's clock past answers on their way. A claim in Redis leaves it to one; without Redis the jobs drop the
doubles, as they do any repeated id.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.labelling.book import Book
from serving.labelling.claims import Claims
from tidemill.label_events import EstimationAsked
from tidemill.time import MAX_TIME

QUIET_SECONDS = 5.0


class Quiet:
    """Looks after projects that fall silent for `seconds` (0: never). `clock` tells seconds that only go forward."""

    def __init__(
        self, book: Book, claims: Claims, seconds: float = QUIET_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._book = book
        self._claims = claims
        self._seconds = seconds
        self._clock = clock
        self._since: dict[str, tuple[str, float]] = {}

    def sweep(self, project: str) -> bool:
        """Whether an estimation was asked for. To be called every now and then, by one thread."""
        with self._book.reading(project) as state:
            newest, at = state.unestimated, state.unestimated_at
        if not newest or not self._seconds:
            self._since.pop(project, None)
            return False
        seen, since = self._since.get(project, ("", 0.0))
        now = self._clock()
        if seen != newest:
            self._since[project] = (newest, now)
            return False
        if now - since < self._seconds or not self._claims.estimating(project, newest):
            return False
        made = EstimationAsked(
            id=f"{newest}:estimation", time=min(at + 1, MAX_TIME), by="service", reason=f"quiet for {self._seconds:g} s"
        )
        self._book.append(project, [made])
        return True
